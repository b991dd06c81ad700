"""What must still be done: looking at jobs and effects, and changing their course."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Final, TypeVar

import msgspec

from everproof.authorize import Authorizer
from everproof.kernel.words import MAIN_SPACE, Action, Fact, Ref, Resource
from everproof.server.caller import Callers
from everproof.server.denial import allowed
from everproof.server.http import Call, Route
from everproof.server.resources import SERVER
from everproof.storage import Storage, Transaction
from everproof.work import EffectRecord, Job, Stage, State, Work

T = TypeVar("T")

READ: Final = Action("work:read")
CHANGE: Final = Action("work:change")
APPROVE: Final = Action("access:approve")
MAX_LISTED: Final = 1_000
_SOURCE: Final = "work"

Limit = Annotated[int, msgspec.Meta(ge=1, le=MAX_LISTED)]


class JobQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which jobs: in these states, of one verb, those after an id, in the order in which they were made."""

    state: tuple[State, ...] = ()
    verb: str | None = None
    after: str = ""
    limit: Limit = 100


class EffectQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which effects: at these stages, those after an id, in the order in which they were proposed."""

    stage: tuple[Stage, ...] = ()
    after: str = ""
    limit: Limit = 100


class Jobs(msgspec.Struct, frozen=True):
    """A page of jobs."""

    jobs: tuple[Job, ...]


class EffectsPage(msgspec.Struct, frozen=True):
    """A page of effects."""

    effects: tuple[EffectRecord, ...]


class WorkDoor:
    """The door of jobs and effects."""

    def __init__(self, work: Work, authorizer: Authorizer, callers: Callers, storage: Storage) -> None:
        self._work = work
        self._effects = work.effects
        self._authorizer = authorizer
        self._callers = callers
        self._clock = storage.clock

    def routes(self) -> list[Route]:
        """What is served."""
        door, found, conflicts = "work", (404,), (404, 409)
        job, effect = "/v1/work/jobs/{id}", "/v1/work/effects/{id}"
        return [
            Route("GET", "/v1/work/jobs", self.jobs, door=door),
            Route("GET", job, self.job, door=door, problems=found),
            Route("POST", f"{job}/retry", self.retry_job, door=door, problems=conflicts),
            Route("POST", f"{job}/cancel", self.cancel_job, door=door, problems=conflicts),
            Route("GET", "/v1/work/effects", self.effects, door=door),
            Route("GET", effect, self.effect, door=door, problems=found),
            Route("POST", f"{effect}/approve", self.approve, door=door, problems=conflicts),
            Route("POST", f"{effect}/undo", self.undo, door=door, problems=conflicts),
            Route("POST", f"{effect}/retry", self.retry, door=door, problems=conflicts),
            Route("POST", f"{effect}/cancel", self.cancel, door=door, problems=conflicts),
        ]

    async def jobs(self, call: Call, query: JobQuery) -> Jobs:
        """List jobs."""
        await self._may_read(call)
        return Jobs(tuple(await asyncio.to_thread(self._listed, query)))

    async def job(self, call: Call, id: str) -> Job:  # noqa: A002 - as it stands in the path
        """Show a job."""
        await self._may_read(call)
        return await asyncio.to_thread(self._work.job, id)

    async def retry_job(self, call: Call, id: str) -> Job:  # noqa: A002 - as above
        """Try a stuck, cancelled or waiting job now."""
        return await self._change_job(call, id, self._work.retry)

    async def cancel_job(self, call: Call, id: str) -> Job:  # noqa: A002 - as above
        """Let a job not be done, or not any more; what it has begun stays as it is."""
        return await self._change_job(call, id, self._work.cancel)

    async def effects(self, call: Call, query: EffectQuery) -> EffectsPage:
        """List effects."""
        await self._may_read(call)
        found = await asyncio.to_thread(self._effects.effects, stages=query.stage, after=query.after, limit=query.limit)
        return EffectsPage(tuple(found))

    async def effect(self, call: Call, id: str) -> EffectRecord:  # noqa: A002 - as above
        """Show an effect, and who approved it."""
        await self._may_read(call)
        return await asyncio.to_thread(self._effects.effect, id)

    async def approve(self, call: Call, id: str) -> EffectRecord:  # noqa: A002 - as above
        """Approve an effect; with the last approval that it needs, it is applied.

        Policy is asked about a Grant of the effect's id, whose role is its verb, with who has approved so far.
        """
        proof = self._callers.prove(call.scope)
        found = await asyncio.to_thread(self._effects.effect, id)
        about = Resource(
            ref=Ref("Grant", id),
            attributes={
                "role": found.verb, "resource_type": found.subject.type, "resource_id": found.subject.id,
            },
            parents=(MAIN_SPACE,),
        )  # fmt: skip
        now = self._clock.now()
        facts = (
            Fact("approvals", len(found.approved_by), now, _SOURCE),
            Fact("approvers", [one.id for one in found.approved_by], now, _SOURCE),
        )
        by = proof.principal.ref
        outcome = await self._authorizer.authorize(
            proof, APPROVE, about, facts=facts, within=lambda tx: self._effects.approve(tx, id, by)
        )
        return allowed(outcome).outcome

    async def undo(self, call: Call, id: str) -> EffectRecord:  # noqa: A002 - as above
        """Undo an effect; one that is just being applied is undone right after."""
        return await self._change_effect(call, id, "undo", self._effects.undo)

    async def retry(self, call: Call, id: str) -> EffectRecord:  # noqa: A002 - as above
        """Take up a failed effect at the step that failed."""
        return await self._change_effect(call, id, "retry", self._effects.retry)

    async def cancel(self, call: Call, id: str) -> EffectRecord:  # noqa: A002 - as above
        """Let a proposed effect not be applied."""
        return await self._change_effect(call, id, "cancel", self._effects.cancel)

    async def _may_read(self, call: Call) -> None:
        allowed(await self._authorizer.authorize(self._callers.prove(call.scope), READ, SERVER))

    def _listed(self, query: JobQuery) -> list[Job]:
        return self._work.jobs(states=query.state, verb=query.verb, after=query.after, limit=query.limit)

    async def _change_job(self, call: Call, id_: str, change: Callable[[Transaction, str], Job]) -> Job:
        proof = self._callers.prove(call.scope)
        outcome = await self._authorizer.authorize(
            proof, CHANGE, SERVER, within=lambda tx: change(tx, id_), detail={"job": id_}
        )
        return allowed(outcome).outcome

    async def _change_effect(
        self, call: Call, id_: str, word: str, change: Callable[[Transaction, str, Ref], EffectRecord]
    ) -> EffectRecord:
        """What may be done to an effect, whoever may have it applied may do."""
        proof = self._callers.prove(call.scope)
        found = await asyncio.to_thread(self._effects.effect, id_)
        action = Action(self._effects.deed(found.verb).action)
        about = Resource(ref=found.subject, parents=(MAIN_SPACE,))
        by = proof.principal.ref
        outcome = await self._authorizer.authorize(
            proof, action, about, within=lambda tx: change(tx, id_, by), detail={"effect": id_, "change": word}
        )
        return allowed(outcome).outcome
