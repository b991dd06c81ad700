"""Containment: what would end, ending it, and letting a contained principal go."""

import asyncio
from datetime import timedelta
from typing import Annotated, Final

import msgspec

from everproof.authorize import Authorizer
from everproof.identity import Directory
from everproof.identity.lineage import Lineage, lineage
from everproof.kernel.errors import InputError
from everproof.kernel.words import MAIN_SPACE, Action, Proof, Ref, Resource
from everproof.response import Containment, ContainmentRecord, Found
from everproof.response.containment import CREDENTIAL
from everproof.server.caller import Callers
from everproof.server.denial import allowed
from everproof.server.http import Call, Route
from everproof.server.resources import SERVER, credential_resource
from everproof.storage import Storage, Transaction

LOOK: Final = Action("identity:read")
CONTAIN: Final = Action("response:contain")
READ: Final = Action("work:read")

WAIT: Final = timedelta(seconds=10)
"""How long an answer waits for the last receipt; everything is refused long before."""
MAX_LISTED: Final = 1_000
PRINCIPALS: Final = ("User", "Job", "Service", "Machine", "Device")
PERSON: Final = "User"
"""The one type of principal that exists only on record: a name that is not there is a slip, and holds nobody."""

Text = Annotated[str, msgspec.Meta(max_length=512)]


class ToContain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Either a credential or a principal."""

    credential: Text = ""
    principal: Ref | None = None

    @property
    def ref(self) -> Ref:
        """What is meant."""
        if bool(self.credential) == (self.principal is not None):
            raise InputError("give either credential or principal", place="body")
        if self.principal is None:
            return Ref(CREDENTIAL, self.credential)
        if self.principal.type not in PRINCIPALS:
            todo = f"one of {', '.join(PRINCIPALS)}"
            raise InputError(f"{self.principal.type} is no type of principal", place="body: principal.type", todo=todo)
        return self.principal


class ContainmentOrder(ToContain, frozen=True, forbid_unknown_fields=True):
    """What is to be contained, and why."""

    reason: Annotated[str, msgspec.Meta(max_length=200)] = ""


class Reachable(msgspec.Struct, frozen=True):
    """What would end: how many credentials, and what other rooms would be asked to end outside.

    ``lineages`` has that of the credential; of a principal, that of each that it holds and that comes from no other.
    """

    target: Ref
    credentials: int
    errands: tuple[str, ...]
    lineages: tuple[Lineage, ...]


class Contained(msgspec.Struct, frozen=True):
    """A containment. ``refused`` counts what is refused already; `ContainmentRecord.credentials` has its receipts."""

    containment: ContainmentRecord
    refused: int
    entry: str


class Released(msgspec.Struct, frozen=True):
    """A principal that may prove itself again."""

    principal: Ref
    entry: str


class ContainDoor:
    """The door of containment."""

    def __init__(
        self,
        containment: Containment,
        authorizer: Authorizer,
        directory: Directory,
        callers: Callers,
        storage: Storage,
    ) -> None:
        self._containment = containment
        self._authorizer = authorizer
        self._directory = directory
        self._callers = callers
        self._storage = storage

    def routes(self) -> list[Route]:
        """What is served."""
        door, found, conflicts = "response", (404,), (404, 409)
        return [
            Route("POST", "/v1/contain", self.contain, door=door, problems=found),
            Route("POST", "/v1/contain/plan", self.plan, door=door, problems=found),
            Route("POST", "/v1/contain/release", self.release, door=door, problems=conflicts),
            Route("GET", "/v1/contain/{id}", self.containment, door=door, problems=found),
        ]

    async def plan(self, call: Call, body: ToContain) -> Reachable:
        """Tell what would end, and end nothing."""
        proof = self._callers.prove(call.scope)
        target = body.ref
        about = await asyncio.to_thread(self._resource, proof, target)
        allowed(await self._authorizer.authorize(proof, LOOK, about))
        found = await asyncio.to_thread(self._containment.look, target)
        lineages = await asyncio.to_thread(self._lineages, found)
        told = tuple(one.told or one.verb for one in found.errands[:MAX_LISTED])
        return Reachable(target, len(found.live), told, tuple(lineages))

    async def contain(self, call: Call, body: ContainmentOrder) -> Contained:
        """End all that descends from a credential or a principal, everywhere; a principal is held besides.

        When this answers, all of it is refused. What is not `finished` by then goes on by itself.
        """
        proof = self._callers.prove(call.scope)
        target = body.ref
        about = await asyncio.to_thread(self._resource, proof, target)
        found = await asyncio.to_thread(self._containment.look, target)
        by = proof.principal.ref

        def begin(tx: Transaction) -> ContainmentRecord:
            if target.type == PERSON:
                self._directory.record(target)  # only now: who may not contain does not learn who is on record
            return self._containment.begin(tx, found, by=by, reason=reason)

        reason = f"contained by {by}" + (f": {body.reason}" if body.reason else "")
        outcome = await self._authorizer.authorize(
            proof,
            CONTAIN,
            about,
            within=begin,
            detail={"credentials": len(found.live), "errands": len(found.errands), "reason": body.reason},
        )
        given = allowed(outcome)
        record = await self._containment.finished(given.outcome.id, within=WAIT)
        return Contained(record, len(found.live), given.receipt.entry_id)

    async def release(self, call: Call, body: ToContain) -> Released:
        """Let a contained principal prove itself again; nothing that ended comes back."""
        proof = self._callers.prove(call.scope)
        target = body.ref
        about = await asyncio.to_thread(self._resource, proof, target)
        outcome = await self._authorizer.authorize(
            proof,
            CONTAIN,
            about,
            within=lambda tx: self._containment.release(tx, target),
            detail={"release": True},
        )
        return Released(target, allowed(outcome).receipt.entry_id)

    async def containment(self, call: Call, id: str) -> ContainmentRecord:  # noqa: A002 - as it stands in the path
        """Tell how far a containment is."""
        allowed(await self._authorizer.authorize(self._callers.prove(call.scope), READ, SERVER))
        return await asyncio.to_thread(self._containment.record, id)

    def _lineages(self, found: Found) -> list[Lineage]:
        """That of the credential; of a principal, those of its credentials, none twice, no more than are shown."""
        if found.target.type == CREDENTIAL:
            return [lineage(self._storage, found.target.id)]
        drawn: set[str] = set()
        told: list[Lineage] = []
        for id_ in list(found.live)[:MAX_LISTED]:
            if len(drawn) >= MAX_LISTED:
                break
            if id_ in drawn:
                continue
            one = lineage(self._storage, id_)
            if any(above.id in found.live for above in one.ancestors[:-1]):
                continue  # it is drawn below the one that it comes from
            drawn |= {id_, *(below.id for below in one.descendants)}
            told.append(one)
        return told

    def _resource(self, proof: Proof, target: Ref) -> Resource:
        if target.type == CREDENTIAL:
            itself = lineage(self._storage, target.id).ancestors[-1]
            return credential_resource(target.id, itself.principal, proof, kind=itself.kind)
        known = self._directory.principal(target)
        if known is None:
            return Resource(ref=target, parents=(MAIN_SPACE,))
        return Resource(ref=target, attributes=known.attributes, parents=known.parents)
