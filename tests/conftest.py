import itertools
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from everproof.keys import signing
from everproof.keys.jwk import PrivateKey
from everproof.storage import Storage
from tests import postgres

DATABASES = ["sqlite", "postgresql"]


class SettableClock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def advance(self, by: timedelta) -> None:
        self.time += by


@pytest.fixture(scope="session", autouse=True)
def _keys_are_made_once() -> Iterator[None]:
    """Servers of the tests take turns with a few RSA keys: making one costs more than most tests do."""
    made = [rsa.generate_private_key(public_exponent=65537, key_size=signing.RSA_BITS) for _ in range(8)]
    turns, generate = itertools.cycle(made), signing._generate

    def taken(algorithm: signing.Algorithm) -> PrivateKey:
        return next(turns) if algorithm == "RS256" else generate(algorithm)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signing, "_generate", taken)
        yield


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture(scope="session")
def vectors() -> Path:
    folder = Path(os.environ.get("EVERPROOF_VECTORS") or Path(__file__).parents[2] / "shared" / "vectors")
    if not folder.is_dir():
        pytest.skip(f"no test vectors in {folder}: name their folder in EVERPROOF_VECTORS")
    return folder


@pytest.fixture(scope="session")
def postgresql() -> Iterator[postgres.PostgreSQL]:
    if postgres.binaries() is None:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL is not installed")
        pytest.skip("PostgreSQL is not installed")
    with ExitStack() as stack:
        yield stack.enter_context(postgres.running())


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite database in which nothing is but its tables: to copy it takes a fiftieth of what making it takes."""
    file = tmp_path_factory.mktemp("migrated") / "everproof.db"
    Storage.open(f"sqlite:///{file}").close()
    return file


@pytest.fixture(scope="session")
def migrated_database(postgresql: postgres.PostgreSQL) -> str:
    """The same on PostgreSQL, to be a template."""
    url = postgresql.fresh()
    Storage.open(url).close()
    return url.partition("@/")[2].partition("?")[0]


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database in which nothing is but its tables, on each of the two."""
    if request.param == "sqlite":
        file = shutil.copy(request.getfixturevalue("migrated_file"), tmp_path / "everproof.db")
        return f"sqlite:///{file}"
    server: postgres.PostgreSQL = request.getfixturevalue("postgresql")
    return server.fresh(request.getfixturevalue("migrated_database"))


@pytest.fixture
async def storage(database_url: str, clock: SettableClock) -> AsyncIterator[Storage]:
    """A started storage, on each of the two databases."""
    storage = Storage.open(database_url, clock=clock)
    await storage.start()
    yield storage
    await storage.stop()
