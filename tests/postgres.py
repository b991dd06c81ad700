"""A real PostgreSQL for the tests: one server a test process, started when first asked for, an empty database a test."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg


def binaries() -> Path | None:
    """Where PostgreSQL's server programs are; Debian keeps them out of the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else None


class PostgreSQL:
    """A running server, reached by a unix socket in its own folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made = 0

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@/{database}?host={self._folder}"

    def fresh(self) -> str:
        """The address of a new, empty database."""
        self._made += 1
        name = f"test{self._made}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f'create database "{name}"')  # type: ignore[arg-type]  # a name that was made here
        return self.url(name)


@contextmanager
def running() -> Iterator[PostgreSQL]:
    """A server of our own, ended at the end. PostgreSQL refuses to run as root, so root runs it as `postgres`."""
    where = binaries()
    assert where is not None, "PostgreSQL is not installed"
    with tempfile.TemporaryDirectory(prefix="everproof-pg-") as temporary:
        folder = Path(temporary)
        as_user: dict[str, int] = {}
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(folder, account.pw_uid, account.pw_gid)
            as_user = {"user": account.pw_uid, "group": account.pw_gid}
        data = folder / "data"
        subprocess.run(
            [where / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"],
            check=True, capture_output=True, cwd=folder, **as_user,
        )  # fmt: skip
        settings = ["listen_addresses=", f"unix_socket_directories={folder}", "max_connections=200"]
        options = " ".join(f"-c {setting}" for setting in settings)
        control = [where / "pg_ctl", "-D", data, "-w", "-t", "30", "-l", folder / "log"]
        subprocess.run([*control, "-o", options, "start"], check=True, capture_output=True, cwd=folder, **as_user)
        try:
            yield PostgreSQL(folder)
        finally:
            subprocess.run(
                [*control, "-m", "immediate", "stop"], check=True, capture_output=True, cwd=folder, **as_user
            )
