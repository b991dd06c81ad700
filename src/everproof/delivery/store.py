"""The table of steps, and the only statements over it."""

from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    LargeBinary,
    Row,
    String,
    Table,
    Text,
    delete,
    insert,
    select,
    update,
)

from everproof.delivery.records import Result, Run
from everproof.kernel.canonical import encode
from everproof.kernel.clock import from_milliseconds, milliseconds
from everproof.kernel.words import Ref
from everproof.storage import Transaction, metadata

runs: Final = Table(
    "delivery_runs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("stage", String(16), nullable=False),
    Column("type", String(16), nullable=False),
    Column("principal", String(512), nullable=False),
    Column("resource_type", String(64), nullable=False),
    Column("resource", String(512), nullable=False),
    Column("program", String(512), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("credentials", Text, nullable=False),
    Column("holder", String(64), nullable=False),
    Column("key", String(64), nullable=False),
    Column("started", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("ended", BigInteger),
    Column("result", LargeBinary),
    Index("delivery_runs_started", "started"),
)


def insert_run(tx: Transaction, run: Run) -> None:
    """Put a step on record."""
    values = {
        "id": run.id,
        "stage": run.stage,
        "type": run.principal.type,
        "principal": run.principal.id,
        "resource_type": run.resource.type,
        "resource": run.resource.id,
        "program": run.program,
        "digest": run.digest,
        "credentials": " ".join(run.credentials),
        "holder": run.holder,
        "key": run.key,
        "started": milliseconds(run.started),
        "expires": milliseconds(run.expires),
    }
    tx.connection.execute(insert(runs).values(values))


def find_run(connection: Connection, id_: str) -> Run | None:
    """One step."""
    row = connection.execute(select(runs).where(runs.c.id == id_)).first()
    return None if row is None else _run(row)


def list_runs(connection: Connection, *, before: str, stage: str, principal: str, limit: int) -> list[Run]:
    """Steps, the newest first: those before an id, of one stage, of one principal's id, where these are given."""
    found = select(runs).order_by(runs.c.id.desc()).limit(limit)
    if before:
        found = found.where(runs.c.id < before)
    if stage:
        found = found.where(runs.c.stage == stage)
    if principal:
        found = found.where(runs.c.principal == principal)
    return [_run(row) for row in connection.execute(found)]


def set_credentials(tx: Transaction, run: Run) -> bool:
    """Keep the credentials and the end that ``run`` has now; False where it has ended."""
    changed = update(runs).where(runs.c.id == run.id, runs.c.ended.is_(None))
    values = {"credentials": " ".join(run.credentials), "expires": milliseconds(run.expires)}
    return tx.connection.execute(changed.values(values)).rowcount == 1


def set_result(tx: Transaction, id_: str, result: Result) -> bool:
    """Note how a step ended; False where that was told before."""
    ended = update(runs).where(runs.c.id == id_, runs.c.ended.is_(None))
    return tx.connection.execute(ended.values(ended=milliseconds(tx.now), result=encode(result))).rowcount == 1


def forget_runs(tx: Transaction, before: datetime) -> int:
    """Remove what began before ``before``; how many. The ledger keeps what happened."""
    return tx.connection.execute(delete(runs).where(runs.c.started < milliseconds(before))).rowcount


def _run(row: Row[Any]) -> Run:
    return Run(
        id=row.id,
        stage=row.stage,
        principal=Ref(row.type, row.principal),
        resource=Ref(row.resource_type, row.resource),
        program=row.program,
        digest=row.digest,
        credentials=tuple(row.credentials.split()),
        holder=row.holder,
        key=row.key,
        started=from_milliseconds(row.started),
        expires=from_milliseconds(row.expires),
        ended=None if row.ended is None else from_milliseconds(row.ended),
        result=None if row.result is None else msgspec.json.decode(row.result, type=Result),
    )
