from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from everproof.kernel.clock import Clock
from everproof.kernel.ids import new_id
from everproof.kernel.words import Entry, Ref
from everproof.keys import Keyring, SigningKey, open_root_key
from everproof.ledger import Ledger, Receipt, Verification, Verifier, parse_vkey, verify_ledger
from everproof.storage import Storage
from tests.conftest import SettableClock

ORIGIN = "ledger.test/main"

# Not `SigningKeys`, which at a first start makes RSA keys too, and takes its time.
SIGNING = SigningKey(
    kid="test",
    algorithm="Ed25519",
    private=Ed25519PrivateKey.from_private_bytes(bytes(range(32))),
    since=datetime(2026, 1, 1, tzinfo=UTC),
)


class House(NamedTuple):
    """A ledger on a storage that is not started, with all that it stands on."""

    storage: Storage
    keyring: Keyring
    ledger: Ledger
    copy: Path
    clock: SettableClock

    @property
    def log(self) -> Verifier:
        return parse_vkey(self.ledger.vkey)

    def append(self, count: int = 1, *, about: str = "alice", kind: str = "test") -> list[Receipt]:
        made = [entry(self.clock, about=about, kind=kind) for _ in range(count)]
        return self.storage.write_now(lambda tx: [self.ledger.append(tx, one) for one in made])

    def verify(self) -> Verification:
        return verify_ledger(self.storage, self.keyring, self.log, copy=self.copy)

    def sql(self, statement: str) -> None:
        """What somebody with access to the database does."""
        self.storage.write_now(lambda tx: tx.connection.exec_driver_sql(statement) and None)


Reopen = Callable[[], House]


def entry(clock: Clock, *, about: str = "alice", kind: str = "test", body: bytes = b'{"did":"this"}') -> Entry:
    return Entry(id=new_id("ent"), at=clock.now(), kind=kind, about=Ref("User", about), body=msgspec.Raw(body))


@pytest.fixture
def reopen(database_url: str, clock: SettableClock, tmp_path: Path) -> Iterator[Reopen]:
    """Opens the ledger as a new process would; what was open before is closed."""
    opened: list[Storage] = []

    def open_anew() -> House:
        for storage in opened:
            storage.close()
        storage = Storage.open(database_url, clock=clock)
        opened.append(storage)
        keyring = Keyring(storage, open_root_key("", tmp_path))
        copy = tmp_path / "elsewhere" / "checkpoint"
        copy.parent.mkdir(exist_ok=True)
        return House(storage, keyring, Ledger(storage, keyring, SIGNING, origin=ORIGIN, copy=copy), copy, clock)

    yield open_anew
    for storage in opened:
        storage.close()


@pytest.fixture
def house(reopen: Reopen) -> House:
    return reopen()
