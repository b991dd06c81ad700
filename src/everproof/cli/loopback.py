"""`everproof login --browser`: signing in at a browser, whose answer comes back to this machine (RFC 8252, 7.3).

The code that comes back is worth nothing to anyone else: it is for this command's own key (DPoP) and its own verifier
(PKCE), and only an answer with its state, from the server that was asked, is taken.
"""

import base64
import hashlib
import hmac
import secrets
import sys
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from everproof.cli import session as sessions
from everproof.cli.renewal import CLIENT, take
from everproof.cli.terminal import printable
from everproof.kernel.errors import UnauthenticatedError, UnavailableError

if TYPE_CHECKING:
    from everproof.cli.client import Client

PATH: Final = "/callback"
WAIT_SECONDS: Final = 300
"""For somebody to sign in, with a factor that may have to be fetched."""
MAX_LINE: Final = 8192
HEADER_SECONDS: Final = 5
"""For whoever connects to say what it wants: one who says nothing holds up nobody for longer."""

_PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="color-scheme" content="light dark"><title>Everproof</title>
<h1>{title}</h1>
<p>{text} You may close this page.</p>
</html>
"""


class _Listener(HTTPServer):
    """Waits for one answer on a port of this machine that nobody knows before."""

    def __init__(self, state: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.state = state
        self.answered: dict[str, str] = {}
        self.done = threading.Event()

    @property
    def address(self) -> str:
        """Where the browser is sent back to."""
        return f"http://127.0.0.1:{self.server_port}{PATH}"


class _Handler(BaseHTTPRequestHandler):
    """Takes the answer, and nothing else: other pages may send requests to this port too."""

    server: _Listener
    timeout = HEADER_SECONDS

    def do_GET(self) -> None:
        """Take the answer, if it is one to this command's question."""
        parts = urlsplit(self.path[:MAX_LINE])
        said = dict(parse_qsl(parts.query))
        host = self.headers.get("host", "")
        ours = hmac.compare_digest(said.get("state", "").encode(), self.server.state.encode())
        if parts.path != PATH or host != f"127.0.0.1:{self.server.server_port}" or not ours or self.server.answered:
            self._say(404, "Nothing here", "This address waits for another answer.")
            return
        self.server.answered = said
        if "code" in said:
            self._say(200, "Go back to the terminal", "You are signed in there in a moment.")
        else:
            self._say(200, "Not signed in", "The terminal says why.")
        self.server.done.set()

    def _say(self, status: int, title: str, text: str) -> None:
        body = _PAGE.format(title=title, text=text).encode()
        self.send_response(status)
        self.send_header("content-type", "text/html; charset=utf-8")
        self.send_header("content-length", str(len(body)))
        self.send_header("cache-control", "no-store")
        self.send_header("content-security-policy", "default-src 'none'; frame-ancestors 'none'")
        self.send_header("referrer-policy", "no-referrer")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing: the request's address holds the code."""


def log_in(client: "Client", *, wait_seconds: float = WAIT_SECONDS) -> None:
    """Let a person sign in at a browser, and hold the session that comes of it.

    Raises:
        UnauthenticatedError: they did not, or were refused.
        UnavailableError: nothing came back in time.
    """
    held = client.session
    verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(24)
    with _listening(state) as listener:
        asked = {
            "response_type": "code",
            "client_id": CLIENT,
            "redirect_uri": listener.address,
            "code_challenge": base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
            .rstrip(b"=")
            .decode(),
            "code_challenge_method": "S256",
            "state": state,
            "dpop_jkt": sessions.thumbprint(sessions.public_jwk(held.private_key)),
        }
        _open(f"{held.server}/oauth/authorize?{urlencode(asked)}")
        if not listener.done.wait(wait_seconds):
            raise UnavailableError("nobody has signed in at the browser", todo="run: everproof login --device")
        said, back = listener.answered, listener.address
    if said.get("iss") != held.server:
        raise UnauthenticatedError("the answer is of another server", place="iss", todo="run everproof login again")
    if "code" not in said:
        why = printable(said.get("error_description") or said.get("error", "no reason given"))
        raise UnauthenticatedError(f"not signed in: {why}", todo="run everproof login again")
    form = {
        "grant_type": "authorization_code",
        "client_id": CLIENT,
        "code": said["code"],
        "redirect_uri": back,
        "code_verifier": verifier,
    }
    answer: dict[str, Any] = client.request("POST", "/oauth/token", form=form, proven=False)
    take(held, answer)


@contextmanager
def _listening(state: str) -> Iterator[_Listener]:
    with _Listener(state) as listener:
        thread = threading.Thread(target=listener.serve_forever, args=(0.05,), name="loopback", daemon=True)
        thread.start()
        try:
            yield listener
        finally:
            listener.shutdown()
            thread.join()


def _open(url: str) -> None:
    print(f"sign in at your browser; if none opens, go to\n\n  {url}\n", file=sys.stderr)
    with suppress(webbrowser.Error):  # the address stands on the terminal
        webbrowser.open(url)
