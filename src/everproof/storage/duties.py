"""What one of several processes does for all of them, and what they need not remember any more."""

from datetime import timedelta
from typing import Final

from sqlalchemy import delete, func, insert, select, update

from everproof.kernel.clock import milliseconds
from everproof.storage.tables import feed, marks
from everproof.storage.writer import Transaction

FEED_KEPT: Final = 100_000
"""Rows of the feed. A process that was away for longer has to start anew."""

FORGOTTEN_AT_ONCE: Final = 5_000


def take_duty(tx: Transaction, name: str, every: timedelta) -> bool:
    """Whether this process is to do what is done ``every`` so often, by one of them: the first to ask when it is due.

    Where nobody else writes to the database, it always is.
    """
    if tx.generation is None:
        return True
    now = milliseconds(tx.now)
    mine = marks.c.name == f"duty:{name}"
    done = tx.connection.scalar(select(marks.c.value).where(mine))
    if done is None:
        tx.connection.execute(insert(marks).values(name=f"duty:{name}", value=now))
        return True
    if now - done < every.total_seconds() * 1000:
        return False
    tx.connection.execute(update(marks).where(mine).values(value=now))
    return True


def forget_feed(tx: Transaction, kept: int = FEED_KEPT) -> bool:
    """Remove some rows of the feed that everyone has long heard; whether there are more."""
    first, last = tx.connection.execute(select(func.min(feed.c.seq), func.max(feed.c.seq))).one()
    if first is None or last - first < kept:
        return False
    upto = min(last - kept, first + FORGOTTEN_AT_ONCE)
    tx.connection.execute(delete(feed).where(feed.c.seq <= upto))
    return bool(upto < last - kept)
