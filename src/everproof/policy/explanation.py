"""Why a decision is as it is, as data and as text."""

from typing import Any, Literal, TypeAlias

import msgspec

from everproof.kernel.words import Ref

Audience: TypeAlias = Literal["caller", "auditor"]

State: TypeAlias = Literal["failed", "also", "not reached", "error", "fired"]
"""``failed``: the first condition that does not hold, which decided; ``also``: a later one that would not hold either;
``not reached``: one that can only be asked once an earlier one holds; ``fired``: one that made a forbid apply."""


class Observed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The actual value of what a condition looks at; without ``value`` where it is absent."""

    path: str
    value: Any = None
    absent: bool = False


class Condition(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One condition. ``test`` is Cedar, ``wanted`` what it would have to be, ``sentence`` says both in words."""

    state: State
    sentence: str
    test: str
    wanted: bool
    where: Literal["principal", "resource", "when", "unless"]
    alternative: bool = False
    """One of several of which one would be enough, and not the first of them."""
    values: tuple[Observed, ...] = ()


class PolicyWhy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one policy had to do with it. ``hidden`` counts the conditions that this audience is not shown."""

    id: str
    title: str
    effect: Literal["permit", "forbid"]
    advice: str = ""
    conditions: tuple[Condition, ...] = ()
    hidden: int = 0
    place: str = ""
    text: str = ""


class Explanation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why: the forbids that fired, the permits that came near, and every error, since an error denies."""

    allowed: bool
    principal: Ref
    action: str
    resource: Ref
    summary: str
    audience: Audience
    permitted_by: tuple[PolicyWhy, ...] = ()
    forbidden_by: tuple[PolicyWhy, ...] = ()
    near: tuple[PolicyWhy, ...] = ()
    farther: int = 0
    """Permits that came less near than those in ``near``."""
    errors: tuple[str, ...] = ()

    @property
    def advice(self) -> tuple[str, ...]:
        """What may be done now, the surest first."""
        found = [why.advice for why in (*self.forbidden_by, *self.near) if why.advice]
        return tuple(dict.fromkeys(found))

    def text(self) -> str:
        """The explanation for a terminal, without colours."""
        lines = [self.summary]
        for why in self.permitted_by:
            lines += ["", *_policy("allowed by", why)]
        for why in self.forbidden_by:
            lines += ["", *_policy("forbidden by", why)]
        for why in self.near:
            lines += ["", *_policy("nearly permitted by", why)]
        for error in self.errors:
            lines += ["", f"error: {error}", "  any error denies, for nobody knows what the policy would have said"]
        return "\n".join(lines)


_MARKS = {"failed": "✗", "also": "✗", "not reached": "·", "error": "!", "fired": "✗"}


def _policy(how: str, why: PolicyWhy) -> list[str]:
    title = f": {why.title}" if why.title != why.id else ""
    lines = [f"{how} {why.id}{title}"]
    absent: set[str] = set()
    for condition in why.conditions:
        looked = {value.path for value in condition.values}
        if condition.state == "not reached":
            if not looked & absent:  # else the line about what is absent has said what is wanted
                lines.append(
                    f"  {_MARKS[condition.state]} not asked, since an earlier one failed: {condition.sentence}"
                )
            continue
        absent |= {value.path for value in condition.values if value.absent}
        mark = "  or" if condition.alternative else _MARKS[condition.state]
        lines.append(f"  {mark} {condition.sentence}")
    if why.hidden:
        few = "one condition" if why.hidden == 1 else f"{why.hidden} conditions"
        lines.append(f"  · {few} about what is asked for, which auditors see")
    if why.advice:
        lines.append(f"  → {why.advice}")
    if why.place:
        lines.append(f"  {why.place}")
    return lines
