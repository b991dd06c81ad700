"""The tables of requests, answers and grants, and the only statements over them."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Index,
    LargeBinary,
    Row,
    String,
    Table,
    delete,
    func,
    insert,
    select,
    update,
)

from everproof.access.records import Answer, Body, GrantRecord
from everproof.kernel.canonical import encode
from everproof.kernel.clock import from_milliseconds, milliseconds
from everproof.kernel.words import Ref
from everproof.storage import Transaction, metadata

MAX_MESSAGE: Final = 512

requests: Final = Table(
    "access_requests",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("requester", String(128), nullable=False),
    Column("action", String(80), nullable=False),
    Column("type", String(64), nullable=False),
    Column("resource", String(256), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("answer_by", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("decided", BigInteger),
    Column("by", String(128)),
    Column("method", String(64), nullable=False),
    Column("message", String(MAX_MESSAGE), nullable=False),
    Column("grant", String(64)),
    Index("access_requests_requester", "requester"),
    Index("access_requests_state", "state", "answer_by"),
)
"""``body`` is what was asked for and never changes; ``digest`` is its name."""

answers: Final = Table(
    "access_answers",
    metadata,
    Column("request", String(64), primary_key=True),
    Column("by", String(128), primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
)
"""Approvals: one of each person, by the primary key."""

grants: Final = Table(
    "access_grants",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("request", String(64), nullable=False),
    Column("principal", String(128), nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("break_glass", Boolean, nullable=False),
    Column("ended", BigInteger),
    Column("body", LargeBinary, nullable=False),
    Index("access_grants_request", "request"),
    Index("access_grants_principal", "principal"),
    Index("access_grants_ended", "ended"),
)


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it is kept. ``is_intact``: nobody has changed what was asked for since."""

    body: Body
    digest: str
    state: str
    decided: datetime | None
    by: Ref | None
    method: str
    message: str
    grant: str | None
    answers: tuple[Answer, ...]

    @property
    def is_intact(self) -> bool:
        """Whether it is what it was when it was made."""
        return self.body.digest == self.digest


def insert_request(tx: Transaction, body: Body) -> None:
    """Put a request on record."""
    row = {
        "id": body.id, "requester": body.requester.id, "action": body.action, "type": body.resource.type,
        "resource": body.resource.id, "created": body.created, "answer_by": body.answer_by, "body": encode(body),
        "digest": body.digest, "state": "requested", "decided": None, "by": None, "method": "", "message": "",
        "grant": None,
    }  # fmt: skip
    tx.connection.execute(insert(requests), row)


def find_request(connection: Connection, id_: str) -> Kept | None:
    """One request with its answers."""
    row = connection.execute(select(requests).where(requests.c.id == id_)).first()
    return None if row is None else _kept(row, _answers(connection, [id_]))


def list_requests(connection: Connection, *, before: str, requester: str, action: str, limit: int) -> list[Kept]:
    """Requests, the newest first: those before an id, of one person, of one action."""
    found = select(requests).order_by(requests.c.id.desc()).limit(limit)
    if before:
        found = found.where(requests.c.id < before)
    if requester:
        found = found.where(requests.c.requester == requester)
    if action:
        found = found.where(requests.c.action == action)
    rows = connection.execute(found).all()
    answered = _answers(connection, [row.id for row in rows])
    return [_kept(row, answered) for row in rows]


def count_open(connection: Connection, requester: str, now: datetime) -> int:
    """How many of a person's requests wait for answers."""
    found = (
        select(func.count())
        .select_from(requests)
        .where(
            requests.c.requester == requester, requests.c.state == "requested", requests.c.answer_by > milliseconds(now)
        )
    )
    return connection.scalar(found) or 0


def count_since(connection: Connection, requester: str, since: datetime) -> int:
    """How many requests somebody has made since then, whatever became of them."""
    found = select(func.count()).select_from(requests)
    mine = found.where(requests.c.requester == requester, requests.c.created > milliseconds(since))
    return connection.scalar(mine) or 0


def find_same(connection: Connection, requester: str, action: str, resource: Ref, now: datetime) -> str | None:
    """A request of a person for the same that waits for answers."""
    found = select(requests.c.id).where(
        requests.c.requester == requester, requests.c.action == action, requests.c.type == resource.type,
        requests.c.resource == resource.id, requests.c.state == "requested",
        requests.c.answer_by > milliseconds(now),
    )  # fmt: skip
    return connection.scalar(found.limit(1))


def unanswered(connection: Connection, now: datetime, limit: int) -> list[Kept]:
    """Requests that nobody has answered in time, and that do not say so yet."""
    found = select(requests).where(requests.c.state == "requested", requests.c.answer_by <= milliseconds(now))
    rows = connection.execute(found.order_by(requests.c.id).limit(limit)).all()
    return [_kept(row, {}) for row in rows]


def close(
    tx: Transaction,
    id_: str,
    state: str,
    *,
    by: Ref | None,
    method: str = "",
    message: str = "",
    grant: str | None = None,
) -> bool:
    """Let a request be in its last state; False, and nothing changed, where it is in one already."""
    changed = update(requests).where(requests.c.id == id_, requests.c.state == "requested")
    values = {
        "state": state, "decided": milliseconds(tx.now), "by": by.id if by is not None else None, "method": method[:64],
        "message": message[:MAX_MESSAGE], "grant": grant,
    }  # fmt: skip
    return tx.connection.execute(changed.values(values)).rowcount == 1


def put_answer(tx: Transaction, request: str, answer: Answer) -> None:
    """Keep a person's approval, instead of one of theirs that counts no more."""
    tx.connection.execute(delete(answers).where(answers.c.request == request, answers.c.by == answer.by.id))
    row = {"request": request, "by": answer.by.id, "at": milliseconds(answer.at), "body": encode(answer)}
    tx.connection.execute(insert(answers), row)


def put_grant(tx: Transaction, grant: GrantRecord, *, new: bool) -> None:
    """Keep a grant as it is now."""
    values = {
        "request": grant.request, "principal": grant.principal.id, "expires": milliseconds(grant.expires),
        "break_glass": grant.break_glass, "ended": None if grant.ended is None else milliseconds(grant.ended),
        "body": encode(grant),
    }  # fmt: skip
    if new:
        tx.connection.execute(insert(grants), {"id": grant.id, **values})
    else:
        tx.connection.execute(update(grants).where(grants.c.id == grant.id).values(values))


def find_grant(connection: Connection, id_: str) -> GrantRecord | None:
    """One grant."""
    body = connection.scalar(select(grants.c.body).where(grants.c.id == id_))
    return None if body is None else _grant(body)


def find_grants(connection: Connection, ids: Sequence[str]) -> dict[str, GrantRecord]:
    """Grants by their ids."""
    found = connection.scalars(select(grants.c.body).where(grants.c.id.in_(ids)))
    return {one.id: one for one in map(_grant, found)}


def open_grants(connection: Connection) -> list[GrantRecord]:
    """Grants of which no end is on record, though it may have come."""
    return [_grant(body) for body in connection.scalars(select(grants.c.body).where(grants.c.ended.is_(None)))]


def list_grants(connection: Connection, *, principal: str, limit: int) -> list[GrantRecord]:
    """Grants, the newest first, over or not; of one person, where one is named."""
    found = select(grants.c.body).order_by(grants.c.id.desc()).limit(limit)
    if principal:
        found = found.where(grants.c.principal == principal)
    return [_grant(body) for body in connection.scalars(found)]


def _grant(body: bytes) -> GrantRecord:
    return msgspec.json.decode(body, type=GrantRecord)


def _answers(connection: Connection, ids: Iterable[str]) -> dict[str, list[Answer]]:
    found: dict[str, list[Answer]] = {}
    rows = connection.execute(
        select(answers.c.request, answers.c.body).where(answers.c.request.in_(list(ids))).order_by(answers.c.at)
    )
    for row in rows:
        found.setdefault(row.request, []).append(msgspec.json.decode(row.body, type=Answer))
    return found


def _kept(row: Row[Any], answered: dict[str, list[Answer]]) -> Kept:
    return Kept(
        body=msgspec.json.decode(row.body, type=Body),
        digest=row.digest,
        state=row.state,
        decided=None if row.decided is None else from_milliseconds(row.decided),
        by=None if row.by is None else Ref("User", row.by),
        method=row.method,
        message=row.message,
        grant=row.grant,
        answers=tuple(answered.get(row.id, ())),
    )
