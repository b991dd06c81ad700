"""The tables of effects and of who approved them, and the only statements over them."""

from collections.abc import Sequence
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
    insert,
    select,
    update,
)

from everproof.kernel.clock import from_milliseconds
from everproof.kernel.words import Ref
from everproof.storage import metadata
from everproof.work.deeds import EffectRecord, Stage

MAX_WORDS: Final = 1024

effects: Final = Table(
    "work_effects",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("key", String(255), nullable=False),
    Column("verb", String(64), nullable=False),
    Column("subject_type", String(64), nullable=False),
    Column("subject", String(512), nullable=False),
    Column("state", String(16), nullable=False),
    Column("job", String(64)),
    Column("undo_asked", Boolean, nullable=False),
    Column("touches", BigInteger, nullable=False),
    Column("does", String(MAX_WORDS), nullable=False),
    Column("undoes", String(MAX_WORDS), nullable=False),
    Column("needs", Integer, nullable=False),
    Column("by_type", String(64), nullable=False),
    Column("by", String(512), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Column("error", String(512), nullable=False),
    Column("key_id", String(64), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    UniqueConstraint("key", name="work_effects_key"),
    Index("work_effects_state", "state", "id"),
)

approvals: Final = Table(
    "work_approvals",
    metadata,
    Column("effect", String(64), primary_key=True),
    Column("type", String(64), primary_key=True),
    Column("id", String(512), primary_key=True),
    Column("at", BigInteger, nullable=False),
)


def insert_effect(connection: Connection, **values: Any) -> None:
    """Put an effect on record."""
    connection.execute(insert(effects).values(**values))


def find_effect(connection: Connection, id_: str) -> Row[Any] | None:
    """One effect, by its id."""
    return connection.execute(select(effects).where(effects.c.id == id_)).first()


def find_key(connection: Connection, key: str) -> Row[Any] | None:
    """One effect, by its idempotency key."""
    return connection.execute(select(effects).where(effects.c.key == key)).first()


def change_effect(connection: Connection, id_: str, **values: Any) -> None:
    """Change an effect."""
    connection.execute(update(effects).where(effects.c.id == id_).values(**values))


def add_approval(connection: Connection, id_: str, by: Ref, at: int) -> None:
    """Note that someone approved."""
    connection.execute(insert(approvals).values(effect=id_, type=by.type, id=by.id, at=at))


def approvers(connection: Connection, id_: str) -> tuple[Ref, ...]:
    """Who approved, the first first."""
    found = select(approvals.c.type, approvals.c.id).where(approvals.c.effect == id_)
    return tuple(Ref(row.type, row.id) for row in connection.execute(found.order_by(approvals.c.at, approvals.c.id)))


def list_effects(connection: Connection, *, stages: Sequence[Stage], after: str, limit: int) -> list[Row[Any]]:
    """Effects in the order in which they were proposed, after the one called ``after``; of any stage where none."""
    found = select(effects).where(effects.c.id > after)
    if stages:
        found = found.where(effects.c.state.in_(stages))
    return list(connection.execute(found.order_by(effects.c.id).limit(limit)))


def effect_of(connection: Connection, row: Row[Any]) -> EffectRecord:
    """An effect as it stands in its row, with who approved it."""
    return EffectRecord(
        id=row.id,
        key=row.key,
        verb=row.verb,
        subject=Ref(row.subject_type, row.subject),
        stage=row.state,
        job=row.job,
        does=row.does,
        touches=row.touches,
        undoes=row.undoes,
        needs=row.needs,
        approved_by=approvers(connection, row.id),
        by=Ref(row.by_type, row.by),
        created=from_milliseconds(row.created),
        changed=from_milliseconds(row.changed),
        error=row.error,
    )
