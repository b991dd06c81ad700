from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from everproof.identity import Credential, Credentials
from everproof.response import Containment
from everproof.storage import Transaction
from tests.conftest import SettableClock
from tests.identity.people import SERVER, credential
from tests.work import conftest as work


class House(work.House):
    """The rooms below response, and response."""

    def open(self) -> None:
        super().open()
        self.credentials = Credentials(self.storage, issuer=SERVER)
        self.containment = Containment(self.storage, self.ledger, self.work, self.credentials)

    async def issue(self, parent: Credential | None = None, **changes: Any) -> Credential:
        id_ = parent.id if parent is not None else None
        return await self.storage.write(lambda tx: self.credentials.issue(tx, credential(tx, id_, **changes)))

    async def tree(self, count: int) -> list[Credential]:
        """A root and ``count`` descendants, ten to each parent."""
        root = await self.issue()

        def grow(tx: Transaction) -> list[Credential]:
            made = [root]
            for number in range(count):
                made.append(self.credentials.issue(tx, credential(tx, made[number // 10].id)))
            return made

        return await self.storage.write(grow)


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


PATIENCE = timedelta(seconds=20)
