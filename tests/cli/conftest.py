import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.run import Home
from tests.cli.server import Server


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture(scope="module")
def short_folder() -> Iterator[Path]:
    """A folder whose name leaves room for a unix socket's, which may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="everproof-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def server(short_folder: Path) -> Iterator[Server]:
    server = Server(short_folder / "state")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def ada(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The first administrator, enrolled by the link that the server printed, and logged in."""
    ada = Home(tmp_path_factory.mktemp("ada"), "ada")
    ada.ssh_key()
    done = ada.everproof("login", "--enrol", server.link)
    assert done.returncode == 0, done.stderr
    return ada
