"""Policies taken apart, so that the engine itself says which part of one decided.

Every part that is true or false becomes a permit of its own without a scope; one call evaluates all of them. A part is
true if it is among the reasons, in error if it is among the errors, and else false.
"""

import re
from typing import Final, Literal, TypeAlias

import msgspec

from everproof.policy.balance import Est, conjuncts, policy_set
from everproof.policy.bundle import Policy

Outcome: TypeAlias = bool | None
"""What a part came to; None is an error."""

Shape: TypeAlias = Literal["leaf", "all", "any", "not", "if"]

_NODE_ERROR: Final = re.compile(r"error while evaluating policy `(n[0-9]+)`: (.*)", re.DOTALL)
_PERMIT: Final[Est] = {
    "effect": "permit",
    "principal": {"op": "All"},
    "action": {"op": "All"},
    "resource": {"op": "All"},
}


class Part(msgspec.Struct, frozen=True):
    """One part of a condition. The parts of an ``if`` are its test and its two branches."""

    id: str
    shape: Shape
    est: Est
    parts: tuple["Part", ...] = ()


class Clause(msgspec.Struct, frozen=True):
    """One thing that must be true for the policy to apply, and where in the policy it stands."""

    part: Part
    where: Literal["principal", "resource", "when", "unless"]

    @property
    def in_scope(self) -> bool:
        """Whether it is of the policy's scope."""
        return self.where in {"principal", "resource"}


class Evaluated(msgspec.Struct, frozen=True):
    """What every part came to for one request."""

    true: frozenset[str]
    errors: dict[str, str]

    def __getitem__(self, part: Part) -> Outcome:
        return None if part.id in self.errors else part.id in self.true


class Parts:
    """Policies, taken apart."""

    def __init__(self, policies: tuple[Policy, ...]) -> None:
        self._nodes: list[Est] = []
        self.clauses: dict[str, tuple[Clause, ...]] = {}
        self.policies = policies
        for policy in self.policies:
            self.clauses[policy.id] = tuple(self._clauses(policy.est))
        self.handle = policy_set(
            (f"n{at}", {**_PERMIT, "conditions": [{"kind": "when", "body": node}]})
            for at, node in enumerate(self._nodes)
        )

    def _clauses(self, est: Est) -> list[Clause]:
        found = []
        if (scope := scope_test("principal", est["principal"])) is not None:
            found.append(Clause(self._part(scope), "principal"))
        if (scope := scope_test("resource", est["resource"])) is not None:
            found.append(Clause(self._part(scope), "resource"))
        for condition in est["conditions"]:
            body = condition["body"]
            if condition["kind"] == "when":
                found += [Clause(self._part(one), "when") for one in conjuncts(body)]
            else:
                found += [Clause(self._part({"!": {"arg": one}}), "unless") for one in conjuncts(body, "||")]
        return found

    def _part(self, est: Est) -> Part:
        if "&&" in est:
            return self._made("all", est, [self._part(one) for one in conjuncts(est)])
        if "||" in est:
            return self._made("any", est, [self._part(one) for one in conjuncts(est, "||")])
        if "!" in est:
            return self._made("not", est, [self._part(est["!"]["arg"])])
        if "if-then-else" in est:
            branches = est["if-then-else"]
            return self._made("if", est, [self._part(branches[name]) for name in ("if", "then", "else")])
        return self._made("leaf", est, [])

    def _made(self, shape: Shape, est: Est, parts: list[Part]) -> Part:
        self._nodes.append(est)
        return Part(f"n{len(self._nodes) - 1}", shape, est, tuple(parts))


def scope_test(variable: str, scope: Est) -> Est | None:
    """The scope's condition on an entity as an expression; None where it asks for no more than a type."""
    inner = scope.get("in", scope)
    if "entity" not in inner:
        return None
    operator = "in" if "in" in scope else scope["op"]
    right = {"Value": {"__entity": inner["entity"].get("__entity", inner["entity"])}}
    return {operator: {"left": {"Var": variable}, "right": right}}


def evaluated(reasons: list[str], errors: list[str]) -> Evaluated:
    """What the parts came to, from the engine's answer."""
    failed: dict[str, str] = {}
    for text in errors:
        match = _NODE_ERROR.fullmatch(text)
        if match is not None:
            failed[match[1]] = match[2]
    return Evaluated(frozenset(reasons), failed)


def outcome(clauses: tuple[Clause, ...], values: Evaluated) -> Outcome:
    """What the engine makes of a whole policy: the first clause that does not hold decides."""
    for clause in clauses:
        found = values[clause.part]
        if found is not True:
            return found
    return True


class Cause(msgspec.Struct, frozen=True):
    """A leaf that made a part what it is. ``then`` is what would have been asked next, had it held.

    ``alternative``: it is one of several of which one would have been enough, and not the first of them.
    """

    leaf: Part
    outcome: Outcome
    then: Est | None = None
    alternative: bool = False


def causes(part: Part, values: Evaluated, then: Est | None = None) -> list[Cause]:
    """The leaves that made ``part`` what it is, in the order in which they were reached."""
    found = values[part]
    if part.shape == "leaf":
        return [Cause(part, found, then)]
    if part.shape == "not":
        return causes(part.parts[0], values)
    if part.shape == "if":
        test, yes, no = part.parts
        if values[test] is None:
            return causes(test, values)
        taken = yes if values[test] else no
        constant = taken.shape == "leaf" and "Value" in taken.est
        return causes(test, values, yes.est) if constant else [*causes(test, values), *causes(taken, values, then)]
    if found is None or (part.shape == "any") is found:
        # One part settled it: the first that is not as a chain that goes on would have it.
        going_on = part.shape == "all"
        for at, inner in enumerate(part.parts):
            if values[inner] is not going_on:
                after = part.parts[at + 1].est if going_on and at + 1 < len(part.parts) else then
                return causes(inner, values, after)
    made: list[Cause] = []
    for at, inner in enumerate(part.parts):
        few = causes(inner, values)
        if part.shape == "any" and at > 0:
            few = [msgspec.structs.replace(one, alternative=True) for one in few]
        made += few
    return made
