"""Replay: what a bundle says to a decision that was recorded, from the very bytes that were recorded of it.

The bundle and the engine that made the decision give the same bytes again. Another bundle gives what it would have
given then: by the attributes, groups and facts of that time, not by those of today.
"""

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import msgspec

from everproof.kernel.errors import Error
from everproof.kernel.words import Action, Attributes, Decision, Principal, Ref, Resource
from everproof.policy.engine import Engine, Verdict
from everproof.policy.request import Request

How: TypeAlias = Literal["forbidden", "no longer permitted", "undecidable", "permitted", "gone"]
"""By what the answer turns: a forbid, a permit that is missed, an error, a permit, or that nobody is there to ask."""

Turn: TypeAlias = Literal["denied", "allowed"]

MAX_MESSAGE: Final = 160
"""Characters of an error that a group is named by."""

MAX_POLICIES: Final = 10
"""Policies that a group is named by; one more permit of a hundred makes no other group."""


class Vouched(msgspec.Struct, frozen=True):
    """Of a recorded proof: by whose word its principal was believed."""

    vouched_by: Ref | None = None


class PastDecision(msgspec.Struct, frozen=True, kw_only=True):
    """What replay reads of a recorded decision; ``authorize.record`` writes it.

    ``refusal`` is there where policy allowed it and something else refused: a scope, a revocation meanwhile.
    """

    decision: Literal["allow", "deny", "would_deny"]
    principal: Ref
    action: str
    resource: Ref
    context: msgspec.Raw
    entities: msgspec.Raw
    bundle: str
    engine: str
    proof: Vouched = Vouched()
    reasons: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    refusal: str | None = None
    shadow: tuple[str, ...] = ()

    @property
    def permitted(self) -> bool:
        """Whether policy allowed it."""
        return self.decision == "allow" or self.refusal is not None


class Move(msgspec.Struct, frozen=True):
    """What the other bundle says of a principal's groups, or that it is ``gone`` from the record."""

    principal: Ref
    leaves: tuple[Ref, ...] = ()
    joins: tuple[Ref, ...] = ()
    gone: bool = False


class Replayed(msgspec.Struct, frozen=True):
    """One decision, made again; ``gone``: its principal would not have been there to ask."""

    past: PastDecision
    verdict: Verdict
    gone: bool = False

    @property
    def identical(self) -> bool:
        """Whether all that is recorded of a decision came out as it was: answer, reasons, errors, and the bytes."""
        past, verdict = self.past, self.verdict
        decision = verdict.decision
        return (
            decision.allowed == past.permitted
            and decision.reasons == past.reasons
            and decision.errors == past.errors
            and verdict.shadow == past.shadow
            and verdict.context == bytes(past.context)
            and verdict.entities == bytes(past.entities)
        )

    def turn(self, *, enforcing: bool = False) -> Turn | None:
        """How the answer to the one who asked would turn; None where it would not.

        What something else than policy refused stays refused. ``enforcing``: what an observing door let pass would not
        be let pass again.
        """
        past, allowed = self.past, self.verdict.decision.allowed
        if past.refusal is not None:
            return None
        if past.decision == "allow":
            return None if allowed else "denied"
        if allowed:
            return "allowed"
        return "denied" if enforcing and past.decision == "would_deny" else None

    def why(self) -> tuple[How, tuple[str, ...]]:
        """By what the answer turns, and the policies that it is by."""
        decision = self.verdict.decision
        if self.gone:
            return "gone", ()
        if decision.allowed:
            return "permitted", decision.reasons[:MAX_POLICIES]
        if decision.reasons:
            return "forbidden", decision.reasons[:MAX_POLICIES]
        if decision.errors:
            failures = self.verdict.failures[:MAX_POLICIES]
            return "undecidable", tuple([(one.policy or one.message)[:MAX_MESSAGE] for one in failures])
        return "no longer permitted", self.past.reasons[:MAX_POLICIES]


class UnwrittenError(Error):
    """The request was one that JSON has no form for, so nothing of it was recorded and nothing can be replayed."""

    code = "unwritten"


class _Entity(msgspec.Struct, frozen=True):
    attrs: Attributes
    parents: tuple[Ref, ...]
    uid: Ref


_NOBODY: Final[Mapping[Ref, Move]] = {}

_read_context: Final = msgspec.json.Decoder(Attributes).decode
_read_entities: Final = msgspec.json.Decoder(list[_Entity]).decode
_read_past: Final = msgspec.json.Decoder(PastDecision).decode


def past_decision(body: bytes) -> PastDecision:
    """The decision in the body of an entry.

    Raises:
        msgspec.DecodeError: it is not one, or one in a form that is not known here.
    """
    return _read_past(body)


def request_of(past: PastDecision) -> Request:
    """The request as it was decided upon, with everything that was known then.

    Raises:
        UnwrittenError: it was never written down.
    """
    entities = _read_entities(past.entities)
    if not entities or entities[0].uid != past.principal:
        raise UnwrittenError("the request of this decision was never written down")
    who, rest = entities[0], entities[1:]
    principal = Principal(ref=who.uid, attributes=who.attrs, parents=who.parents)
    if past.resource == past.principal:
        what = Resource(ref=who.uid, attributes=who.attrs, parents=who.parents)
    elif rest and rest[0].uid == past.resource:
        one, rest = rest[0], rest[1:]
        what = Resource(ref=one.uid, attributes=one.attrs, parents=one.parents)
    else:
        raise UnwrittenError("the resource of this decision was never written down")
    others = tuple([Resource(ref=one.uid, attributes=one.attrs, parents=one.parents) for one in rest])
    return Request(principal, Action(past.action), what, _read_context(past.context), others)


def replay(engine: Engine, past: PastDecision, moves: Mapping[Ref, Move] = _NOBODY) -> Replayed:
    """What ``engine`` says to what was decided upon then, of principals with their ``moves``.

    Raises:
        UnwrittenError: the request was never written down.
    """
    move = moves.get(past.principal)
    if move is None:
        return Replayed(past, engine.decide(request_of(past)))
    if move.gone:
        decision = Decision(allowed=False, bundle=engine.bundle.digest)
        reason = f"{past.principal} is on record no more"
        verdict = Verdict(decision=decision, context=bytes(past.context), entities=bytes(past.entities), reason=reason)
        return Replayed(past, verdict, gone=True)
    return Replayed(past, engine.decide(_moved(request_of(past), move)))


def _moved(request: Request, move: Move) -> Request:
    who = request.principal
    parents = (*(one for one in who.parents if one not in move.leaves and one not in move.joins), *move.joins)
    return msgspec.structs.replace(request, principal=msgspec.structs.replace(who, parents=parents))
