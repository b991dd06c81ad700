"""From a denial to its reasons: which policies came near, and which of their conditions failed with which value."""

from typing import Final

import msgspec

from everproof.kernel.words import Ref
from everproof.policy.balance import Est
from everproof.policy.bundle import Policy
from everproof.policy.explanation import Audience, Condition, Explanation, Observed, PolicyWhy, State
from everproof.policy.expressions import entities_in, paths, written
from everproof.policy.parts import Cause, Clause, Evaluated, Parts, causes
from everproof.policy.phrases import sentence
from everproof.policy.request import Request
from everproof.policy.sight import Sight

MAX_NEAR: Final = 3
"""Permits shown that came near; more help nobody."""
MAX_NEAR_AUDITOR: Final = 20

SCOPE_WEIGHT: Final = 2
"""A policy about others is less near than one about this principal that fails for one reason."""

_OPEN_TYPES: Final = frozenset({"Group", "Space", "Action"})
"""Entities that a caller may read the names of; another person's name is not for it."""


class _Weighed(msgspec.Struct, frozen=True):
    distance: int
    order: int
    scoped: bool
    why: PolicyWhy


class _Told(msgspec.Struct, frozen=True):
    clause: Clause
    cause: Cause
    state: State
    wanted: bool


def _is_presence(cause: Cause) -> bool:
    """That what is asked about is there at all is no news beside what it is."""
    return "has" in cause.leaf.est and cause.outcome is True


def _telling(found: list[Cause]) -> list[Cause]:
    return [cause for cause in found if not _is_presence(cause)] or found


class Explainer:
    """Explains one request, given what each part of the policies came to."""

    def __init__(self, request: Request, parts: Parts, values: Evaluated, audience: Audience) -> None:
        self._parts = parts
        self._values = values
        self._audience = audience
        self._sight = Sight(request)
        self._own = {request.principal.ref}

    def near(self) -> list[PolicyWhy]:
        """The permits that do not apply, the nearest first; none where one applies, since then none is missing."""
        found: list[_Weighed] = []
        for order, policy in enumerate(self._parts.policies):
            if policy.effect != "permit":
                continue
            clauses = self._parts.clauses[policy.id]
            failing = [clause for clause in clauses if self._values[clause.part] is not True]
            if not failing:
                return []
            scoped = [clause for clause in failing if clause.in_scope]
            if self._is_about_others(scoped):
                continue
            distance = len(failing) + len(scoped) * (SCOPE_WEIGHT - 1)
            found.append(_Weighed(distance, order, bool(scoped), self._why(policy, self._failing(clauses))))
        found.sort(key=lambda one: (one.distance, one.order))
        if self._audience == "caller" and not all(one.scoped for one in found):
            # Beside a policy that is about this principal, those for other groups are no help.
            found = [one for one in found if not one.scoped]
        return [one.why for one in found]

    def fired(self, policy: Policy) -> PolicyWhy:
        """A forbid that applies, with what made it apply."""
        found = []
        for clause in self._parts.clauses[policy.id]:
            found += [
                _Told(clause, cause, "fired", wanted=not cause.outcome)
                for cause in _telling(causes(clause.part, self._values))
            ]
        telling = [one for one in found if not one.clause.in_scope and not _is_presence(one.cause)]
        return self._why(policy, telling or found)

    def plain(self, policy: Policy) -> PolicyWhy:
        """A policy without conditions: a permit that applies."""
        return self._why(policy, [])

    def _failing(self, clauses: tuple[Clause, ...]) -> list["_Told"]:
        found: list[_Told] = []
        for at, clause in enumerate(clauses):
            value = self._values[clause.part]
            if value is True:
                continue
            if found:
                state: State = "not reached" if value is None else "also"
            else:
                state = "error" if value is None else "failed"
            after = clauses[at + 1].part.est if at + 1 < len(clauses) else None
            reached = _telling(causes(clause.part, self._values, after))
            found += [_Told(clause, cause, state, wanted=not cause.outcome) for cause in reached]
        return found

    def _is_about_others(self, scoped: list[Clause]) -> bool:
        """Whether a policy is for somebody else, whom a caller need not hear of."""
        return self._audience == "caller" and any(
            clause.where == "principal" and not self._is_open(clause.part.est) for clause in scoped
        )

    def _why(self, policy: Policy, conditions: list["_Told"]) -> PolicyWhy:
        seen: dict[tuple[str, bool], Condition] = {}
        hidden: set[str] = set()
        for told in conditions:
            if self._audience == "caller" and not self._is_open(told.cause.leaf.est):
                hidden.add(told.clause.part.id)
                continue
            condition = self._condition(told)
            seen.setdefault((condition.test, condition.wanted), condition)
        auditor = self._audience == "auditor"
        return PolicyWhy(
            id=policy.id,
            title=policy.title,
            effect=policy.effect,
            advice=policy.advice,
            conditions=tuple(seen.values()),
            hidden=len(hidden),
            place=policy.place if auditor else "",
            text=policy.text if auditor else "",
        )

    def _condition(self, told: "_Told") -> Condition:
        leaf = told.cause.leaf
        test = written(leaf.est)
        if told.state == "error":
            words = f"{test} cannot be evaluated: {self._values.errors.get(leaf.id, 'an error')}"
        elif told.state == "not reached":
            words = test
        else:
            words = sentence(leaf.est, self._sight, wanted=told.wanted, limit=told.cause.then)
        looked = [self._sight.see(path) for path in dict.fromkeys(paths(leaf.est)) if path.attributes]
        return Condition(
            state=told.state,
            sentence=words,
            test=test,
            wanted=told.wanted,
            where=told.clause.where,
            alternative=told.cause.alternative,
            values=tuple(
                Observed(path=str(seen.path), absent=True)
                if seen.absent
                else Observed(path=str(seen.path), value=seen.value)
                for seen in looked
            ),
        )

    def _is_open(self, est: Est) -> bool:
        """Whether a caller may see this condition: over its own attributes and its request, and nobody else's."""
        looked = [self._sight.see(path) for path in paths(est)]
        if any(seen.foreign or seen.path.root == "resource" for seen in looked):
            return False
        return all(type_ in _OPEN_TYPES or Ref(type_, id_) in self._own for type_, id_ in entities_in(est))


def summary(*, allowed: bool, forbids: int, errors: int) -> str:
    """One line."""
    if allowed:
        return "allowed"
    if forbids:
        return "denied: a policy forbids it" if forbids == 1 else f"denied: {forbids} policies forbid it"
    return "denied: it cannot be decided" if errors else "denied: no policy permits it"


def explanation(
    request: Request, explainer: Explainer | None, audience: Audience, *, allowed: bool, reasons: tuple[Policy, ...],
    errors: tuple[str, ...],
) -> Explanation:  # fmt: skip
    """The explanation; without an ``explainer`` where the request could not be evaluated at all."""
    forbids = tuple(policy for policy in reasons if policy.effect == "forbid")
    near = explainer.near() if explainer is not None and not allowed else []
    most = MAX_NEAR if audience == "caller" else MAX_NEAR_AUDITOR
    return Explanation(
        allowed=allowed,
        principal=request.principal.ref,
        action=request.action.name,
        resource=request.resource.ref,
        summary=summary(allowed=allowed, forbids=len(forbids), errors=len(errors)),
        audience=audience,
        permitted_by=tuple(explainer.plain(one) for one in reasons if allowed) if explainer is not None else (),
        forbidden_by=tuple(map(explainer.fired, forbids)) if explainer is not None else (),
        near=tuple(near[:most]),
        farther=max(0, len(near) - most),
        errors=errors,
    )
