from pathlib import Path

import pytest

from everproof.app import Everproof
from everproof.kernel.settings import Settings
from tests.postgres import PostgreSQL


@pytest.fixture(scope="session")
def set_up(postgresql: PostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The name of a database that a server has set up, and its root key: to make its keys takes a second each time."""
    folder = tmp_path_factory.mktemp("set-up")
    url = postgresql.fresh()
    settings = Settings(state=folder / "state", database=url, root_key=f"file:{folder / 'root.key'}")
    Everproof(settings).storage.close()
    return url.partition("?")[0].rpartition("/")[2], folder / "root.key"
