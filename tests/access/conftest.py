from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.access.house import House, read_once
from tests.conftest import SettableClock


@pytest.fixture(autouse=True)
def _bundles_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("everproof.authorize.bundles.load_bundle", read_once)


@pytest.fixture
async def house(tmp_path: Path, clock: SettableClock) -> AsyncIterator[House]:
    house = House(f"sqlite:///{tmp_path / 'everproof.db'}", tmp_path, clock)
    await house.start()
    yield house
    await house.stop()


@pytest.fixture
async def each_house(database_url: str, tmp_path: Path, clock: SettableClock) -> AsyncIterator[House]:
    """A house on each of the two databases."""
    house = House(database_url, tmp_path, clock)
    await house.start()
    yield house
    await house.stop()
