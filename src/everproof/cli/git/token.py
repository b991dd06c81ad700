"""Tokens of repositories for the terminal and for git itself. A token is printed, and kept nowhere."""

from typing import Any

from everproof.kernel.errors import InputError


def ask(host: str, repository: str, permissions: list[str], lifetime: int) -> dict[str, Any]:
    """Have the server make a token.

    Raises:
        InputError: a permission is not NAME:LEVEL.
        Error: what the server answered.
    """
    from everproof.cli.client import connect

    wanted: dict[str, str] = {}
    for one in permissions:
        name, _, level = one.partition(":")
        if not name or level not in {"read", "write"}:
            raise InputError(f"{one!r} must be NAME:read or NAME:write", place="--permission")
        wanted[name] = level
    body = {"host": host, "repository": repository, "permissions": wanted, "lifetime_seconds": lifetime}
    answer: dict[str, Any] = connect().request("POST", "/v1/repositories/token", json=body)
    return answer


def credential(answer: dict[str, Any]) -> str:
    """The answer as git wants it of a credential helper (gitcredentials, "Input/Output format").

    Raises:
        InputError: it would say git something else.
    """
    username, token = answer["username"], answer["token"]
    if any(mark in f"{username}{token}" for mark in ("\n", "\r", "\0")):
        raise InputError("the token has characters that end a line")
    return f"username={username}\npassword={token}\n"
