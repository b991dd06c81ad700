"""The process that is killed: a storage under load that tells, by a pipe, of each change that was answered."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
from sqlalchemy import text

from everproof.kernel.ids import new_id
from everproof.kernel.words import Ref
from everproof.keys import Keyring, open_root_key
from everproof.storage import Storage, Transaction, database
from tests.durability.unsynced import UnsyncedVfs

TASKS = 16
VFS = "everproof-unsynced"
PEOPLE = [Ref("User", name) for name in ("alice", "bob", "carol")]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Where to work, and on what kind of disk. ``survivors`` is None for the real one."""

    url: str
    state: Path
    survivors: float | None = None
    seed: int = 0
    synchronous: str = "FULL"

    @property
    def url_of_disk(self) -> str:
        if self.survivors is None:
            return self.url
        return self.url.replace("sqlite:///", "sqlite:///file:") + f"?vfs={VFS}&uri=true"


class Answered(msgspec.Struct, frozen=True, array_like=True):
    """What a caller was told is durable: its number and what it said."""

    number: int
    id: str
    digest: bytes


def words_of(id_: str) -> bytes:
    """Some 600 bytes that tell whose they are."""
    return hashlib.shake_128(id_.encode()).hexdigest(300).encode()


def work(plan: Plan, pipe: Connection) -> None:
    """Work until killed."""
    if plan.survivors is not None:
        UnsyncedVfs(VFS, survivors=plan.survivors, seed=plan.seed)
    database.SYNCHRONOUS = plan.synchronous  # type: ignore[misc]  # a promise that only a test may break
    asyncio.run(_work(plan, pipe))


async def _work(plan: Plan, pipe: Connection) -> None:
    storage = Storage.open(plan.url_of_disk, state=plan.state)
    keyring = Keyring(storage, open_root_key("", plan.state))
    storage.write_now(_make_book)
    await storage.start()

    async def write(number: int) -> Answered:
        id_ = new_id("ent")
        return await storage.write(lambda tx: _write(tx, keyring, id_, PEOPLE[number % len(PEOPLE)]))

    await asyncio.gather(*(_keep_on(write, pipe, number) for number in range(TASKS)))


async def _keep_on(write: Callable[[int], Awaitable[Answered]], pipe: Connection, number: int) -> None:
    while True:
        pipe.send_bytes(msgspec.msgpack.encode(await write(number)))


def _make_book(tx: Transaction) -> None:
    blob = "bytea" if tx.connection.dialect.name == "postgresql" else "blob"
    tx.connection.execute(
        text(f"create table if not exists book (number bigint primary key, id text, key_id text, sealed {blob})")
    )


def _write(tx: Transaction, keyring: Keyring, id_: str, about: Ref) -> Answered:
    number = (tx.connection.scalar(text("select max(number) from book")) or 0) + 1
    sealed = keyring.seal(tx, about, words_of(id_), context=id_.encode())
    tx.connection.execute(
        text("insert into book values (:number, :id, :key, :data)"),
        {"number": number, "id": id_, "key": sealed.key_id, "data": sealed.data},
    )
    return Answered(number, id_, hashlib.sha256(words_of(id_)).digest())


def read_book(storage: Storage, keyring: Keyring) -> dict[int, Answered]:
    """All that is on record, opened."""
    with storage.reading() as connection:
        rows = list(connection.execute(text("select number, id, key_id, sealed from book order by number")))
    return {
        row.number: Answered(
            row.number,
            row.id,
            hashlib.sha256(keyring.open(row.key_id, row.sealed, context=row.id.encode())).digest(),
        )
        for row in rows
    }
