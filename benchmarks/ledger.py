"""The ledger's writer: how many durable entries a second, and how long one waits for its receipt."""

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from benchmarks.figure import Figure, measures
from everproof.kernel.canonical import encode
from everproof.kernel.clock import SystemClock
from everproof.kernel.ids import new_id
from everproof.kernel.words import Entry, Ref
from everproof.keys import Keyring, SigningKeys, open_root_key
from everproof.ledger import Ledger
from everproof.storage import Storage

WRITERS: Final = 64
ENTRY_BYTES: Final = 600
ROUNDS: Final = 5
ROUND_SECONDS: Final = 2.0
RATE: Final = 1_000
"""Entries a second, whether the one before has its receipt or not."""

RATED_SECONDS: Final = 5


class Entries:
    """Entries of `ENTRY_BYTES`, each about one of `WRITERS` people."""

    def __init__(self) -> None:
        self._now = SystemClock().now().replace(microsecond=123_456)
        self._people = [Ref("User", f"person-{number:02}") for number in range(WRITERS)]
        self._body = msgspec.Raw(b'{"pad":""}')
        padding = ENTRY_BYTES - len(encode(self.make(0)))
        self._body = msgspec.Raw(b'{"pad":"%s"}' % (b"x" * padding))
        assert len(encode(self.make(0))) == ENTRY_BYTES

    def make(self, person: int) -> Entry:
        return Entry(id=new_id("ent"), at=self._now, kind="decision", about=self._people[person], body=self._body)


@asynccontextmanager
async def fresh_ledger() -> AsyncIterator[Ledger]:
    """A ledger in an empty SQLite database on the disk, as the server opens it."""
    with tempfile.TemporaryDirectory(prefix="everproof-bench-") as folder:
        state = Path(folder)
        storage = Storage.open(f"sqlite:///{state / 'everproof.db'}", state=state)
        keyring = Keyring(storage, open_root_key("", state))
        signing = SigningKeys(storage, keyring).current("Ed25519")
        ledger = Ledger(storage, keyring, signing, origin="bench", copy=state / "checkpoint")
        await storage.start()
        await ledger.start()
        yield ledger
        await ledger.stop()
        await storage.stop()


async def closed_loop() -> list[float]:
    """Entries a second in each round: every writer awaits its receipt before it sends the next."""
    entries = Entries()
    rates = []
    async with fresh_ledger() as ledger:
        ends = 0.0

        async def write(person: int) -> int:
            written = 0
            while time.perf_counter() < ends:
                await ledger.record(entries.make(person))
                written += 1
            return written

        for _ in range(ROUNDS):
            started = time.perf_counter()
            ends = started + ROUND_SECONDS
            written = sum(await asyncio.gather(*(write(person) for person in range(WRITERS))))
            rates.append(written / (time.perf_counter() - started))
        assert ledger.size >= sum(rates) * ROUND_SECONDS * 0.9
    return rates


async def open_loop() -> list[float]:
    """Milliseconds from when each entry was due to its receipt, at a steady rate."""
    entries = Entries()
    waits: list[float] = []
    async with fresh_ledger() as ledger:

        async def write(person: int, due: float) -> None:
            await ledger.record(entries.make(person))
            waits.append((time.perf_counter() - due) * 1e3)

        tasks = []
        started = time.perf_counter() + 0.1
        for number in range(RATE * RATED_SECONDS):
            due = started + number / RATE
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            tasks.append(asyncio.create_task(write(number % WRITERS, due)))
        await asyncio.gather(*tasks)
    return waits


@measures("ledger_append", "ledger_receipt_p99")
def ledger() -> list[Figure]:
    append = statistics.median(uvloop.run(closed_loop()))
    p99 = statistics.quantiles(uvloop.run(open_loop()), n=100)[98]
    return [Figure("ledger_append", append, "/s", 40_000), Figure("ledger_receipt_p99", p99, "ms", 10)]
