"""`everproof identity provisioner`: directories of a company that keep people and groups here by SCIM."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from everproof.cli.clients import write_new
from everproof.cli.terminal import Json, paint, print_json, printable
from everproof.kernel.errors import InputError

app = typer.Typer(help="Directories that keep people and groups here (SCIM).", no_args_is_help=True)

SecretFile = Annotated[Path, typer.Option("--secret", help="Write the secret to this new file, of mode 0600.")]
Provisioner = Annotated[str, typer.Argument(metavar="ID", help="The provisioner's id, such as okta.")]

DIALECTS = ("okta", "entra")


@app.command()
def add(
    provisioner: Provisioner,
    *,
    secret: SecretFile,
    dialect: Annotated[
        str, typer.Option(help="Whose way of speaking SCIM it has: okta, entra; else it is held to the standard.")
    ] = "",
    name: Annotated[str, typer.Option(help="What it is called.")] = "",
    group: Annotated[list[str], typer.Option("--group", help="A group to be in.")] = ["provisioners"],  # noqa: B006 - Typer's own form
    as_json: Json = False,
) -> None:
    """Put a company's directory on record, with a secret that it sends as a bearer token.

    The secret is good at /scim/v2 alone, for what policy lets provisioners do. The server is not told it.
    """
    if dialect and dialect not in DIALECTS:
        raise InputError(f"{dialect} is not known", place="--dialect", todo=f"use one of {', '.join(DIALECTS)}")
    attributes = {"dialect": dialect} if dialect else {}
    _with_secret(
        "/v1/identity/principals",
        secret,
        lambda jwk: {
            "type": "Service", "id": provisioner, "name": name, "groups": group, "attributes": attributes,
            "jwks": [jwk],
        },
        provisioner,
        as_json=as_json,
    )  # fmt: skip


@app.command()
def renew(
    provisioner: Provisioner,
    *,
    secret: SecretFile,
    days: Annotated[
        int | None,
        typer.Option(
            min=1, max=3650, help="How long the new secret is good [default: until it is revoked].", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Give a provisioner a further secret. The old one is good until it is revoked: everproof revoke KEY."""
    from everproof.cli.identity import path_of

    until = {"valid_until": (datetime.now(UTC) + timedelta(days=days)).isoformat()} if days else {}
    _with_secret(
        f"{path_of(f'Service::{provisioner}')}/keys",
        secret,
        lambda jwk: {"jwk": jwk, **until},
        provisioner,
        as_json=as_json,
    )


def _with_secret(address: str, file: Path, body: Any, provisioner: str, *, as_json: bool) -> None:
    """Make a secret, have its public half put on record, and leave the secret in ``file`` only if it was."""
    from everproof.cli.client import connect
    from everproof.identity.provisioners import new_secret, provisioner_jwk

    client = connect()
    made = new_secret()
    write_new(file, f"{made}\n")
    try:
        answer = client.request("POST", address, json=body(provisioner_jwk(made)))
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    if as_json:
        print_json(answer)
        return
    base = f"{client.session.server}/scim/v2"
    print(f"{paint('on record', 'good')}: {printable(provisioner)} keeps people at {base}; its secret is in {file}")
