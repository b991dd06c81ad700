"""The tables of factors, and the only statements over them."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
    and_,
    delete,
    func,
    insert,
    select,
    update,
)

from everproof.identity.factors.records import WEBAUTHN, Attempts, Factor, Kind, State
from everproof.kernel.canonical import encode
from everproof.kernel.clock import from_milliseconds, milliseconds
from everproof.kernel.words import Ref
from everproof.storage import Transaction, metadata

factors: Final = Table(
    "factors",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("type", String(16), nullable=False),
    Column("person", String(128), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("credential", LargeBinary(32), unique=True),
    Column("counter", BigInteger, nullable=False),
    Column("key_id", String(64)),
    Column("sealed", LargeBinary),
    Column("body", LargeBinary, nullable=False),
    Index("factors_person", "type", "person"),
)
"""``credential`` is the hash of a WebAuthn credential's id, which is one person's. ``counter`` only grows: a passkey's
sign count, or the last step that a one-time password was shown of. ``sealed``: the secret of one-time passwords."""

codes: Final = Table(
    "factor_codes",
    metadata,
    Column("factor", String(64), primary_key=True),
    Column("hash", LargeBinary(32), primary_key=True),
    Column("used", BigInteger),
)

handles: Final = Table(
    "factor_handles",
    metadata,
    Column("handle", LargeBinary(32), primary_key=True),
    Column("type", String(16), nullable=False),
    Column("person", String(128), nullable=False),
    UniqueConstraint("type", "person", name="factor_handles_person"),
)
"""What authenticators know a person by: random, so that one that is found tells nothing of its owner."""

attempts: Final = Table(
    "factor_attempts",
    metadata,
    Column("type", String(16), primary_key=True),
    Column("person", String(128), primary_key=True),
    Column("method", String(16), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("until", BigInteger, nullable=False),
)


class Kept(NamedTuple):
    """A factor with what stands beside its body."""

    factor: Factor
    counter: int
    key_id: str | None
    sealed: bytes | None


_COLUMNS: Final = (factors.c.body, factors.c.counter, factors.c.key_id, factors.c.sealed)


def _kept(row: tuple[bytes, int, str | None, bytes | None]) -> Kept:
    return Kept(msgspec.json.decode(row[0], type=Factor), row[1], row[2], row[3])


def _of(table: Table, person: Ref) -> ColumnElement[bool]:
    return and_(table.c.type == person.type, table.c.person == person.id)


def live_kinds(connection: Connection) -> Iterator[tuple[Ref, Kind]]:
    """Which kinds of factors everyone has that show something."""
    found = select(factors.c.type, factors.c.person, factors.c.kind).where(factors.c.state == "live").distinct()
    for type_, person, kind in connection.execute(found):
        yield Ref(type_, person), kind


def of_person(connection: Connection, person: Ref) -> list[Kept]:
    """A person's factors, the oldest first."""
    rows = connection.execute(select(*_COLUMNS).where(_of(factors, person)).order_by(factors.c.id))
    return [_kept(tuple(row)) for row in rows]


def find(connection: Connection, id_: str) -> Kept | None:
    """One factor."""
    row = connection.execute(select(*_COLUMNS).where(factors.c.id == id_)).first()
    return None if row is None else _kept(tuple(row))


def find_credential(connection: Connection, hash_: bytes) -> Kept | None:
    """The passkey or security key of a credential's id, by its hash."""
    row = connection.execute(select(*_COLUMNS).where(factors.c.credential == hash_)).first()
    return None if row is None else _kept(tuple(row))


def add(
    tx: Transaction,
    factor: Factor,
    *,
    credential: bytes | None = None,
    counter: int = 0,
    key_id: str | None = None,
    sealed: bytes | None = None,
) -> None:
    """Put a factor on record."""
    tx.connection.execute(
        insert(factors).values(
            id=factor.id, type=factor.person.type, person=factor.person.id, kind=factor.kind, state=factor.state,
            credential=credential, counter=counter, key_id=key_id, sealed=sealed, body=encode(factor),
        )
    )  # fmt: skip


def put(tx: Transaction, factor: Factor) -> None:
    """Write a factor's record anew."""
    changed = update(factors).where(factors.c.id == factor.id)
    tx.connection.execute(changed.values(kind=factor.kind, state=factor.state, body=encode(factor)))


def count_up(tx: Transaction, factor: Factor, counter: int, *, state: State = "live") -> bool:
    """Write the factor and its counter; False, and nothing written, where the counter would not grow.

    A passkey that counts nothing says 0 each time.
    """
    grows = factors.c.counter < counter
    if factor.kind in WEBAUTHN and counter == 0:
        grows = factors.c.counter == 0
    changed = update(factors).where(factors.c.id == factor.id, factors.c.state == state, grows)
    done = tx.connection.execute(changed.values(counter=counter, state=factor.state, body=encode(factor)))
    return done.rowcount == 1


def remove(tx: Transaction, ids: Sequence[str]) -> None:
    """Take factors off the record, with all that stands beside them."""
    tx.connection.execute(delete(codes).where(codes.c.factor.in_(ids)))
    tx.connection.execute(delete(factors).where(factors.c.id.in_(ids)))


# ── recovery codes ─────────────────────────────────────────────────────────────────────────────────────────────────


def add_codes(tx: Transaction, factor: str, hashes: Sequence[bytes]) -> None:
    """Keep the hashes of a factor's codes."""
    tx.connection.execute(insert(codes), [{"factor": factor, "hash": hash_} for hash_ in hashes])


def has_code(connection: Connection, factor: str, hash_: bytes) -> bool:
    """Whether the code of this hash is one of the factor's that was not used."""
    usable = (codes.c.factor == factor) & (codes.c.hash == hash_) & codes.c.used.is_(None)
    return connection.scalar(select(codes.c.hash).where(usable)) is not None


def use_code(tx: Transaction, factor: str, hash_: bytes) -> bool:
    """Use a code up; False, and nothing written, where it cannot be used."""
    usable = (codes.c.factor == factor) & (codes.c.hash == hash_) & codes.c.used.is_(None)
    return tx.connection.execute(update(codes).where(usable).values(used=milliseconds(tx.now))).rowcount == 1


def codes_left(connection: Connection, factor: str) -> int:
    """How many of the factor's codes were not used."""
    left = select(func.count()).select_from(codes).where(codes.c.factor == factor, codes.c.used.is_(None))
    return connection.scalar(left) or 0


# ── handles ────────────────────────────────────────────────────────────────────────────────────────────────────────


def handle_of(connection: Connection, person: Ref) -> bytes | None:
    """What authenticators know a person by."""
    return connection.scalar(select(handles.c.handle).where(_of(handles, person)))


def add_handle(tx: Transaction, person: Ref, handle: bytes) -> None:
    """Let authenticators know a person by ``handle``."""
    tx.connection.execute(insert(handles).values(handle=handle, type=person.type, person=person.id))


# ── attempts ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _at(person: Ref, method: str) -> ColumnElement[bool]:
    return and_(_of(attempts, person), attempts.c.method == method)


def attempts_of(connection: Connection, person: Ref, method: str) -> Attempts:
    """What was tried in vain since the last success."""
    row = connection.execute(select(attempts.c.failures, attempts.c.until).where(_at(person, method))).first()
    return Attempts() if row is None else Attempts(row.failures, from_milliseconds(row.until))


def put_attempts(tx: Transaction, person: Ref, method: str, failures: int, until: datetime) -> None:
    """Write down what was tried in vain."""
    values = {"failures": failures, "until": milliseconds(until)}
    if tx.connection.execute(update(attempts).where(_at(person, method)).values(values)).rowcount == 0:
        row = {"type": person.type, "person": person.id, "method": method, **values}
        tx.connection.execute(insert(attempts).values(row))


def clear_attempts(tx: Transaction, person: Ref, method: str) -> None:
    """Forget what was tried in vain."""
    tx.connection.execute(delete(attempts).where(_at(person, method)))


def forget_pending(tx: Transaction, before: datetime) -> None:
    """Remove secrets that wait for their first code since ``before``."""
    waiting = select(factors.c.id, factors.c.body).where(factors.c.state == "pending")
    found = [row.id for row in tx.connection.execute(waiting) if _made(row.body) < before]
    if found:
        remove(tx, found)


def _made(body: bytes) -> datetime:
    return msgspec.json.decode(body, type=Factor).created
