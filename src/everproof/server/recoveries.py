"""Recoveries of people who have lost their factors: begun, vouched for, stopped, each in the commit that decides it."""

import asyncio
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec

from everproof.authorize import Authorizer
from everproof.identity.factors import Factors
from everproof.identity.factors.records import Recovery
from everproof.kernel.words import MAIN_SPACE, Action, Ref, Resource
from everproof.server.caller import Callers
from everproof.server.denial import allowed
from everproof.server.http import Call, Route
from everproof.storage import Transaction

READ: Final = Action("factor:read")
RECOVER: Final = Action("factor:recover")
VOUCH: Final = Action("factor:vouch")

Text = Annotated[str, msgspec.Meta(max_length=128)]
Reason = Annotated[str, msgspec.Meta(max_length=200)]


class RecoveryView(msgspec.Struct, frozen=True, kw_only=True):
    """A recovery. ``good_from`` is when waiting alone makes it good, if the person could be ``told`` of it."""

    id: str
    person: Ref
    state: str
    asked_by: Ref
    asked: datetime
    good_from: datetime
    ends: datetime
    reason: str
    told: bool
    vouched_by: tuple[Ref, ...]


class Lost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who has lost their factors; empty: the caller."""

    person: Text = ""
    reason: Reason = ""


class BegunView(msgspec.Struct, frozen=True):
    """A recovery, and its ticket, given once: it adds a factor when the recovery is good. It is a secret."""

    recovery: RecoveryView
    ticket: str

    def __repr__(self) -> str:
        return f"BegunView({self.recovery.id})"


class Whose(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose recoveries: the caller's own, or everyone's."""

    everyone: bool = False


class Listed(msgspec.Struct, frozen=True):
    """Recoveries that are not over."""

    recoveries: tuple[RecoveryView, ...]


class RecoveriesDoor:
    """Recoveries."""

    def __init__(self, authorizer: Authorizer, factors: Factors, callers: Callers) -> None:
        self._authorizer = authorizer
        self._recoveries = factors.recoveries
        self._callers = callers

    def routes(self) -> list[Route]:
        """What is served."""
        one: dict[str, Any] = {"door": "factors", "problems": (404, 409)}
        path = "/v1/factors/recoveries"
        return [
            Route("GET", path, self.listed, door="factors"),
            Route("POST", path, self.begin, **one, status=201),
            Route("POST", f"{path}/{{id}}/vouch", self.vouch, **one),
            Route("POST", f"{path}/{{id}}/stop", self.stop, **one),
        ]

    async def listed(self, call: Call, query: Whose) -> Listed:
        """List recoveries that are not over."""
        proof = self._callers.prove(call.scope)
        person = None if query.everyone else proof.principal.ref
        about = _about("recoveries", Ref("User", "") if person is None else person, proof.principal.ref)
        allowed(await self._authorizer.authorize(proof, READ, about))
        found = await asyncio.to_thread(self._recoveries.open, person)
        return Listed(tuple(_view(one) for one in found))

    async def begin(self, call: Call, body: Lost) -> BegunView:
        """Begin a recovery: who has lost their factors adds one when two people vouch for them, or time has passed."""
        proof = self._callers.prove(call.scope)
        by = proof.principal.ref
        person = Ref("User", body.person) if body.person else by
        outcome = await self._authorizer.authorize(
            proof,
            RECOVER,
            _about("recovery", person, by),
            within=lambda tx: self._recoveries.begin(tx, person, by, body.reason),
        )
        begun = allowed(outcome).outcome
        return BegunView(_view(begun.recovery), begun.ticket)

    async def vouch(self, call: Call, id: str) -> RecoveryView:  # noqa: A002 - as it stands in the path
        """Vouch for whoever asks: that it is they who ask."""
        return await self._change(call, VOUCH, id, self._recoveries.vouch)

    async def stop(self, call: Call, id: str) -> RecoveryView:  # noqa: A002 - as above
        """Stop a recovery."""
        return await self._change(call, RECOVER, id, self._recoveries.stop)

    async def _change(self, call: Call, action: Action, id_: str, change: Any) -> RecoveryView:
        proof = self._callers.prove(call.scope)
        by = proof.principal.ref
        recovery = await asyncio.to_thread(self._recoveries.find, id_)

        def within(tx: Transaction) -> Recovery:
            changed: Recovery = change(tx, id_, by)
            return changed

        about = _about(id_, recovery.person, by)
        return _view(allowed(await self._authorizer.authorize(proof, action, about, within=within)).outcome)


def _about(id_: str, person: Ref, asker: Ref) -> Resource:
    """A recovery as the object of an action."""
    attributes = {"kind": "recovery", "own": person == asker, "principal_id": person.id}
    return Resource(ref=Ref("Factor", id_), attributes=attributes, parents=(MAIN_SPACE,))


def _view(recovery: Recovery) -> RecoveryView:
    return RecoveryView(**{name: getattr(recovery, name) for name in RecoveryView.__struct_fields__})
