"""`everproof login`: proves who somebody is, with the SSH key they sign commits with or at a browser.

A fresh key is made for this machine; the SSH key signs over the server's challenge and the fresh key's name, or the
browser's sign-in is for that key. The token that the server then gives is worth nothing without the fresh key, and the
SSH key never leaves its agent or token.
"""

import getpass
import os
import re
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from everproof.cli.terminal import Json, fields, lasting, paint, print_json, printable
from everproof.kernel.errors import InputError, NotFoundError, UnauthenticatedError

if TYPE_CHECKING:
    from everproof.cli.client import Client
    from everproof.cli.session import Session
    from everproof.cli.ssh import SigningKey

app = typer.Typer(help="Prove who you are.")

DEFAULT_SERVER: Final = "https://localhost:8443"
"""Where `everproof up` listens unless it is told otherwise."""

_NOT_IN_IDS: Final = re.compile(r"[^a-z0-9._@+-]+")


@app.command()
def login(
    *,
    server: Annotated[
        str | None, typer.Option(help="The server's address [default: that of your last session].", show_default=False)
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(help="The SSH key [default: git's user.signingKey, else those in ~/.ssh].", show_default=False),
    ] = None,
    enrol: Annotated[
        str | None, typer.Option(metavar="LINK", help="Enrol with this link, which is good once.", show_default=False)
    ] = None,
    user: Annotated[
        str | None, typer.Option(help="Your id, when you enrol [default: your account's name].", show_default=False)
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Your name, when you enrol [default: git's user.name].", show_default=False)
    ] = None,
    ca: Annotated[
        Path | None, typer.Option(help="The server's certificate authority, PEM.", show_default=False)
    ] = None,
    browser: Annotated[bool, typer.Option("--browser", help="Sign in at this machine's browser.")] = False,
    device: Annotated[
        bool, typer.Option("--device", help="Sign in at another machine's browser, with a code.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Prove who you are: with the SSH key you sign commits with, or at a browser.

    With neither --browser nor --device, an enrolled SSH key is taken; where there is none, a browser, and without a
    display a code for a browser elsewhere. ssh-keygen signs, so agents, passphrases and security keys work as they do
    for git. With --enrol you become known first: the link is good once, and says which server it is from.
    """
    from everproof.cli.client import Client

    if sum((browser, device, key is not None or enrol is not None)) > 1:
        raise InputError("one way to log in at a time", place="--browser, --device, --key or --enrol")
    session = _contact(server, enrol, ca)
    client = Client(session)
    if browser or device:
        way = _log_in_at_browser(client, device=device)
    else:
        way = _log_in_with_key(client, key, enrol, user, name)
    if as_json:
        print_json({"server": session.server, "principal": session.principal, "expires": session.expires})
        return
    left = lasting(timedelta(seconds=max(0.0, session.expires - time.time())))
    print(f"{paint('logged in', 'good')} as {printable(session.principal)}")
    print(fields([("server", session.server), way, ("for", f"{left}, renewed with use" if session.refresh else left)]))


def _log_in_with_key(
    client: "Client", key: str | None, enrol: str | None, user: str | None, name: str | None
) -> tuple[str, str]:
    """Log in with an SSH key; at a browser, where nobody has it and somebody sits here."""
    from everproof.cli import ssh

    asked_for = key is not None or enrol is not None
    try:
        signing = ssh.find_key(key)
        if signing.public.startswith("sk-"):
            print("touch your security key when it blinks", file=sys.stderr)
        if enrol is not None:
            _enrol(client, signing, enrol, user, name)
        _login(client, signing)
    except (NotFoundError, UnauthenticatedError) as error:
        nobody = isinstance(error, NotFoundError) or client.said == "unknown-key"
        if asked_for or not nobody or not sys.stderr.isatty():
            raise
        print(f"{error.message}; so it is by a browser", file=sys.stderr)
        return _log_in_at_browser(client, device=not has_display())
    return "key", signing.name


def _log_in_at_browser(client: "Client", *, device: bool) -> tuple[str, str]:
    """Log in at this machine's browser, or at another's."""
    from everproof.cli import device_login, loopback
    from everproof.cli import session as sessions

    if device:
        device_login.log_in(client)
    else:
        loopback.log_in(client)
    client.session.principal = _principal(client)
    sessions.save(client.session)
    return "by", "a browser elsewhere" if device else "your browser"


def has_display() -> bool:
    """Whether a browser that is opened here is seen by whoever sits at this terminal."""
    if "SSH_CONNECTION" in os.environ:
        return False
    if sys.platform in {"darwin", "win32"}:
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _contact(server: str | None, enrol: str | None, ca: Path | None) -> "Session":
    """A session of nobody yet, with a server that is known to be the right one."""
    from everproof.cli import links
    from everproof.cli import session as sessions
    from everproof.cli.contact import trusted_ca

    last = _last()
    if enrol is not None:
        link = links.parse(enrol)
        if server is not None and server.rstrip("/") != link.server:
            raise InputError(f"the link is of {link.server}", place="--server", todo="leave --server out")
        known = trusted_ca(link.server, file=ca, pinned=link.ca)
        return sessions.Session(server=link.server, ca=known, key=sessions.new_key())
    address = (server or (last.server if last else DEFAULT_SERVER)).rstrip("/")
    if not address.startswith("https://"):
        raise InputError("must begin with https://", place="--server")
    if ca is None and last is not None and last.server == address:
        return sessions.Session(server=address, ca=last.ca, key=sessions.new_key())
    return sessions.Session(server=address, ca=trusted_ca(address, file=ca), key=sessions.new_key())


def _enrol(client: "Client", signing: "SigningKey", link: str, user: str | None, name: str | None) -> None:
    """Become known: put the key on record as that of a new person."""
    from everproof.cli import links
    from everproof.identity.challenges import ENROL_NAMESPACE, enrolment_message

    who = user or _account()
    asked = client.request("POST", "/v1/enrol/challenge", proven=False)
    message = enrolment_message(server=client.session.server, challenge=asked["challenge"], at=_time(asked), user=who)
    email = _git("user.email")
    body = {
        "secret": links.parse(link).secret,
        "user": who,
        "name": _git("user.name") if name is None else name,
        "emails": [email] if email else [],
        "public_key": signing.public,
        "challenge": asked["challenge"],
        "signature": signing.sign(message, ENROL_NAMESPACE),
    }
    client.request("POST", "/v1/enrol", json=body, proven=False)


def _login(client: "Client", signing: "SigningKey") -> None:
    """Sign the server's challenge, and keep the token that it gives for it."""
    from everproof.cli import session as sessions
    from everproof.identity.challenges import LOGIN_NAMESPACE, login_message

    held = client.session
    asked = client.request("POST", "/v1/login/challenge", proven=False)
    fresh = sessions.thumbprint(sessions.public_jwk(held.private_key))
    message = login_message(server=held.server, challenge=asked["challenge"], at=_time(asked), key=fresh)
    body = {"challenge": asked["challenge"], "signature": signing.sign(message, LOGIN_NAMESPACE)}
    answer = client.request("POST", "/v1/login", json=body, proven=False)
    held.token = answer["access_token"]
    held.expires = time.time() + answer["expires_in"]
    held.principal = _principal(client)
    sessions.save(held)


def _principal(client: "Client") -> str:
    one: dict[str, Any] = client.request("GET", "/v1/identity/me")["principal"]["ref"]
    return f'{one["type"]}::"{one["id"]}"'


def _last() -> "Session | None":
    from everproof.cli import session as sessions

    try:
        return sessions.load()
    except UnauthenticatedError:
        return None


def _time(asked: dict[str, Any]) -> Any:
    from datetime import datetime

    return datetime.fromisoformat(asked["at"])


def _account() -> str:
    return _NOT_IN_IDS.sub("-", getpass.getuser().lower()).strip("-") or "user"


def _git(setting: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - the caller's own git
            ["git", "config", "--get", setting],  # noqa: S607 - the same
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip()
