"""What the status of another system's answer means for a job: it is done, later, not before a time, or never."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from everproof.identity.outbound import Answer
from everproof.kernel.errors import Error, UnavailableError
from everproof.work import HopelessError, PostponedError

MAX_WAIT: Final = timedelta(hours=1)
"""Whoever asks for more is asked again after this."""
_LATER: Final = frozenset({408, 425, 429, 503})
_REFUSALS: Final = range(400, 500)


class AnsweredError(UnavailableError):
    """Another system answered with an error of its own."""

    code = "answered-error"


def refusal(answer: Answer, what: str, *, place: str, now: datetime) -> Error:
    """The error that an answer stands for which is not the one hoped for; ``what`` names the other system."""
    said = f"{what} answered {answer.status}"
    if answer.status in _LATER:
        after = retry_after(answer, now)
        return AnsweredError(said, place=place) if after is None else PostponedError(said, after=after, place=place)
    if answer.status in _REFUSALS:
        return HopelessError(said, place=place)
    return AnsweredError(said, place=place)


def retry_after(answer: Answer, now: datetime) -> timedelta | None:
    """How long the answer asks to be left alone, ``Retry-After`` in either form (RFC 9110, section 10.2.3)."""
    value = answer.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(timedelta(seconds=int(value[:9])), MAX_WAIT)
    try:
        at = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return max(timedelta(), min(at - now, MAX_WAIT))
