"""The ledger for those who may read it: entries, proofs, export. Reading is an action like any other."""

import asyncio
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec

from everproof.authorize import Authorizer
from everproof.kernel.errors import InputError
from everproof.kernel.words import Action, Entry
from everproof.ledger import Ledger
from everproof.ledger.witness import WitnessService
from everproof.server.caller import Callers
from everproof.server.denial import allowed
from everproof.server.http import Call, Reply, Route
from everproof.server.resources import LEDGER

READ: Final = Action("ledger:read")
EXPORT: Final = Action("ledger:export")
MAX_PAGE: Final = 1000


class About(msgspec.Struct, frozen=True):
    """The log: its origin, how many entries it has, and the key that signs its checkpoints.

    ``witness`` is the key that other logs' checkpoints are cosigned with here, where any are.
    """

    origin: str
    size: int
    vkey: str
    witness: str | None = None


class Page(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which entries: those after an index, else the last ones; of one kind, else all."""

    after: Annotated[int, msgspec.Meta(ge=-1, le=2**53)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE)] = 100
    kind: Annotated[str, msgspec.Meta(max_length=64)] | None = None


class Read(msgspec.Struct, frozen=True):
    """One entry; null where its person was erased."""

    index: int
    id: str
    kind: str
    at: datetime
    entry: Entry | None


class Entries(msgspec.Struct, frozen=True):
    """A page of entries, oldest first, and the index to go on after."""

    entries: tuple[Read, ...]
    after: int


class Disclosure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether the entry itself stands in its proof."""

    disclose: bool = False


class Range(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Entries from ``first`` on, at most ``limit``."""

    first: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE)] = MAX_PAGE
    disclose: bool = True


class LedgerDoor:
    """Reads of the ledger, each an authorized action; a proof that discloses nothing is for anyone, as tiles are."""

    def __init__(
        self, ledger: Ledger, authorizer: Authorizer, callers: Callers, *, witness: WitnessService | None = None
    ) -> None:
        self._ledger = ledger
        self._witness = witness
        self._authorizer = authorizer
        self._callers = callers

    def routes(self) -> list[Route]:
        """What is served."""
        text = "text/plain; charset=utf-8"
        entry = "/v1/ledger/entries/{index}"
        return [
            Route("GET", "/v1/ledger", self.about, door="ledger", needs_proof=False),
            Route("GET", "/v1/ledger/entries", self.entries, door="ledger"),
            Route("GET", entry, self.entry, door="ledger", answer=Entry, problems=(404,)),
            Route("GET", f"{entry}/proof", self.proof, door="ledger", media=text, problems=(404,)),
            Route("GET", "/v1/ledger/export", self.export, door="ledger", media="application/jsonl"),
        ]

    async def about(self) -> About:
        """Name the log and its key."""
        witness = None if self._witness is None else self._witness.vkey
        return About(self._ledger.origin, self._ledger.size, self._ledger.vkey, witness)

    async def entries(self, call: Call, query: Page) -> Entries:
        """Read entries."""
        await self._allow(call, READ, {"after": query.after, "kind": query.kind})
        found = await asyncio.to_thread(self._ledger.tail, query.after, query.limit, kind=query.kind)
        last = found[-1].index if found else query.after if query.after is not None else -1
        return Entries(tuple(Read(one.index, one.id, one.kind, one.at, one.entry) for one in found), last)

    async def entry(self, call: Call, index: str) -> Reply:
        """Read one entry, by its index or its id."""
        await self._allow(call, READ, {"entry": index})
        return Reply.of(await asyncio.to_thread(lambda: self._ledger.read(self._index(index))))

    async def proof(self, call: Call, index: str, query: Disclosure) -> Reply:
        """Prove that an entry stands in the log: a C2SP tlog-proof, to be verified offline with the log's key."""
        if query.disclose:
            await self._allow(call, READ, {"entry": index, "disclose": True})
        number = await asyncio.to_thread(self._index, index)
        return Reply(await self._ledger.prove(number, disclose=query.disclose), media="text/plain; charset=utf-8")

    async def export(self, call: Call, query: Range) -> Reply:
        """Export entries with their proofs, one JSON object a line; go on after the last one until nothing comes."""
        await self._allow(call, EXPORT, {"first": query.first})
        await self._ledger.publish()
        lines = self._ledger.export(query.first, query.first + query.limit, disclose=query.disclose)
        return Reply(await asyncio.to_thread(b"".join, lines), media="application/jsonl")

    async def _allow(self, call: Call, action: Action, detail: dict[str, Any]) -> None:
        known = {name: value for name, value in detail.items() if value is not None}
        allowed(await self._authorizer.authorize(self._callers.prove(call.scope), action, LEDGER, detail=known))

    def _index(self, text: str) -> int:
        if text.startswith("ent_"):
            return self._ledger.find(text)
        if not text.isascii() or not text.isdigit() or len(text) > 15:  # noqa: PLR2004 - within 2**53
            raise InputError("must be an entry's index or its id", place="path: index")
        return int(text)
