"""The page of one's sessions, and of what clients may know of one."""

from typing import Any, Final

from everproof.server.browser import CLEARED
from everproof.server.console.page import HTML, see_other
from everproof.server.console.visitors import LOGIN, Said, Visitors
from everproof.server.http import Call, Reply, Route
from everproof.server.provider.consent import ConsentDoor
from everproof.server.sessions import Listing, SessionsDoor

SESSIONS: Final = "/sessions"

SAID: Final = {
    "ended": "It is ended, with all that came of it.",
    "others": "All other sessions are ended, with all that came of them.",
    "forgotten": "It may know nothing of you any more, and you are signed out there.",
}


class SessionPages:
    """Sessions."""

    def __init__(self, visitors: Visitors, door: SessionsDoor, consents: ConsentDoor) -> None:
        self._visitors = visitors
        self._door = door
        self._consents = consents

    def routes(self) -> list[Route]:
        """What is served."""
        page: dict[str, Any] = {"door": "pages", "media": HTML}
        one: dict[str, Any] = {**page, "problems": (404,)}
        return [
            Route("GET", SESSIONS, self.show, **page),
            Route("POST", f"{SESSIONS}/end-others", self.end_others, **page),
            Route("POST", f"{SESSIONS}/{{id}}/end", self.end, **one),
            Route("POST", f"{SESSIONS}/clients/{{id}}/forget", self.forget, **one),
        ]

    async def show(self, call: Call, query: Said) -> Reply:
        """Where you are signed in, and which clients you let know something of you."""
        proof = self._visitors.prove(call.scope)
        found = await self._door.list(call, Listing())
        return self._visitors.show(
            call.scope,
            "sessions.html",
            here=SESSIONS,
            sessions=found.sessions,
            consents=await self._consents.of(proof),
            said=SAID.get(query.said, ""),
        )

    async def end(self, call: Call, id: str) -> Reply:  # noqa: A002 - as it stands in the path
        """End a session, with all that came of it."""
        mine = self._visitors.session(call.scope).id == id
        await self._door.end(call, id)
        if mine:
            return see_other(LOGIN, headers={"set-cookie": CLEARED})
        return see_other(f"{SESSIONS}?said=ended")

    async def end_others(self, call: Call) -> Reply:
        """End every session but that of this browser."""
        found = await self._door.list(call, Listing())
        for session in found.sessions:
            if not session.current:
                await self._door.end(call, session.id)
        return see_other(f"{SESSIONS}?said=others")

    async def forget(self, call: Call, id: str) -> Reply:  # noqa: A002 - as above
        """Let a client know nothing any more."""
        await self._consents.forget(self._visitors.prove(call.scope), id)
        return see_other(f"{SESSIONS}?said=forgotten")
