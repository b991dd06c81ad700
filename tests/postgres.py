"""A real PostgreSQL for the tests: one server a process, started when first asked for, and an empty database a test."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
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

    def __init__(self, folder: Path, crash: Callable[[], None]) -> None:
        self._folder = folder
        self.crash = crash
        """Ends it without a word to anyone, and starts it again: it recovers from its log."""
        self._made = 0

    def url(self, database: str = "postgres") -> str:
        """The address of a database on the unix socket."""
        return f"postgresql://postgres@/{database}?host={self._folder}"

    def fresh(self, template: str = "template1") -> str:
        """The address of a new database, empty or like ``template``, which nobody may be connected to."""
        self._made += 1
        name = f"test{self._made}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f'create database "{name}" template "{template}"')
        return self.url(name)


@contextmanager
def running(address: str = "") -> Iterator[PostgreSQL]:
    """A server of our own, ended at the end. PostgreSQL refuses to run as root, so root runs it as `postgres`.

    With ``address``, it listens there too, and believes whoever is on the same small network.
    """
    where = binaries()
    assert where is not None, "PostgreSQL is not installed"
    with tempfile.TemporaryDirectory(prefix="everproof-pg-") as temporary:
        folder = Path(temporary)
        user = group = None
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            user, group = account.pw_uid, account.pw_gid
            os.chown(folder, user, group)

        def run(program: str, *arguments: str) -> None:
            command = [str(where / program), "-D", str(folder / "data"), *arguments]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, user=user, group=group)

        run("initdb", "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
        if address:
            with (folder / "data" / "pg_hba.conf").open("a") as rules:
                rules.write(f"host all all {address}/24 trust\n")
        settings = [f"listen_addresses={address}", f"unix_socket_directories={folder}", "max_connections=200"]
        options = " ".join(f"-c {setting}" for setting in settings)

        def start() -> None:
            run("pg_ctl", "-w", "-t", "30", "-l", str(folder / "log"), "-o", options, "start")

        def stop() -> None:
            run("pg_ctl", "-w", "-t", "30", "-m", "immediate", "stop")

        def crash() -> None:
            stop()
            start()

        start()
        try:
            yield PostgreSQL(folder, crash)
        finally:
            stop()
