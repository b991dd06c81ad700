"""What stands on record of a job, and what its runner is given."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

import msgspec

from everproof.kernel.errors import ConflictError, Error
from everproof.storage import Change, Transaction

State: TypeAlias = Literal["waiting", "running", "done", "stuck", "cancelled"]
"""``stuck``: it was tried as often as its verb allows, and a person has to look."""

ATTEMPTS: Final = 16
"""With the waits below, some forty minutes of trying on average: longer than most outages, shorter than a shift."""
FIRST_WAIT: Final = timedelta(seconds=1)
LONGEST_WAIT: Final = timedelta(minutes=10)
PARALLEL: Final = 4
"""Jobs of one verb at a time: a target that hangs holds these, and none of another verb's."""
LIMIT: Final = timedelta(seconds=60)
"""One attempt; whoever takes longer is taken for hung."""


class HopelessError(Error):
    """A runner's word that trying again cannot help: the job is stuck at once."""

    code = "hopeless"
    status = 502


class PostponedError(Error):
    """A runner's word that its target wants to be asked again, but not before ``after``."""

    code = "postponed"
    status = 503

    def __init__(self, message: str, *, after: timedelta, place: str | None = None) -> None:
        super().__init__(message, place=place)
        self.after = after


class StaleError(ConflictError):
    """Someone else has the job since, so what this runner has to say of it no longer counts."""

    code = "stale"


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it stands, without its payload. ``due`` of a running one is when its lease ends.

    ``occurrence`` counts the times of a schedule, which begins anew at each. ``error`` is why the last attempt failed.
    """

    id: str
    key: str
    verb: str
    state: State
    due: datetime
    every_seconds: float | None
    occurrence: int
    attempt: int
    fence: int
    created: datetime
    ended: datetime | None
    error: str


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt at a job, as its runner is given it.

    ``key`` is the same at each attempt: hand it to whatever outside knows idempotency keys. ``fence`` grows at each
    attempt, across all jobs: hand it to whatever refuses a lower one than it has seen.
    """

    job: str
    verb: str
    key: str
    payload: Any
    fence: int
    attempt: int


Run: TypeAlias = Callable[[Task], Awaitable[Change[None] | None]]
"""Does a job. The change that it may return is done in the commit that records the job as done, and only if the job is
still this runner's. It may be called again after it has succeeded, so what it does must bear that."""

Stuck: TypeAlias = Callable[[Transaction, Job, Any], None]
"""Told, in the commit, of a job that is stuck, with its payload (None where that cannot be read any more)."""


class Verb(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of job, how it is run, and how patiently."""

    name: str
    run: Run
    parallel: int = PARALLEL
    attempts: int = ATTEMPTS
    first_wait: timedelta = FIRST_WAIT
    longest_wait: timedelta = LONGEST_WAIT
    limit: timedelta = LIMIT
    stuck: Stuck | None = None


class Errand(msgspec.Struct, frozen=True, kw_only=True):
    """A job that is not on record yet: what one room may ask of another that it does not know. ``told``: in words."""

    verb: str
    payload: Any
    key: str
    told: str = ""
