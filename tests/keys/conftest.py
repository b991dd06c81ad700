from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from everproof.keys import Keyring, RootKey, open_root_key
from everproof.storage import Storage
from tests.conftest import SettableClock

Reopen = Callable[[], tuple[Storage, Keyring]]


@pytest.fixture
def root(tmp_path: Path) -> RootKey:
    return open_root_key("", tmp_path)


@pytest.fixture
def reopen(database_url: str, clock: SettableClock, root: RootKey) -> Iterator[Reopen]:
    """Opens the storage and its keyring as a new process would; what was open before is closed."""
    opened: list[Storage] = []

    def open_anew() -> tuple[Storage, Keyring]:
        for storage in opened:
            storage.close()
        storage = Storage.open(database_url, clock=clock)
        opened.append(storage)
        return storage, Keyring(storage, root)

    yield open_anew
    for storage in opened:
        storage.close()


@pytest.fixture
def house(reopen: Reopen) -> tuple[Storage, Keyring]:
    """A storage that is not started, and its keyring."""
    return reopen()
