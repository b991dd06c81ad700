"""`everproof step-up`: shows a second factor in this terminal's session, by a code or at a browser.

Any command does the same by itself where policy asks for a factor that is fresher: it shows one, and goes on.
"""

import sys
import time
import webbrowser
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import typer

from everproof.cli.terminal import Json, paint, print_json, printable
from everproof.kernel.errors import Error, NotFoundError, UnauthenticatedError, UnavailableError

if TYPE_CHECKING:
    from everproof.cli.client import Client

app = typer.Typer(help="Show a second factor in your session.")

CODES: Final = {"totp": "Code of your authenticator app", "recovery-code": "One of your recovery codes"}
"""What is typed here; every other factor is shown at a browser."""
AT_BROWSERS: Final = ("passkey", "security-key", "provider")
SSH: Final = "ssh-security-key"
"""Shown by a signature, as for a login: git's signing key, where it is a security key."""

WAIT_SECONDS: Final = 300
"""For somebody to sign in at a browser and touch a key."""
LOOK_EVERY_SECONDS: Final = 1.0
TRIES: Final = 3


@app.command(name="step-up")
def step_up(*, as_json: Json = False) -> None:
    """Show a second factor in this terminal's session.

    Codes are typed here. A passkey or a security key is shown at a browser, whose page tells this session.
    """
    from everproof.cli.client import connect

    client = connect()
    found = [one for one in client.request("GET", "/v1/sessions")["sessions"] if one["current"]]
    if not found:
        raise UnauthenticatedError("you are in no session here", todo="run: everproof login")
    shown = show_factor(client, found[0]["id"], (*AT_BROWSERS, *CODES, SSH))
    if as_json:
        print_json({"session": found[0]["id"], "method": shown})
    else:
        print(f"{paint('shown', 'good')}: {printable(shown)}")


def offer(client: "Client", wanted: dict[str, Any]) -> bool:
    """Show what a denial wants, if somebody is there to do it; whether it was shown, so that it can be tried again."""
    methods, session = wanted.get("methods", ()), wanted.get("session", "")
    if not session or not {*AT_BROWSERS, *CODES, SSH} & {*methods} or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    print(paint("this takes a second factor that is fresher", "warn", sys.stderr), file=sys.stderr)
    show_factor(client, session, tuple(methods))
    return True


def show_factor(client: "Client", session: str, methods: tuple[str, ...]) -> str:
    """Have one of ``methods`` shown in a session; which it was.

    Raises:
        UnauthenticatedError: it was not.
    """
    ways = client.request("POST", "/v1/step-up/options", json={"session": session})
    held = [method for method in ways["methods"] if method in methods]
    if SSH in held and _signed(client, session, ways["ssh"]):
        return SSH
    for method in CODES:
        if method in held and sys.stdin.isatty() and _typed(client, session, method):
            return method
    if not held and "provider" not in methods:
        raise UnauthenticatedError(
            f"you have none of the factors that would do: {', '.join(methods)}",
            todo=f"enrol one at {client.session.server}/factors",
        )
    return _at_browser(client, session, methods)


def _signed(client: "Client", session: str, asked: dict[str, Any]) -> bool:
    """Whether git's signing key is a security key, and has shown itself; if not: another way."""
    from datetime import datetime

    from everproof.cli import session as sessions
    from everproof.cli import ssh
    from everproof.identity.challenges import LOGIN_NAMESPACE, login_message

    try:
        key = ssh.find_key(None)
        if not key.public.startswith("sk-"):
            return False
        print("touch your security key when it blinks", file=sys.stderr)
        held = client.session
        bound = sessions.thumbprint(sessions.public_jwk(held.private_key))
        at = datetime.fromisoformat(asked["at"])
        message = login_message(server=held.server, challenge=asked["challenge"], at=at, key=bound)
        signed = {"challenge": asked["challenge"], "signature": key.sign(message, LOGIN_NAMESPACE)}
        client.request("POST", "/v1/step-up", json={"session": session, "method": SSH, "ssh": signed})
    except NotFoundError:
        return False
    except Error as error:
        print(f"{paint('everproof:', 'bad', sys.stderr)} {printable(error)}", file=sys.stderr)
        return False
    return True


def _typed(client: "Client", session: str, method: str) -> bool:
    """Whether a code was typed that holds; none: at a browser then."""
    from getpass import getpass

    for left in reversed(range(TRIES)):
        code = getpass(f"{CODES[method]} (nothing: another way): ").strip()
        if not code:
            return False
        try:
            client.request("POST", "/v1/step-up", json={"session": session, "method": method, "code": code})
        except Error as error:
            if not left:
                raise
            print(f"{paint('everproof:', 'bad', sys.stderr)} {printable(error)}", file=sys.stderr)
        else:
            return True
    return False  # pragma: no cover - the last try has raised


def _at_browser(client: "Client", session: str, methods: tuple[str, ...]) -> str:
    before = _factors(client, session)
    address = f"{client.session.server}/step-up?session={quote(session)}"
    print(f"show it at {address}", file=sys.stderr)
    if sys.stderr.isatty():
        webbrowser.open(address)
    until = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < until:
        now = _factors(client, session)
        for method, at in now.items():
            if method in methods and at != before.get(method):
                return method
        time.sleep(LOOK_EVERY_SECONDS)
    raise UnauthenticatedError("no factor was shown in time", todo="run: everproof step-up")


def _factors(client: "Client", session: str) -> dict[str, str]:
    try:
        found: dict[str, str] = client.request("GET", f"/v1/sessions/{session}")["factors"]
    except NotFoundError as error:
        raise UnauthenticatedError("the session is over", todo="run: everproof login") from error
    except UnavailableError:
        return {}
    return found
