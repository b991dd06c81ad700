"""Containment of a tree of 10,000 credentials, with a durable receipt each, while others go on recording entries."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from benchmarks.figure import Figure, measures
from everproof.identity import Credential, Credentials
from everproof.kernel.clock import SystemClock
from everproof.kernel.ids import new_id
from everproof.kernel.words import MAIN_SPACE, Entry, Ref
from everproof.keys import Keyring, SigningKeys, open_root_key
from everproof.ledger import Ledger
from everproof.response import Containment
from everproof.storage import Storage, Transaction
from everproof.work import Work

DESCENDANTS: Final = 10_000
OTHERS: Final = 50_000
"""Credentials of others on record besides."""
CHILDREN: Final = 10
"""Of each credential of the tree, so that it is four deep."""
RATE: Final = 200
"""Entries a second that somebody else records meanwhile."""
ALICE: Final = Ref("User", "alice")


class Server:
    """The rooms that containment needs, in an empty SQLite database on the disk."""

    def __init__(self, state: Path) -> None:
        self.storage = Storage.open(f"sqlite:///{state / 'everproof.db'}", state=state)
        keyring = Keyring(self.storage, open_root_key("", state))
        signing = SigningKeys(self.storage, keyring).current("Ed25519")
        self.ledger = Ledger(self.storage, keyring, signing, origin="bench")
        self.work = Work(self.storage, keyring, self.ledger)
        self.credentials = Credentials(self.storage, issuer="https://bench.example")
        self.containment = Containment(self.storage, self.ledger, self.work, self.credentials)

    def issue(self, tx: Transaction, parent: Credential | None, *, number: int) -> Credential:
        one = Credential(
            id=new_id("cred"), parent=None if parent is None else parent.id, kind="access-token",
            principal=Ref("Job", f"github/1/{number}"), key="k" * 43, issued=tx.now,
            expires=tx.now + timedelta(hours=1),
        )  # fmt: skip
        return self.credentials.issue(tx, one)

    def grow(self, tx: Transaction) -> list[Credential]:
        """The tree, its root first, among others' credentials."""
        for number in range(OTHERS):
            self.issue(tx, None, number=number)
        made = [self.issue(tx, None, number=0)]
        for number in range(DESCENDANTS):
            made.append(self.issue(tx, made[number // CHILDREN], number=number))
        return made


@asynccontextmanager
async def running() -> AsyncIterator[Server]:
    with tempfile.TemporaryDirectory(prefix="everproof-bench-") as folder:
        server = Server(Path(folder))
        await server.storage.start()
        await server.ledger.start()
        await server.work.start()
        yield server
        await server.work.stop()
        await server.ledger.stop()
        await server.storage.stop()


async def others(server: Server, waits: list[float]) -> None:
    """Record entries at a steady rate, whatever happens, and note how long each took."""

    async def one() -> None:
        started = time.perf_counter()
        body = msgspec.Raw(b'{"pad":"%s"}' % (b"x" * 500))
        now = SystemClock().now()
        await server.ledger.record(Entry(id=new_id("ent"), at=now, kind="decision", about=MAIN_SPACE, body=body))
        waits.append(time.perf_counter() - started)

    pending: set[asyncio.Task[None]] = set()
    due = time.perf_counter()
    while True:
        due += 1 / RATE
        await asyncio.sleep(max(0, due - time.perf_counter()))
        task = asyncio.create_task(one())
        pending.add(task)
        task.add_done_callback(pending.discard)


async def contain() -> tuple[float, float, float]:
    """Seconds to the end of containment, seconds until all is refused, and the p99 of others' waits meanwhile."""
    async with running() as server:
        made = await server.storage.write(server.grow)
        waits: list[float] = []
        load = asyncio.create_task(others(server, waits))
        started = time.perf_counter()
        target = Ref("Credential", made[0].id)
        found = await asyncio.to_thread(server.containment.look, target)
        begun = await server.storage.write(lambda tx: server.containment.begin(tx, found, by=ALICE, reason="benchmark"))
        assert not any(server.credentials.is_live(one.id) for one in made)
        refused = time.perf_counter() - started
        ended = await server.containment.finished(begun.id, within=timedelta(minutes=1))
        took = time.perf_counter() - started
        assert ended.credentials == DESCENDANTS + 1, ended
        load.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await load
        return took, refused, sorted(waits)[len(waits) * 99 // 100]


@measures("contain_10000", "contain_refused", "contain_stall_p99")
def containment() -> list[Figure]:
    rounds = sorted(uvloop.run(contain()) for _ in range(3))
    took, refused, stall = rounds[1]
    return [
        Figure("contain_10000", took, "s", 5),
        Figure("contain_refused", refused * 1000, "ms", 1000),
        Figure("contain_stall_p99", stall * 1000, "ms"),
    ]
