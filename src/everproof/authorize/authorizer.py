"""The one call. Gather the facts, decide, record durably, and only then say so.

What is to be done with a permission inside the storage is done in the very commit that records the decision, so there
is never an effect without its entry, nor an entry without its effect.
"""

from collections.abc import Callable, Container, Iterable
from datetime import datetime
from typing import Any, Final, TypeAlias, cast

import msgspec
from typing_extensions import TypeVar

from everproof.authorize.facts import FactSource, facts_of_proof
from everproof.authorize.outcome import _SEAL, Allowed, Audience, Denied
from everproof.authorize.record import DecisionRecord, record_of
from everproof.authorize.remedy import Remedy, find_remedy
from everproof.kernel.canonical import encode
from everproof.kernel.errors import RefusedError, UnavailableError
from everproof.kernel.ids import new_id
from everproof.kernel.words import (
    MAIN_SPACE,
    NOTHING,
    Action,
    Attributes,
    Decision,
    Entry,
    Fact,
    Mode,
    Principal,
    Proof,
    Ref,
    Resource,
)
from everproof.ledger import Ledger, Receipt
from everproof.policy import Engine, Explanation, Request, Verdict
from everproof.storage import Change, Storage, Transaction

A = TypeVar("A", bound=Action)
R = TypeVar("R", bound=Resource)
T = TypeVar("T", default=None)

ENTRY_KIND: Final = "decision"

SAID: Final = "said"
"""Where policy finds what a caller says: never among the facts."""

PERSON: Final = "User"
"""Entries about a person are sealed under that person's key, so that erasing one erases them; all others under their
space's, since a key for each job would be a key for each run."""

_REVOKED: Final = "the credential was revoked"

ATTEMPTS: Final = 5
"""How often a decision is made anew because another server changed what it was made by, before the caller is told."""

Liveness: TypeAlias = Callable[[str], bool]
"""Whether a credential is neither revoked nor over."""

Known: TypeAlias = Callable[[Ref], Principal | None]
"""The principal on record under a name."""


class Authorizer:
    """Decides by the bundle that rules now, and records what it decided."""

    def __init__(
        self,
        storage: Storage,
        ledger: Ledger,
        engine: Engine,
        *,
        is_live: Liveness,
        known: Known,
        held: Container[Ref] = (),
    ) -> None:
        self._storage = storage
        self._ledger = ledger
        self._is_live = is_live
        self._known = known
        self._held = held
        self._sources: list[FactSource] = []
        self._said: frozenset[str] = frozenset()
        self.engine = engine

    def register(self, *sources: FactSource) -> None:
        """Ask ``sources`` for their facts at every decision from now on."""
        self._sources += sources
        self._said = self._said.union(*(source.says for source in sources))

    def is_timeless(self, allowed: Allowed[Any, Any, Any]) -> bool:
        """Whether what allows it goes on to, until something changes that those who follow the changes are told.

        Not so where anything that a source of facts says, or may come to say, could turn it into a denial; nor where it
        was not vouched for, since every other proof has an age.
        """
        if allowed.proof.vouched_by is None or allowed.decision.bundle != self.engine.bundle.digest:
            return False
        kind = (allowed.action.name, allowed.proof.principal.ref.type, allowed.resource.ref.type)
        return not self.engine.sliced(kind).could_turn(allowed.decision.reasons, self._said)

    async def authorize(
        self,
        proof: Proof,
        action: A,
        resource: R,
        *,
        facts: Iterable[Fact] = (),
        context: Attributes = NOTHING,
        detail: Attributes = NOTHING,
        within: Change[T] | None = None,
        mode: Mode = "enforce",
        request: str | None = None,
    ) -> Allowed[A, R, T] | Denied:
        """May this principal do this to this? The answer is durable before it is given.

        ``facts`` are the door's own; ``context`` is what the caller says beside its question, which policy sees apart
        from every fact; ``detail`` is recorded and not decided upon. ``within`` is done in the commit of the entry, if
        allowed; it may raise `RefusedError` before it writes anything, which then is the recorded denial.

        Raises:
            UnavailableError: nothing could be recorded, so nothing was decided.
        """
        given = tuple(facts)
        recorded = self._storage.generation is not None and self._known(proof.principal.ref) is proof.principal
        if mode == "observe" and self._is_dead(proof):
            mode = "enforce"  # to observe is to let pass what policy would not, and not whoever is nobody any more
        for _ in range(ATTEMPTS):
            self._storage.require_fresh()
            generation, engine, at = self._storage.generation, self.engine, self._storage.clock.now()
            known = self._gather(proof, action, resource, given, at)
            asked = self._asked(proof, action, resource, context, known)
            verdict = engine.decide(asked)
            kept = _Pending(
                self._ledger, self._is_live, engine.version, proof, asked, verdict, known, at, detail, mode, request,
                self._held,
            )  # fmt: skip
            decided = await self._storage.write(_Decided(kept, within, self._refusal(proof, action), generation))
            if decided is not None:
                break
            proof = self._as_recorded_now(proof) if recorded else self._as_proven(proof, engine)
        else:
            raise _outdated()
        if decided.refusal is None and within is None and kept.is_dead:
            # Revoked while this was on its way to the disk: whoever revoked it has been told that it is dead. What was
            # done within the commit stays done, and may itself be what ended the credential.
            refusal = RefusedError(_REVOKED)
            again = await self._storage.write(_Decided(kept, None, refusal))
            assert again is not None  # it was decided by nothing that could be outdated
            decided = again
        if decided.refusal is None:
            if within is None:
                self._storage.require_fresh()  # a process that was paused since may not know what everyone else does
            return Allowed(
                proof=proof,
                action=action,
                resource=resource,
                decision=verdict.decision,
                receipt=decided.receipt,
                outcome=cast("T", decided.outcome),
                seal=_SEAL,
            )

        def explain(audience: Audience) -> Explanation:
            return engine.explain(asked, verdict, audience)

        def find() -> Remedy:
            in_session = "session" in proof.claims and proof.vouched_by is None
            return find_remedy(engine, asked, in_session=in_session)

        return Denied(
            proof=proof,
            action=action,
            resource=resource,
            decision=verdict.decision,
            receipt=decided.receipt,
            reason=decided.refusal,
            lets_pass=mode == "observe" and not kept.is_dead,
            explain=explain,
            find=None if verdict.decision.allowed or kept.is_dead or self._refusal(proof, action) else find,
        )

    def _as_recorded_now(self, proof: Proof) -> Proof:
        """The proof with its principal as it is on record by now.

        Raises:
            UnavailableError: it is on record no more, so it must be proven anew.
        """
        now = self._known(proof.principal.ref)
        if now is None:
            raise _outdated()
        return msgspec.structs.replace(proof, principal=now)

    def _as_proven(self, proof: Proof, engine: Engine) -> Proof:
        """The proof of a principal that is what it was proven to be, such as a job.

        Raises:
            UnavailableError: another bundle rules, which may not trust what it was proven by.
        """
        if engine is not self.engine:
            raise _outdated()
        return proof

    def _is_dead(self, proof: Proof) -> bool:
        return _is_dead(proof, self._is_live, self._held)

    def _refusal(self, proof: Proof, action: Action) -> RefusedError | None:
        """What stands against it, whatever policy says."""
        if proof.principal.ref in self._held:
            return RefusedError(f"{proof.principal.ref} is contained", todo="ask an administrator to release it")
        if "disabled" in proof.claims:
            return RefusedError(f"{proof.principal.ref} is disabled", todo="ask an administrator")
        return _outside_scope(proof, action)

    def suppose(
        self,
        proof: Proof,
        action: Action,
        resource: Resource,
        *,
        facts: Iterable[Fact] = (),
        context: Attributes = NOTHING,
    ) -> bool:
        """Whether `authorize` would allow it now. Nothing is recorded of it, so nobody may act upon it."""
        known = self._gather(proof, action, resource, facts, self._storage.clock.now())
        verdict = self.engine.decide(self._asked(proof, action, resource, context, known))
        return verdict.decision.allowed and self._refusal(proof, action) is None

    def context(self, proof: Proof, action: Action, resource: Resource) -> Attributes:
        """The facts that policy would see of this now, by name: for asking the engine what else could be decided."""
        known = self._gather(proof, action, resource, (), self._storage.clock.now())
        return {fact.name: fact.value for fact in known}

    def _asked(
        self, proof: Proof, action: Action, resource: Resource, context: Attributes, known: list[Fact]
    ) -> Request:
        said = {SAID: context} if context else NOTHING
        facts = {fact.name: fact.value for fact in known}
        return Request(proof.principal, action, resource, {**said, **facts}, self._around(proof))

    def _around(self, proof: Proof) -> tuple[Principal, ...]:
        """Who else policy may ask about: whoever vouches for the principal."""
        if proof.vouched_by is None:
            return ()
        voucher = self._known(proof.vouched_by)
        return () if voucher is None else (voucher,)

    def _gather(
        self, proof: Proof, action: Action, resource: Resource, given: Iterable[Fact], at: datetime
    ) -> list[Fact]:
        facts = [*facts_of_proof(proof, at), *given]
        for source in self._sources:
            facts.extend(source.facts(proof, action, resource, at))
        return facts


def _outdated() -> UnavailableError:
    return UnavailableError("what this is decided by is being changed", todo="ask again")


def _is_dead(proof: Proof, is_live: Liveness, held: Container[Ref]) -> bool:
    if proof.credential is not None and not is_live(proof.credential):
        return True
    return proof.principal.ref in held or "disabled" in proof.claims


def _outside_scope(proof: Proof, action: Action) -> RefusedError | None:
    """A token that was narrowed to a scope does nothing outside it, whatever policy lets its principal do."""
    scope = proof.claims.get("scope")
    if scope is None or action.name in scope:
        return None
    return RefusedError(
        f"the token's scope, {' '.join(scope)}, does not include {action.name}",
        todo=f"ask for a token with the scope {action.name}",
    )


class _Pending(msgspec.Struct):
    """A decision that was made and is not recorded yet."""

    ledger: Ledger
    is_live: Liveness
    engine: str
    proof: Proof
    asked: Request
    verdict: Verdict
    facts: list[Fact]
    at: datetime
    detail: Attributes
    mode: Mode
    request: str | None
    held: Container[Ref] = ()

    @property
    def is_dead(self) -> bool:
        """Whether the credential was revoked, or its principal contained, since it was shown."""
        return _is_dead(self.proof, self.is_live, self.held)

    def require_alive(self, now: datetime) -> None:
        """Refuse what is proven no more: between a proof and its commit may lie a slow body or a long examination.

        Raises:
            RefusedError: the credential was revoked, or the proof has run out.
        """
        if self.is_dead:
            raise RefusedError(_REVOKED)
        if self.proof.expires is not None and self.proof.expires <= now:
            raise RefusedError("what proves the caller has expired meanwhile")

    def entry(self, refusal: str | None) -> Entry:
        decision: Decision = self.verdict.decision
        observed = self.mode == "observe" and not self.is_dead
        word = "allow" if refusal is None else "would_deny" if observed else "deny"
        principal = self.proof.principal.ref
        body = DecisionRecord(
            decision=word,
            principal=principal,
            action=self.asked.action.name,
            resource=self.asked.resource.ref,
            proof=record_of(self.proof),
            context=msgspec.Raw(self.verdict.context),
            entities=msgspec.Raw(self.verdict.entities),
            sources=tuple([(fact.name, fact.source) for fact in self.facts]),
            bundle=decision.bundle,
            engine=self.engine,
            reasons=decision.reasons,
            errors=decision.errors,
            refusal=refusal if decision.allowed else None,
            shadow=self.verdict.shadow,
            mode=self.mode,
            request=self.request,
            detail=self.detail,
        )
        about = principal if principal.type == PERSON else MAIN_SPACE
        return Entry(id=new_id("ent"), at=self.at, kind=ENTRY_KIND, about=about, body=msgspec.Raw(encode(body)))


class _Recorded(msgspec.Struct):
    """What came of a decision's commit; ``refusal`` is why it is a denial."""

    receipt: Receipt
    outcome: Any = None
    refusal: str | None = None


class _Decided:
    """The change that does what was allowed and records the decision, both or neither."""

    __slots__ = ("_generation", "_pending", "_refused", "_within")

    def __init__(
        self,
        pending: _Pending,
        within: Change[Any] | None,
        refused: RefusedError | None = None,
        generation: int | None = None,
    ) -> None:
        self._pending = pending
        self._within = within
        self._refused = refused
        self._generation = generation

    def __call__(self, tx: Transaction, /) -> _Recorded | None:
        """Do it; None, and nothing done, where another server has changed what it was decided by."""
        if self._generation is not None and self._generation != tx.generation:
            return None
        pending = self._pending
        outcome = None
        refusal = str(self._refused) if self._refused else None
        if refusal is None and not pending.verdict.decision.allowed:
            refusal = pending.verdict.reason
        if refusal is None:
            try:
                pending.require_alive(tx.now)
                outcome = None if self._within is None else self._within(tx)
            except RefusedError as error:
                refusal = str(error)
        receipt = pending.ledger.append(tx, pending.entry(refusal))
        return _Recorded(receipt, outcome, refusal)
