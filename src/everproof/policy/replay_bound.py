"""How much of what was allowed a new bundle may deny.

A number of decisions is what it says. A share holds for each type of principal and each action by itself: of a million
calls of a gateway, the one person who is locked out would not even be a thousandth.
"""

import re
from typing import Final

import msgspec

from everproof.kernel.errors import InputError
from everproof.policy.replay_findings import Findings

_FORM: Final = re.compile(r"([0-9]{1,12})|([0-9]{1,3}(?:\.[0-9]{1,4})?) ?%")
_WHOLE: Final = 100.0


class Bound(msgspec.Struct, frozen=True):
    """At most ``decisions``, or at most ``percent`` of each kind."""

    decisions: int | None = None
    percent: float | None = None

    def __str__(self) -> str:
        return str(self.decisions) if self.percent is None else f"{self.percent:g}%"

    def exceeded(self, found: Findings) -> str:
        """One sentence about what is too much; empty where nothing is."""
        if self.percent is None:
            most = self.decisions or 0
            if found.denied <= most:
                return ""
            count = f"{found.denied} decision{'' if found.denied == 1 else 's'}"
            return f"it would have denied {count} of those that were allowed, and at most {most} may be"
        over = [one for one in found.shares if one.denied * _WHOLE > self.percent * one.allowed]
        if not over:
            return ""
        worst = max(over, key=lambda one: (one.denied / one.allowed, one.denied))
        return (
            f"it would have denied {worst.denied} of the {worst.allowed} decisions that allowed a {worst.type}"
            f" {worst.action}, and at most {self} may be"
        )

    def within(self, other: "Bound") -> bool:
        """Whether it lets nothing pass that ``other`` would not; in doubt it does."""
        if self.percent is not None and other.percent is not None:
            return self.percent <= other.percent
        if self.decisions is not None and other.decisions is not None:
            return self.decisions <= other.decisions
        return self.decisions == 0 or self.percent == 0


def bound_of(text: int | str, *, place: str) -> Bound:
    """The bound that is written as ``12`` or ``0.5%``.

    Raises:
        InputError: it is neither.
    """
    match = _FORM.fullmatch(str(text))
    if match is None or (match[2] and float(match[2]) > _WHOLE):
        raise InputError(
            f"{str(text)[:40]!r} is no bound", place=place, todo='write a number of decisions, or a share as "0.5%"'
        )
    return Bound(decisions=int(match[1])) if match[1] else Bound(percent=float(match[2]))
