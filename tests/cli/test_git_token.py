from typing import Any

import pytest
from typer.testing import CliRunner

from everproof.cli import client
from everproof.cli.git.commands import app
from everproof.cli.git.token import credential
from everproof.kernel.errors import InputError

ANSWER = {"token": "ghs_abc", "username": "x-access-token"}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the server was asked."""
    said: list[Any] = []

    class Connected:
        def request(self, method: str, path: str, *, json: Any) -> dict[str, Any]:
            said.append((method, path, json))
            return ANSWER

    monkeypatch.setattr(client, "connect", Connected)
    return said


def test_a_token_is_printed_and_nothing_else(asked: list[Any]) -> None:
    done = CliRunner().invoke(app, ["token", "--permission", "contents:write", "--lifetime", "60"])
    assert (done.exit_code, done.stdout) == (0, "ghs_abc\n")
    body = {"host": "", "repository": "", "permissions": {"contents": "write"}, "lifetime_seconds": 60}
    assert asked == [("POST", "/v1/repositories/token", body)]


def test_git_is_told_what_it_asks_of_a_credential_helper(asked: list[Any]) -> None:
    done = CliRunner().invoke(
        app, ["credential", "--host", "github", "get"], input="protocol=https\nhost=github.com\n\n"
    )
    assert done.stdout == "username=x-access-token\npassword=ghs_abc\n"
    for operation in ("store", "erase"):
        assert CliRunner().invoke(app, ["credential", operation]).stdout == ""
    assert len(asked) == 1


def test_a_token_says_nothing_else_to_git() -> None:
    for token in ("a\nhost=evil.example", "a\rb", "a\0b"):
        with pytest.raises(InputError):
            credential({**ANSWER, "token": token})


@pytest.mark.parametrize("permission", ["contents", "contents:admin", ":read", "contents:"])
def test_a_permission_has_a_name_and_a_level(asked: list[Any], permission: str) -> None:
    done = CliRunner().invoke(app, ["token", "--permission", permission])
    assert isinstance(done.exception, InputError)
    assert asked == []
