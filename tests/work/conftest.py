from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from everproof.keys import Keyring, SigningKeys, open_root_key
from everproof.ledger import Ledger
from everproof.storage import Storage
from everproof.work import Work
from tests.conftest import SettableClock


class Fair:
    """Chance that always takes the middle."""

    def uniform(self, a: float, b: float, /) -> float:
        return (a + b) / 2


class House:
    """The rooms below work, and work; opened again over the same database as after a restart."""

    def __init__(self, url: str, folder: Path, clock: SettableClock) -> None:
        self.url = url
        self.folder = folder
        self.clock = clock

    def open(self) -> None:
        self.storage = Storage.open(self.url, clock=self.clock)
        keyring = Keyring(self.storage, open_root_key("", self.folder))
        signing = SigningKeys(self.storage, keyring)
        self.ledger = Ledger(self.storage, keyring, signing.current("Ed25519"), origin="everproof.example")
        self.work = Work(self.storage, keyring, self.ledger, chance=Fair())

    async def close(self) -> None:
        await self.work.stop()
        await self.storage.stop()

    async def die(self) -> None:
        """End as a killed process does: nothing that runs can give its job back, or say what came of it."""
        await self.work._runner.halt()
        await self.storage.stop()
        await self.work.stop()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Work]:
        await self.storage.start()
        await self.work.start()
        try:
            yield self.work
        finally:
            await self.close()


@pytest.fixture
def house(tmp_path: Path, clock: SettableClock) -> Iterator[House]:
    house = House(f"sqlite:///{tmp_path / 'everproof.db'}", tmp_path, clock)
    house.open()
    yield house
    house.storage.close()


@pytest.fixture
def each_house(database_url: str, tmp_path: Path, clock: SettableClock) -> Iterator[House]:
    """A house on each of the two databases."""
    house = House(database_url, tmp_path, clock)
    house.open()
    yield house
    house.storage.close()
