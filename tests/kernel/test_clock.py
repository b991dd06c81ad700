from datetime import timedelta

import pytest

from everproof.kernel.clock import MAX_SKEW, ClockBehindError, HighWaterClock, from_milliseconds, milliseconds
from tests.conftest import SettableClock


def test_what_has_expired_stays_expired_when_the_clock_goes_back(clock: SettableClock) -> None:
    high = HighWaterClock(clock)
    reached = high.now()
    clock.advance(timedelta(hours=-2))
    assert high.now() == reached


def test_nothing_is_issued_with_the_clock_behind_by_more_than_the_skew(clock: SettableClock) -> None:
    high = HighWaterClock(clock)
    reached = high.now()
    clock.advance(-MAX_SKEW)
    assert high.issuing_time() == reached
    clock.advance(timedelta(milliseconds=-1))
    with pytest.raises(ClockBehindError, match="is on record") as caught:
        high.issuing_time()
    assert caught.value.todo


def test_milliseconds_come_back_as_the_same_moment(clock: SettableClock) -> None:
    assert from_milliseconds(milliseconds(clock.now())) == clock.now()
