"""When to try again, and when a schedule's next time is."""

from datetime import timedelta
from secrets import SystemRandom
from typing import Final, Protocol

MAX_SPREAD: Final = timedelta(minutes=1)
"""Schedules of one period are spread over a tenth of it, and never over more than this."""


class Chance(Protocol):
    """Where chance comes from."""

    def uniform(self, a: float, b: float, /) -> float:
        """A number between ``a`` and ``b``."""
        ...


CHANCE: Final[Chance] = SystemRandom()


def wait_before(attempt: int, *, first: timedelta, longest: timedelta, chance: Chance) -> timedelta:
    """How long to wait after ``attempt`` attempts have failed: anything up to a bound that doubles each time.

    All of it by chance ("full jitter"), so that those who failed together do not come back together.
    """
    bound = longest if attempt > 30 else min(longest, first * 2 ** (attempt - 1))  # noqa: PLR2004 - 2**30 is past any
    return bound * chance.uniform(0, 1)


def next_time(planned: int, every: int, now: int) -> int:
    """The first time after ``now`` on the grid of ``planned`` and ``every``, all in milliseconds.

    Times that were missed meanwhile are not made up for: one run stands for all of them.
    """
    return planned + every * max(1, (now - planned) // every + 1)


def spread(every: int, chance: Chance) -> int:
    """How much later than its time, in milliseconds, a schedule is run, so that not all run at once."""
    return round(min(every / 10, MAX_SPREAD.total_seconds() * 1000) * chance.uniform(0, 1))
