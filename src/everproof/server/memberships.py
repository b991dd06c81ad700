"""Memberships at the platforms: what is known of them, what would be changed, and changing it."""

import asyncio
from typing import Annotated, Final

import msgspec

from everproof.authorize import Authorizer
from everproof.kernel.errors import ConflictError
from everproof.kernel.words import MAIN_SPACE, Action, Ref, Resource
from everproof.provisioning.memberships_room import ORGANISATION, Memberships, Report
from everproof.server.caller import Callers
from everproof.server.denial import allowed
from everproof.server.http import Call, Route
from everproof.storage import Storage
from everproof.work import EffectRecord

READ: Final = Action("membership:read")
CHANGE: Final = Action("membership:change")


class Organisations(msgspec.Struct, frozen=True):
    """The organisations that there are, by name."""

    organisations: tuple[str, ...]


class Planned(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The plan that is to be applied, as it was seen."""

    digest: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]


class LastLook(msgspec.Struct, frozen=True):
    """What the last look found; null where there was none yet."""

    report: Report | None


class MembershipsDoor:
    """The door of memberships."""

    def __init__(self, memberships: Memberships, authorizer: Authorizer, callers: Callers, storage: Storage) -> None:
        self._memberships = memberships
        self._authorizer = authorizer
        self._callers = callers
        self._storage = storage

    def routes(self) -> list[Route]:
        """What is served."""
        door, found, one = "memberships", (404, 502, 503), "/v1/memberships/{name}"
        return [
            Route("GET", "/v1/memberships", self.organisations, door=door),
            Route("GET", one, self.last, door=door, problems=(404,)),
            Route("POST", f"{one}/plan", self.plan, door=door, problems=found),
            Route("POST", f"{one}/look", self.look, door=door, problems=found),
            Route("POST", f"{one}/apply", self.apply, door=door, problems=(*found, 409)),
        ]

    async def organisations(self, call: Call) -> Organisations:
        """List the organisations whose members are kept."""
        about = Resource(ref=Ref(ORGANISATION, "*"), parents=(MAIN_SPACE,))
        allowed(await self._authorizer.authorize(self._callers.prove(call.scope), READ, about))
        return Organisations(tuple(sorted(self._memberships.lines)))

    async def last(self, call: Call, name: str) -> LastLook:
        """Show what the last look found."""
        await self._may(call, name)
        return LastLook(await asyncio.to_thread(self._memberships.last, name))

    async def plan(self, call: Call, name: str) -> Report:
        """Ask the platform, and say what would have to be changed; nothing is."""
        await self._may(call, name)
        return await self._memberships.look(name)

    async def look(self, call: Call, name: str) -> Report:
        """Look now rather than when it is time: what is found is recorded, and told where it is new."""
        await self._may(call, name)
        report = await self._memberships.look(name)
        await self._storage.write(lambda tx: self._memberships.keep(tx, report))
        return report

    async def apply(self, call: Call, name: str, body: Planned) -> EffectRecord:
        """Have the plan of this digest applied, as an effect; refused where it would be another one by now."""
        proof = self._callers.prove(call.scope)
        about = self._about(name)
        allowed(await self._authorizer.authorize(proof, READ, about))
        report = await self._memberships.look(name)
        if report.digest != body.digest:
            raise ConflictError("the plan is another one by now", place=name, todo="look at it again, and apply that")
        by = proof.principal.ref
        outcome = await self._authorizer.authorize(
            proof,
            CHANGE,
            about,
            within=lambda tx: self._memberships.propose(tx, report, by),
            detail={"plan": report.digest, "changes": len(report.to_make)},
        )
        return allowed(outcome).outcome

    async def _may(self, call: Call, name: str) -> None:
        proof = self._callers.prove(call.scope)
        allowed(await self._authorizer.authorize(proof, READ, self._about(name)))

    def _about(self, name: str) -> Resource:
        host = self._memberships.host(name)
        attributes = {"platform": host.platform, "platform_id": str(self._memberships.lines[name].id)}
        return Resource(ref=Ref(ORGANISATION, name), attributes=attributes, parents=(MAIN_SPACE,))
