"""The process that is killed: a ledger under load that tells, by a pipe, of each entry whose receipt was given."""

import asyncio
import hashlib
import itertools
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec

from everproof.kernel.canonical import encode
from everproof.kernel.ids import new_id
from everproof.kernel.words import Entry, Ref
from everproof.keys import Keyring, SigningKeys, open_root_key
from everproof.ledger import Ledger
from everproof.storage import Storage, database
from tests.durability.unsynced import UnsyncedVfs

TASKS = 16
PUBLISH_EVERY = 20
"""One task has a checkpoint signed, and copied, after each so many of its entries: crashes fall between those too."""

LOG_PAGES = 150
"""When SQLite moves its log into the database: 1000 pages by default, which few lives here would reach."""

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
    """What a caller was told is durable: where it stands, and its bytes."""

    index: int
    id: str
    digest: bytes


def answered(index: int, entry: Entry) -> Answered:
    return Answered(index, entry.id, hashlib.sha256(encode(entry)).digest())


def open_ledger(storage: Storage, state: Path) -> Ledger:
    keyring = Keyring(storage, open_root_key("", state))
    signing = SigningKeys(storage, keyring).current("Ed25519")
    return Ledger(storage, keyring, signing, origin="localhost/durability", copy=state / "checkpoint")


def work(plan: Plan, pipe: Connection) -> None:
    """Work until killed."""
    if plan.survivors is not None:
        UnsyncedVfs(VFS, survivors=plan.survivors, seed=plan.seed)
    database.SYNCHRONOUS = plan.synchronous  # type: ignore[misc]  # a promise that only a test may break
    asyncio.run(_work(plan, pipe))


async def _work(plan: Plan, pipe: Connection) -> None:
    storage = Storage.open(plan.url_of_disk, state=plan.state)
    if plan.url.startswith("sqlite"):
        storage.write_now(lambda tx: tx.connection.exec_driver_sql(f"pragma wal_autocheckpoint={LOG_PAGES}"))
    ledger = open_ledger(storage, plan.state)
    await storage.start()
    await ledger.start()
    await asyncio.gather(*(_keep_on(ledger, storage, pipe, task) for task in range(TASKS)))


async def _keep_on(ledger: Ledger, storage: Storage, pipe: Connection, task: int) -> None:
    for count in itertools.count(1):
        id_ = new_id("ent")
        body = msgspec.Raw(encode({"said": hashlib.shake_128(id_.encode()).hexdigest(250)}))
        about = PEOPLE[count % len(PEOPLE)]
        entry = Entry(id=id_, at=storage.clock.issuing_time(), kind="durability", about=about, body=body)
        receipt = await ledger.record(entry)
        assert receipt.entry_id == id_
        pipe.send_bytes(msgspec.msgpack.encode(answered(receipt.index, entry)))
        if task == 0 and count % PUBLISH_EVERY == 0:
            await ledger.publish()
