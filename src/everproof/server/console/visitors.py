"""Who looks at a page, and what they are shown when something goes wrong.

Pages are for browsers: a visitor is known by the cookie of their session, and by nothing else.
"""

from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from starlette.types import Scope

from everproof.identity.sessions import Session, SessionOverError, Sessions
from everproof.kernel.clock import Clock
from everproof.kernel.errors import Error, InputError, UnauthenticatedError
from everproof.kernel.words import Proof
from everproof.server.browser import SAFE, Browser, KeyWantedError
from everproof.server.console.errors import problem_page
from everproof.server.console.page import page, see_other
from everproof.server.console.paths import HOME, ours, with_next
from everproof.server.http import Reply

RESUME: Final = "/resume"
LOGIN: Final = "/login"

_PLAIN: Final = ("/v1/", "/access/v1/", "/scim/", "/.well-known/", "/tlog/")
"""What programs ask for: a person who opens it sees what a program would."""


class Said(msgspec.Struct, frozen=True):
    """What was done a moment ago, by the name that the page knows it by: nobody's words from an address are shown."""

    said: str = ""


class Visitors:
    """The people who look at the pages of one server. ``own`` are the routes that are pages."""

    def __init__(self, browser: Browser, sessions: Sessions, clock: Clock, *, issuer: str) -> None:
        self._browser = browser
        self._sessions = sessions
        self._clock = clock
        self._issuer = issuer
        self._server = urlsplit(issuer).netloc
        self.own: frozenset[str] = frozenset()

    @property
    def issuer(self) -> str:
        """This server's own address."""
        return self._issuer

    def prove(self, scope: Scope) -> Proof:
        """The proof of who looks.

        Raises:
            UnauthenticatedError: nobody is signed in in this browser.
            CrossSiteError: another site has the browser do this.
        """
        proof = self._browser.prove(scope)
        if proof is None:
            raise SessionOverError
        return proof

    def session(self, scope: Scope) -> Session:
        """The session of who looks; as `prove`."""
        proof = self.prove(scope)
        session = None if proof.credential is None else self._sessions.find(proof.credential)
        if session is None:
            raise SessionOverError
        return session

    def session_called(self, id_: str) -> Session:
        """A session, whoever's it is."""
        session = self._sessions.find(id_)
        if session is None:
            raise SessionOverError
        return session

    def who(self, scope: Scope) -> Session | None:
        """The session of who looks, where there is one; never raises."""
        try:
            return self._browser.session(scope)
        except Error:
            return None

    def show(self, scope: Scope, template: str, **values: Any) -> Reply:
        """A page, in the frame of whoever looks at it."""
        return page(template, **{**self._frame(scope), **values})

    def problem(self, scope: Scope, error: Error, *, then: str = "") -> Reply:
        """The page for ``error``; ``then`` is where its reader comes back to."""
        frame = self._frame(scope)
        known = {name: frame[name] for name in ("who", "server")}
        return problem_page(error, then=then or _before(scope, self._issuer), shown=self._shown(scope), **known)

    def error(self, scope: Scope, error: Error) -> Reply | None:
        """The page for what a request ended with; None where no page was asked for."""
        if not self._wants_page(scope):
            return None
        if scope["method"] in SAFE and isinstance(error, UnauthenticatedError):
            here = _here(scope)
            if isinstance(error, KeyWantedError):
                return see_other(with_next(RESUME, here))
            if not scope["path"].startswith(LOGIN):
                return see_other(with_next(LOGIN, here), headers=dict(getattr(error, "headers", {})))
        return self.problem(scope, error)

    def _frame(self, scope: Scope) -> dict[str, Any]:
        session = self.who(scope)
        return {
            "who": "" if session is None else session.principal.id,
            "server": self._server,
            "now": self._clock.now(),
            "said": "",
        }

    def _shown(self, scope: Scope) -> float | None:
        """How many seconds ago whoever looks has shown a second factor in this browser; None: not at all."""
        session = self.who(scope)
        method = None if session is None else session.second_factor
        if session is None or method is None:
            return None
        return (self._clock.now() - session.factors[method]).total_seconds()

    def _wants_page(self, scope: Scope) -> bool:
        if scope.get("route") in self.own:
            return True
        if scope["path"].startswith(_PLAIN):
            return False
        accept = next((value for name, value in scope["headers"] if name == b"accept"), b"")
        return b"text/html" in accept


def _here(scope: Scope) -> str:
    """Where the browser is, to come back to."""
    path: str = (scope.get("raw_path") or scope["path"].encode()).decode("ascii", "replace")
    query: str = scope["query_string"].decode("ascii", "replace")
    try:
        return ours(f"{path}?{query}" if query else path)
    except InputError:
        return HOME


def _before(scope: Scope, issuer: str) -> str:
    """The page that the browser is at: this one, or the one that a form was sent from."""
    if scope["method"] in SAFE:
        return _here(scope)
    referrer = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"referer"), "")
    if not referrer.startswith(issuer + "/"):
        return HOME
    try:
        return ours(referrer[len(issuer) :])
    except InputError:
        return HOME
