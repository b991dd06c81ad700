"""`everproof identity service`, `gateway` and `machine`: who proves itself by a key or a secret of its own."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from everproof.cli.terminal import Json, paint, print_json, printable, show
from everproof.kernel.errors import ConflictError, InputError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

services = typer.Typer(help="Services, which prove themselves by a key (private_key_jwt).", no_args_is_help=True)
gateways = typer.Typer(help="Gateways, which prove themselves by a secret in a header.", no_args_is_help=True)
machines = typer.Typer(help="Machines, which join by a token that is good once.", no_args_is_help=True)

Groups = Annotated[list[str], typer.Option("--group", help="A group to be in.")]


@services.command("add")
def add_service(
    service: Annotated[str, typer.Argument(metavar="ID", help="The service's id, such as billing.")],
    *,
    jwk: Annotated[Path | None, typer.Option(help="A file with its public key, a JWK.", show_default=False)] = None,
    new_key: Annotated[
        Path | None, typer.Option(help="Make a key, and write the private half to this new file.", show_default=False)
    ] = None,
    name: Annotated[str, typer.Option(help="What the service is called.")] = "",
    group: Groups = [],  # noqa: B006 - Typer's own form
    as_json: Json = False,
) -> None:
    """Put a service on record with its public key.

    It proves itself by assertions signed with the private half (RFC 7523).
    """
    from everproof.cli.client import connect
    from everproof.cli.identity import known

    if (jwk is None) == (new_key is None):
        raise InputError("give either --jwk or --new-key", todo="--new-key FILE makes a key for you")
    client = connect()
    public = read_jwk(jwk) if jwk else make_key(new_key) if new_key else {}
    body = {"type": "Service", "id": service, "name": name, "groups": group, "jwks": [public]}
    try:
        answer = client.request("POST", "/v1/identity/principals", json=body)
    except BaseException:
        if new_key is not None:  # nobody knows the key, so it is worth nothing
            new_key.unlink(missing_ok=True)
        raise
    show(answer, as_json=as_json, text=known)


SecretFile = Annotated[Path, typer.Option("--secret", help="Write the secret to this new file, of mode 0600.")]


@gateways.command("add")
def add_gateway(
    gateway: Annotated[str, typer.Argument(metavar="ID", help="The gateway's id, such as edge.")],
    *,
    secret: SecretFile,
    name: Annotated[str, typer.Option(help="What the gateway is called.")] = "",
    group: Annotated[list[str], typer.Option("--group", help="A group to be in.")] = ["enforcement-points"],  # noqa: B006 - Typer's own form
    as_json: Json = False,
) -> None:
    """Put nginx, Caddy, Traefik or Envoy on record, with a secret that it shows in X-Everproof-Gateway.

    The secret is a bearer: whoever has it is the gateway. The server is not told it.
    """
    _with_secret(
        "/v1/identity/principals",
        secret,
        lambda jwk: {"type": "Service", "id": gateway, "name": name, "groups": group, "jwks": [jwk]},
        f'Service::"{gateway}"',
        as_json=as_json,
    )


@gateways.command("renew")
def renew_gateway(
    gateway: Annotated[str, typer.Argument(metavar="ID", help="The gateway's id.")],
    *,
    secret: SecretFile,
    as_json: Json = False,
) -> None:
    """Give a gateway a further secret. The old one is good until it is revoked: everproof revoke KEY."""
    from everproof.cli.identity import path_of

    _with_secret(
        f"{path_of(f'Service::{gateway}')}/keys",
        secret,
        lambda jwk: {"jwk": jwk},
        f'Service::"{gateway}"',
        as_json=as_json,
    )


def _with_secret(
    address: str, file: Path, body: Callable[[dict[str, str]], dict[str, Any]], who: str, *, as_json: bool
) -> None:
    """Make a secret, have its public half put on record, and leave the secret in ``file`` only if it was."""
    from everproof.cli.client import connect
    from everproof.identity.gateways import gateway_jwk, new_secret

    client = connect()
    made = new_secret()
    write_new(file, f"{made}\n")
    try:
        answer = client.request("POST", address, json=body(gateway_jwk(made)))
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    if as_json:
        print_json(answer)
        return
    print(f"{paint('on record', 'good')}: {printable(who)}; its secret is in {file}")


@machines.command("token")
def machine_token(
    machine: Annotated[str, typer.Argument(metavar="ID", help="The machine's id; else it chooses.")] = "",
    *,
    group: Groups = [],  # noqa: B006 - Typer's own form
    minutes: Annotated[int, typer.Option(min=1, max=7 * 1440, help="How long the token is good.")] = 60,
    as_json: Json = False,
) -> None:
    """Make a token, good once, by which a machine joins."""
    from everproof.cli.client import connect
    from everproof.cli.links import fingerprint

    client = connect()
    body = {"machine": machine, "groups": group, "lifetime_seconds": minutes * 60}
    answer = client.request("POST", "/v1/identity/join-tokens", json=body)
    ca = fingerprint(client.session.ca) if client.session.ca else ""
    token = f"{answer['token']}.{ca}" if ca else answer["token"]
    if as_json:
        print_json({**answer, "token": token})
        return
    print(f"Good once, for {minutes} min. On the machine:\n")
    print(f"  everproof identity machine join --server {client.session.server} --token {token} {machine or 'ID'}")


@machines.command("join")
def machine_join(
    machine: Annotated[str, typer.Argument(metavar="ID", help="The machine's id, such as web-1.")],
    *,
    token: Annotated[
        str, typer.Option(envvar="EVERPROOF_JOIN_TOKEN", help="The join token, good once.", show_envvar=True)
    ],
    server: Annotated[str, typer.Option(help="The server's address.")],
    name: Annotated[str, typer.Option(help="What the machine is called.")] = "",
    ca: Annotated[
        Path | None, typer.Option(help="The server's certificate authority, PEM.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Join: make a key here, and bind this machine to it. From then on the key proves the machine.

    The key is kept where a person's session would be (EVERPROOF_SESSION names another file).
    """
    from everproof.cli import session as sessions
    from everproof.cli.client import Client
    from everproof.cli.contact import trusted_ca

    secret, _, pinned = token.partition(".")
    server = server.rstrip("/")
    held = sessions.Session(
        server=server,
        ca=trusted_ca(server, file=ca, pinned=pinned),
        key=sessions.new_key(),
        principal=f'Machine::"{machine}"',
    )
    body = {"token": secret, "machine": machine, "jwk": sessions.public_jwk(held.private_key), "name": name}
    answer = Client(held).request("POST", "/v1/identity/join", json=body, proven=False)
    sessions.save(held)
    if as_json:
        print_json(answer)
        return
    print(f"{paint('joined', 'good')}: {printable(held.principal)} at {server}; its key is in {sessions.file()}")


def read_jwk(file: Path) -> dict[str, Any]:
    """The public JWK in a file.

    Raises:
        InputError: it cannot be read, or is a private key.
    """
    import json

    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"not a JWK: {error}", place=str(file)) from error
    if not isinstance(found, dict) or "kty" not in found:
        raise InputError("not a JWK", place=str(file))
    if "d" in found or "k" in found:
        raise InputError("a private key, which is sent to nobody", place=str(file), todo="give its public half")
    return found


def make_key(file: Path) -> dict[str, str]:
    """The public JWK of a fresh P-256 key, whose private half is written to a new file of mode 0600.

    Raises:
        ConflictError: the file is there already.
    """
    from everproof.cli import session as sessions

    pem = sessions.new_key()
    write_new(file, pem)
    return sessions.public_jwk(_loaded(pem))


def write_new(file: Path, text: str) -> None:
    """Write a file that is not there yet, for its owner alone.

    Raises:
        ConflictError: it is there already.
    """
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise ConflictError("is there already", place=str(file), todo="name a new file") from error
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", place=str(file)) from error
    with os.fdopen(descriptor, "w") as out:
        out.write(text)


def _loaded(pem: str) -> "EllipticCurvePrivateKey":
    from everproof.cli.session import Session

    return Session(server="", key=pem).private_key
