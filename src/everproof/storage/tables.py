"""The storage room's own tables."""

from typing import Final

from sqlalchemy import BigInteger, Column, LargeBinary, String, Table

from everproof.storage.database import metadata

marks: Final = Table(
    "storage_marks",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", BigInteger, nullable=False),
)
"""Numbers that only grow: ``highest_time`` in milliseconds."""

feed: Final = Table(
    "feed",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("topic", String(64), nullable=False),
    Column("key", String(512), nullable=False),
    Column("body", LargeBinary, nullable=False),
)
"""What changed, in order; rooms keep their memory by it."""
