"""The tables of the provider, and the only statements over them."""

from collections.abc import Iterable
from datetime import datetime
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
    Text,
    UniqueConstraint,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from everproof.kernel.clock import milliseconds
from everproof.storage import Transaction, metadata

codes: Final = Table(
    "provider_codes",
    metadata,
    Column("hash", LargeBinary(32), primary_key=True),
    Column("client", String(64), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("used", BigInteger),
    Column("replayed", Boolean, nullable=False),
    Column("credential", String(64)),
    Column("sign_in", String(64)),
    Index("provider_codes_expires", "expires"),
)
"""``credential`` and ``sign_in`` are what the code gave, so that it can be taken back."""

pushed: Final = Table(
    "provider_pushed",
    metadata,
    Column("hash", LargeBinary(32), primary_key=True),
    Column("client", String(64), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Index("provider_pushed_expires", "expires"),
)

consents: Final = Table(
    "provider_consents",
    metadata,
    Column("user", String(512), primary_key=True),
    Column("client", String(64), primary_key=True),
    Column("scope", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)

questions: Final = Table(
    "provider_questions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("session", String(64), nullable=False),
    Column("client", String(64), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Index("provider_questions_expires", "expires"),
)
"""Consents that are asked for and not given yet."""

sign_ins: Final = Table(
    "provider_sign_ins",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("session", String(64), nullable=False),
    Column("client", String(64), nullable=False),
    Column("user", String(512), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("told", BigInteger),
    Index("provider_sign_ins_session", "session", "client"),
    Index("provider_sign_ins_user", "user"),
    Index("provider_sign_ins_expires", "expires"),
)
"""``id`` is what a client knows as ``sid``; ``told`` is when it was noted that the client must hear of its end."""

devices: Final = Table(
    "provider_devices",
    metadata,
    Column("hash", LargeBinary(32), primary_key=True),
    Column("user_code", String(16), nullable=False),
    Column("client", String(64), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("address", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("session", String(64)),
    Column("pace", Integer, nullable=False),
    Column("polled", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    UniqueConstraint("user_code", name="provider_devices_user_code"),
    Index("provider_devices_expires", "expires"),
)
"""``pace`` is how many seconds lie between two questions of the device at least."""

guesses: Final = Table(
    "provider_guesses",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("user", String(512), nullable=False),
    Column("expires", BigInteger, nullable=False),
    Index("provider_guesses_expires", "expires"),
)
"""Wrong codes that were typed, for as long as they count."""

renewals: Final = Table(
    "provider_renewals",
    metadata,
    Column("session", String(64), primary_key=True),
    Column("client", String(64), nullable=False),
    Column("key", String(64), nullable=False),
    Column("current", LargeBinary(32), nullable=False),
    Column("previous", LargeBinary(32)),
    Column("expires", BigInteger, nullable=False),
    Index("provider_renewals_expires", "expires"),
)


def insert_code(tx: Transaction, **values: Any) -> None:
    """Put a code on record."""
    tx.connection.execute(insert(codes).values(used=None, replayed=False, credential=None, sign_in=None, **values))


def find_code(connection: Connection, hash_: bytes) -> Row[Any] | None:
    """A code, used or not."""
    return connection.execute(select(codes).where(codes.c.hash == hash_)).first()


def change_code(tx: Transaction, hash_: bytes, **values: Any) -> None:
    """Note what became of a code."""
    tx.connection.execute(update(codes).where(codes.c.hash == hash_).values(**values))


def insert_pushed(tx: Transaction, **values: Any) -> None:
    """Put a pushed request on record."""
    tx.connection.execute(insert(pushed).values(**values))


def find_pushed(connection: Connection, hash_: bytes) -> Row[Any] | None:
    """A pushed request."""
    return connection.execute(select(pushed).where(pushed.c.hash == hash_)).first()


def remove_pushed(tx: Transaction, hash_: bytes) -> bool:
    """Use a pushed request up; False where it was."""
    return tx.connection.execute(delete(pushed).where(pushed.c.hash == hash_)).rowcount == 1


def count_pushed(connection: Connection, client: str, now: datetime) -> int:
    """How many requests of a client wait."""
    found = select(func.count()).where(pushed.c.client == client, pushed.c.expires > milliseconds(now))
    return connection.scalar(found) or 0


def find_consent(connection: Connection, user: str, client: str) -> Row[Any] | None:
    """What a person lets a client know."""
    return connection.execute(select(consents).where(consents.c.user == user, consents.c.client == client)).first()


def find_consents(connection: Connection, user: str) -> list[Row[Any]]:
    """What a person lets clients know."""
    return list(connection.execute(select(consents).where(consents.c.user == user).order_by(consents.c.client)))


def remove_consent(tx: Transaction, user: str, client: str) -> bool:
    """Let a client know no more of a person; False where it might know nothing."""
    gone = delete(consents).where(consents.c.user == user, consents.c.client == client)
    return tx.connection.execute(gone).rowcount == 1


def put_consent(tx: Transaction, user: str, client: str, scope: str) -> None:
    """Let a client know this of a person from now on."""
    tx.connection.execute(delete(consents).where(consents.c.user == user, consents.c.client == client))
    tx.connection.execute(insert(consents).values(user=user, client=client, scope=scope, at=milliseconds(tx.now)))


def insert_question(tx: Transaction, **values: Any) -> None:
    """Put a consent that is asked for on record."""
    tx.connection.execute(insert(questions).values(**values))


def find_question(connection: Connection, id_: str) -> Row[Any] | None:
    """A consent that is asked for."""
    return connection.execute(select(questions).where(questions.c.id == id_)).first()


def remove_question(tx: Transaction, id_: str) -> bool:
    """A consent was given or refused; False where that was done before."""
    return tx.connection.execute(delete(questions).where(questions.c.id == id_)).rowcount == 1


def insert_sign_in(tx: Transaction, **values: Any) -> None:
    """Note that somebody has signed in to a client."""
    tx.connection.execute(insert(sign_ins).values(told=None, **values))


def find_sign_in(connection: Connection, session: str, client: str) -> str | None:
    """What a client knows a session by, if it knows it."""
    found = select(sign_ins.c.id).where(
        sign_ins.c.session == session, sign_ins.c.client == client, sign_ins.c.told.is_(None)
    )
    return connection.scalar(found)


def sign_ins_at(connection: Connection, user: str, client: str) -> list[Row[Any]]:
    """The sign-ins of a person to a client whose end it was not told."""
    found = select(sign_ins).where(sign_ins.c.user == user, sign_ins.c.client == client, sign_ins.c.told.is_(None))
    return list(connection.execute(found))


def untold_sign_ins(
    connection: Connection, *, sessions: Iterable[str] = (), users: Iterable[str] = (), ids: Iterable[str] = ()
) -> list[Row[Any]]:
    """The sign-ins in these sessions, of these people, or of these ids, whose end their clients were not told."""
    among = or_(sign_ins.c.session.in_(list(sessions)), sign_ins.c.user.in_(list(users)), sign_ins.c.id.in_(list(ids)))
    return list(connection.execute(select(sign_ins).where(among, sign_ins.c.told.is_(None))))


def all_untold(connection: Connection, now: datetime) -> list[Row[Any]]:
    """Every sign-in whose end its client was not told."""
    found = select(sign_ins).where(sign_ins.c.expires > milliseconds(now), sign_ins.c.told.is_(None))
    return list(connection.execute(found))


def move_sign_ins(tx: Transaction, before: str, after: str) -> None:
    """Let what was signed in to in one session count as signed in to in another."""
    tx.connection.execute(update(sign_ins).where(sign_ins.c.session == before).values(session=after))


def mark_told(tx: Transaction, ids: Iterable[str]) -> None:
    """Note that the clients of these will hear of the end."""
    changed = update(sign_ins).where(sign_ins.c.id.in_(list(ids)))
    tx.connection.execute(changed.values(told=milliseconds(tx.now)))


def insert_device(tx: Transaction, **values: Any) -> bool:
    """Put a device's request on record; False where somebody has its user code."""
    taken = select(devices.c.hash).where(devices.c.user_code == values["user_code"])
    if tx.connection.execute(taken).first() is not None:
        return False
    tx.connection.execute(insert(devices).values(session=None, **values))
    return True


def find_device(connection: Connection, hash_: bytes) -> Row[Any] | None:
    """A device's request by the device's own code."""
    return connection.execute(select(devices).where(devices.c.hash == hash_)).first()


def find_user_code(connection: Connection, user_code: str) -> Row[Any] | None:
    """A device's request by the code that its user types."""
    return connection.execute(select(devices).where(devices.c.user_code == user_code)).first()


def change_device(tx: Transaction, hash_: bytes, **values: Any) -> None:
    """Note what became of a device's request."""
    tx.connection.execute(update(devices).where(devices.c.hash == hash_).values(**values))


def count_devices(connection: Connection, now: datetime, *, address: str | None = None) -> int:
    """How many requests of devices wait, of all or of one address."""
    found = select(func.count()).where(devices.c.expires > milliseconds(now), devices.c.state == "waiting")
    return connection.scalar(found if address is None else found.where(devices.c.address == address)) or 0


def insert_guess(tx: Transaction, **values: Any) -> None:
    """Note a wrong code."""
    tx.connection.execute(insert(guesses).values(**values))


def count_guesses(connection: Connection, now: datetime, *, user: str | None = None) -> int:
    """How many wrong codes count, of all or of one person."""
    found = select(func.count()).select_from(guesses).where(guesses.c.expires > milliseconds(now))
    return connection.scalar(found if user is None else found.where(guesses.c.user == user)) or 0


def insert_renewal(tx: Transaction, **values: Any) -> None:
    """Put the refresh tokens of a session on record."""
    tx.connection.execute(insert(renewals).values(previous=None, **values))


def find_renewal(connection: Connection, session: str) -> Row[Any] | None:
    """The refresh tokens of a session."""
    return connection.execute(select(renewals).where(renewals.c.session == session)).first()


def change_renewal(tx: Transaction, session: str, **values: Any) -> None:
    """Let another refresh token be the current one."""
    tx.connection.execute(update(renewals).where(renewals.c.session == session).values(**values))


def remove_renewal(tx: Transaction, session: str) -> None:
    """Let a session be renewed no more."""
    tx.connection.execute(delete(renewals).where(renewals.c.session == session))


def forget(tx: Transaction) -> None:
    """Remove what is over."""
    now = milliseconds(tx.now)
    for table in (codes, pushed, questions, sign_ins, devices, guesses, renewals):
        tx.connection.execute(delete(table).where(table.c.expires < now))
