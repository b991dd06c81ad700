"""Break-glass: kits of two halves, opening what they are for, and the review of each use."""

from typing import Annotated

import msgspec

from everproof.access import Access
from everproof.access.break_glass import Fetched, Opened, Plan
from everproof.access.kit_store import Kit
from everproof.authorize import Denied
from everproof.kernel.words import Ref
from everproof.server.access import listed
from everproof.server.caller import Callers
from everproof.server.denial import allowed, denial
from everproof.server.http import Call, Route

Text = Annotated[str, msgspec.Meta(max_length=2_000)]
Name = Annotated[str, msgspec.Meta(max_length=128)]
Typed = Annotated[str, msgspec.Meta(max_length=512)]


class NewKit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A kit to be made for two people; at most an hour."""

    people: Annotated[tuple[Name, ...], msgspec.Meta(max_length=2)]
    actions: Annotated[tuple[Name, ...], msgspec.Meta(max_length=32)]
    resource: Ref
    seconds: Annotated[int, msgspec.Meta(ge=60, le=3600)] = 3600


class Halves(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Both halves as they were typed, that of whoever is to hold the session first; and what it is for."""

    halves: Annotated[tuple[Typed, ...], msgspec.Meta(max_length=2)]
    reason: Text

    def __repr__(self) -> str:
        return "Halves()"


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a review found."""

    report: Text


class Kits(msgspec.Struct, frozen=True):
    """Kits, the newest first; ``left`` is what is to be done about them."""

    kits: tuple[Kit, ...]
    left: tuple[str, ...]


class BreakGlassDoor:
    """The door of break-glass."""

    def __init__(self, access: Access, callers: Callers) -> None:
        self._room = access.break_glass
        self._callers = callers

    def routes(self) -> list[Route]:
        """What is served."""
        door, found = "access", (404,)
        one = "/v1/access/break-glass/{id}"
        return [
            Route("GET", "/v1/access/break-glass", self.kits, door=door),
            Route("POST", "/v1/access/break-glass", self.prepare, door=door, status=201),
            Route("POST", "/v1/access/break-glass/open", self.open, door=door, needs_proof=False),
            Route("POST", f"{one}/fetch", self.fetch, door=door, problems=found),
            Route("POST", f"{one}/withdraw", self.withdraw, door=door, problems=found),
            Route("POST", f"{one}/review", self.review, door=door, problems=found),
        ]

    async def kits(self, call: Call) -> Kits:
        """List the kits, and what is left to be done about them."""
        found = listed(await self._room.find(self._callers.prove(call.scope)))
        return Kits(tuple(found), tuple(self._room.left()))

    async def prepare(self, call: Call, body: NewKit) -> Kit:
        """Make a kit for two people, who then fetch their halves."""
        plan = Plan(**msgspec.structs.asdict(body))
        return allowed(await self._room.prepare(self._callers.prove(call.scope), plan)).outcome

    async def fetch(self, call: Call, id: str) -> Fetched:  # noqa: A002 - as it stands in the path
        """Give the caller their own half, once."""
        return allowed(await self._room.fetch(self._callers.prove(call.scope), id)).outcome

    async def open(self, call: Call, body: Halves) -> Opened:
        """Open what a kit is for, for whoever shows both halves and a key in a DPoP proof.

        It asks no provider. Every administrator hears of it, and it has to be reviewed.
        """
        key = self._callers.key(call.scope)
        outcome = await self._room.open(body.halves, key=key, reason=body.reason)
        if isinstance(outcome, Denied):
            raise denial(outcome)
        return outcome

    async def withdraw(self, call: Call, id: str) -> Kit:  # noqa: A002 - as above
        """Let a kit that was not used be of no use any more."""
        return allowed(await self._room.withdraw(self._callers.prove(call.scope), id)).outcome

    async def review(self, call: Call, id: str, body: Report) -> Kit:  # noqa: A002 - as above
        """Say what a use was for and whether it was right."""
        proof = self._callers.prove(call.scope)
        return allowed(await self._room.review(proof, id, report=body.report)).outcome
