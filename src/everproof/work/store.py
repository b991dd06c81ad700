"""The tables of jobs, and the only statements over them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    Row,
    String,
    Table,
    UniqueConstraint,
    delete,
    func,
    insert,
    select,
    update,
)

from everproof.kernel.clock import from_milliseconds
from everproof.storage import metadata
from everproof.work.records import Job, State

MAX_KEY: Final = 255
MAX_ERROR: Final = 512
OPEN: Final = ("waiting", "running")

jobs: Final = Table(
    "work_jobs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("key", String(MAX_KEY), nullable=False),
    Column("verb", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("due", BigInteger, nullable=False),
    Column("planned", BigInteger, nullable=False),
    Column("every", BigInteger),
    Column("occurrence", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("recorded", Boolean, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("ended", BigInteger),
    Column("error", String(MAX_ERROR), nullable=False),
    Column("key_id", String(64), nullable=False),
    Column("payload", LargeBinary, nullable=False),
    UniqueConstraint("key", name="work_jobs_key"),
    Index("work_jobs_due", "state", "verb", "due"),
)
"""``due`` is when something is to be looked at next: a waiting job is run then, a running one's lease has ended.
``planned`` is when this occurrence of a schedule should have been, without spread or waits."""

counters: Final = Table(
    "work_counters",
    metadata,
    Column("name", String(16), primary_key=True),
    Column("value", BigInteger, nullable=False),
)
"""``fence``: the highest lease number given out; its row is there from the migration on."""

FENCE: Final = "fence"


def insert_job(connection: Connection, **values: Any) -> None:
    """Put a job on record."""
    connection.execute(insert(jobs).values(**values))


def find_job(connection: Connection, id_: str) -> Row[Any] | None:
    """One job, by its id."""
    return connection.execute(select(jobs).where(jobs.c.id == id_)).first()


def find_key(connection: Connection, key: str) -> Row[Any] | None:
    """One job, by its idempotency key."""
    return connection.execute(select(jobs).where(jobs.c.key == key)).first()


def earliest(connection: Connection, verbs: Iterable[str], *, but: Sequence[str]) -> Mapping[str, int]:
    """When the first job of each verb is due that is open and not one of ``but``, in milliseconds."""
    found = (
        select(jobs.c.verb, func.min(jobs.c.due).label("due"))
        .where(jobs.c.state.in_(OPEN), jobs.c.verb.in_(list(verbs)), jobs.c.id.not_in(but))
        .group_by(jobs.c.verb)
    )
    return {row.verb: row.due for row in connection.execute(found)}


def due_jobs(connection: Connection, verb: str, now: int, *, but: Sequence[str], limit: int) -> list[Row[Any]]:
    """Jobs of a verb that are to be run now, the longest overdue first."""
    found = select(jobs).where(jobs.c.state.in_(OPEN), jobs.c.verb == verb, jobs.c.due <= now, jobs.c.id.not_in(but))
    return list(connection.execute(found.order_by(jobs.c.due, jobs.c.id).limit(limit)))


def change_job(connection: Connection, id_: str, **values: Any) -> None:
    """Change a job."""
    connection.execute(update(jobs).where(jobs.c.id == id_).values(**values))


def take_fences(connection: Connection, count: int) -> int:
    """The first of ``count`` lease numbers that nobody has had; each higher than all before."""
    taken = update(counters).where(counters.c.name == FENCE).values(value=counters.c.value + count)
    connection.execute(taken)
    last: int = connection.execute(select(counters.c.value).where(counters.c.name == FENCE)).scalar_one()
    return last - count + 1


def free_leases(connection: Connection, now: int) -> None:
    """Let what ran under a runner that is gone be run again at once."""
    connection.execute(update(jobs).where(jobs.c.state == "running").values(due=now))


def list_jobs(
    connection: Connection, *, states: Sequence[State], verb: str | None, after: str, limit: int
) -> list[Row[Any]]:
    """Jobs in the order in which they were made, after the one called ``after``; all states where none is named."""
    found = select(jobs).where(jobs.c.id > after)
    if states:
        found = found.where(jobs.c.state.in_(states))
    if verb is not None:
        found = found.where(jobs.c.verb == verb)
    return list(connection.execute(found.order_by(jobs.c.id).limit(limit)))


def count_jobs(connection: Connection, state: State) -> int:
    """How many jobs are in a state."""
    return connection.scalar(select(func.count()).select_from(jobs).where(jobs.c.state == state)) or 0


def forget_jobs(connection: Connection, before: int) -> int:
    """Remove what ended well, or was cancelled, before ``before``; how many."""
    old = delete(jobs).where(jobs.c.state.in_(("done", "cancelled")), jobs.c.ended < before)
    return connection.execute(old).rowcount


def job_of(row: Row[Any]) -> Job:
    """A job as it stands in its row."""
    return Job(
        id=row.id,
        key=row.key,
        verb=row.verb,
        state=row.state,
        due=from_milliseconds(row.due),
        every_seconds=None if row.every is None else row.every / 1000,
        occurrence=row.occurrence,
        attempt=row.attempt,
        fence=row.fence,
        created=from_milliseconds(row.created),
        ended=None if row.ended is None else from_milliseconds(row.ended),
        error=row.error,
    )
