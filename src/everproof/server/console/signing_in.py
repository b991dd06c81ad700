"""The pages by which people come in, and go."""

import shlex
from collections.abc import Callable
from typing import Annotated, Any, Final

import msgspec

from everproof.server.console.page import HTML, see_other
from everproof.server.console.paths import FROM_TERMINAL, HOME, ours, with_next
from everproof.server.console.visitors import LOGIN, RESUME, Visitors
from everproof.server.http import Call, Reply, Route

CONTINUE: Final = "/continue"
ENROL: Final = "/enrol"

Path = Annotated[str, msgspec.Meta(max_length=4096)]


class NextQuery(msgspec.Struct, frozen=True):
    """Where to go on."""

    next: Path = ""


class LoginQuery(NextQuery, frozen=True):
    """Where to go on; ``max_age``: 0 where whoever is signed in is to sign in anew."""

    max_age: Annotated[str, msgspec.Meta(max_length=16)] = ""


class SigningInPages:
    """Sign in, come in by an invitation. ``providers`` are the names and titles of what vouches for people."""

    def __init__(
        self,
        visitors: Visitors,
        *,
        providers: Callable[[], list[tuple[str, str]]],
    ) -> None:
        self._visitors = visitors
        self._providers = providers

    def routes(self) -> list[Route]:
        """What is served."""
        public: dict[str, Any] = {"door": "pages", "needs_proof": False, "media": HTML}
        return [
            Route("GET", "/", self.home, **public),
            Route("GET", LOGIN, self.login, **public),
            Route("GET", ENROL, self.enrol, **public),
            Route("GET", FROM_TERMINAL, self.from_terminal, **public),
            Route("GET", CONTINUE, self.go_on, **public),
            Route("GET", RESUME, self.resume, **public),
        ]

    async def home(self) -> Reply:
        """Where whoever names this server alone arrives."""
        return see_other(HOME)

    async def login(self, call: Call, query: LoginQuery) -> Reply:
        """The ways to sign in."""
        then = ours(query.next)
        if self._visitors.who(call.scope) is not None and query.max_age != "0":
            return see_other(then)
        return self._visitors.show(
            call.scope,
            "login.html",
            providers=self._providers(),
            next="" if then == HOME else then,
            anew=query.max_age == "0",
            command=f"everproof login --server {shlex.quote(self._visitors.issuer)}\neverproof open /factors",
        )

    async def enrol(self, call: Call) -> Reply:
        """What a link shows to someone who opens it in a browser.

        The link's secret stands behind the ``#`` of the address, so no server is sent it.
        """
        return self._visitors.show(call.scope, "enrol.html", who="", providers=self._providers())

    async def from_terminal(self, call: Call, query: NextQuery) -> Reply:
        """What a terminal opens to sign a browser in; the link's secret stands behind the ``#``."""
        return self._visitors.show(call.scope, "from_terminal.html", next=ours(query.next))

    async def go_on(self, call: Call, query: NextQuery) -> Reply:
        """Go on to another page as by a link: forms may not lead where that page leads in its turn."""
        return self._visitors.show(call.scope, "continue.html", then=ours(query.next))

    async def resume(self, call: Call, query: NextQuery) -> Reply:
        """Renew the session's cookie with the key that a page has made, and go on."""
        then = ours(query.next)
        return self._visitors.show(call.scope, "resume.html", then=then, login=with_next(LOGIN, then))
