"""Time is a value: rooms are given a clock, and a clock that has gone back does not bring dead things to life."""

from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from everproof.kernel.errors import Error

MAX_SKEW: Final = timedelta(seconds=30)
"""How far two honest clocks may differ. Also how far ours may fall back before nothing is issued any more."""


class Clock(Protocol):
    """Tells the time, aware and in UTC."""

    def now(self) -> datetime:
        """The time."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The machine's time."""
        return datetime.now(UTC)


class ClockBehindError(Error):
    """The machine's clock is further behind the highest time on record than two honest clocks can be."""

    code = "clock-behind"


class HighWaterClock:
    """The later of a clock and the highest time seen, so that expiry never runs backwards.

    The storage seeds ``highest`` at the start and keeps what ``now`` has reached.
    """

    def __init__(self, clock: Clock, *, highest: datetime | None = None) -> None:
        self._clock = clock
        self.highest = highest or datetime.min.replace(tzinfo=UTC)

    def now(self) -> datetime:
        """The later of the clock and the highest time seen: what expiry is judged by."""
        now = self._clock.now()
        if now < self.highest:
            return self.highest
        self.highest = now
        return now

    def issuing_time(self) -> datetime:
        """The time to write into something that is about to be issued.

        Raises:
            ClockBehindError: the clock is more than ``MAX_SKEW`` behind the highest time seen.
        """
        now = self._clock.now()
        behind = self.highest - now
        if behind > MAX_SKEW:
            raise ClockBehindError(
                f"the clock says {now:%Y-%m-%d %H:%M:%S} UTC, but {self.highest:%Y-%m-%d %H:%M:%S} UTC is on record",
                todo="set the machine's clock right; until then nothing is issued",
            )
        return max(now, self.highest)


def milliseconds(moment: datetime) -> int:
    """Whole milliseconds since the Unix epoch."""
    return round(moment.timestamp() * 1000)


def from_milliseconds(value: int) -> datetime:
    """The moment ``value`` milliseconds after the Unix epoch."""
    return datetime.fromtimestamp(value / 1000, UTC)
