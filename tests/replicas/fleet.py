"""Several servers on one PostgreSQL: started, killed, paused, and what they answered."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from everproof.app import Everproof
from everproof.kernel.settings import Settings
from everproof.keys import open_root_key
from everproof.ledger import parse_vkey, store, verify_ledger
from everproof.storage.storage import MAX_STALE_SECONDS
from tests.replicas.replica import Failed, Load, Plan, Told, issue_pool, work

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.replicas.replica", "sqlalchemy.dialects.postgresql", "psycopg"])

PATIENCE_SECONDS = 30.0
LONGEST_AFTER = MAX_STALE_SECONDS + 0.5
"""An answer that was under way when the revocation was acknowledged may still arrive, but not for long."""

_READ = msgspec.msgpack.Decoder(Told | Failed).decode


class Server:
    """One process of the fleet, and all that its callers were told."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.told: list[Told] = []
        self.failed: list[Failed] = []
        self._begun = threading.Event()
        reads, writes = _CONTEXT.Pipe(duplex=False)
        self._process = _CONTEXT.Process(target=work, args=(plan, writes), daemon=True)
        self._process.start()
        writes.close()
        self._reads = reads
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait(self) -> None:
        """Until it has answered somebody."""
        assert self._begun.wait(PATIENCE_SECONDS), "it never answered"
        assert self._process.is_alive(), "it ended by itself"

    def kill(self) -> None:
        """End it as a power switch would."""
        self._process.kill()
        self._process.join()
        self._reader.join()
        self._reads.close()

    def pause(self) -> None:
        """Let it do nothing, and not know it."""
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def _read(self) -> None:
        try:
            while True:
                what = _READ(self._reads.recv_bytes())
                if isinstance(what, Told):
                    self.told.append(what)
                    self._begun.set()
                else:
                    self.failed.append(what)
        except (EOFError, OSError):
            self._begun.set()


class Fleet:
    """Servers on one database, with one root key, each with a state folder of its own."""

    def __init__(self, url: str, folder: Path, *, pool: int = 400, root_key: Path | None = None) -> None:
        """Begin with ``pool`` credentials; ``root_key`` is that of a database that was set up before."""
        self.url = url
        self.folder = folder
        self.root_key = root_key or folder / "root.key"
        folder.mkdir(exist_ok=True)
        open_root_key(f"file:{self.root_key}", folder)
        self.servers: list[Server] = []
        self.everything: list[Server] = []
        app = self.open()
        self.pool = issue_pool(app, pool)
        app.storage.close()

    def open(self, name: str = "here") -> Everproof:
        """One more of them, in this process."""
        settings = Settings(state=self.folder / name, database=self.url, root_key=f"file:{self.root_key}")
        return Everproof(settings)

    def start(self, number: int, load: Load, *, url: str = "", namespace: str = "") -> Server:
        """Start server ``number``, anew where it was started before; ``url`` is another way to the same database."""
        made = Plan(
            url=url or self.url, state=self.folder / f"state{number}", root_key=self.root_key, pool=self.pool,
            load=load, seed=len(self.everything), namespace=namespace,
        )  # fmt: skip
        server = Server(made)
        self.everything.append(server)
        return server

    def told(self) -> list[Told]:
        """All that anyone was ever told."""
        return [one for server in self.everything for one in server.told]


def wrong(fleet: Fleet) -> list[str]:
    """What does not hold of what callers were told, and of the ledger."""
    told = fleet.told()
    found = []
    revoked: dict[str, Told] = {}
    for one in told:
        if one.allowed is None and (one.credential not in revoked or one.answered < revoked[one.credential].answered):
            revoked[one.credential] = one
    for one in told:
        end = revoked.get(one.credential)
        if one.allowed and end is not None:
            if one.asked > end.answered:
                found.append(f"allowed {one.asked - end.answered:.3f} s after its revocation was acknowledged: {one}")
            if one.answered > end.answered + LONGEST_AFTER:
                found.append(f"let in {one.answered - end.answered:.3f} s after the revocation: {one}")
            if one.index > end.index:
                found.append(f"allowed at {one.index}, after its revocation at {end.index}")
    app = fleet.open()
    try:
        with app.storage.reading() as connection:
            ids = {row.idx: row.id for row in store.read_entries(connection, 0, 10_000_000)}
        found += [f"entry {one.index} is not as it was answered" for one in told if ids.get(one.index) != one.entry]
        if list(ids) != list(range(len(ids))):
            found.append("the entries have gaps")
        verified = verify_ledger(app.storage, app.keyring, parse_vkey(app.ledger.vkey))
        found += [f"{problem.place}: {problem.what}" for problem in verified.problems]
    finally:
        app.storage.close()
    return found


@contextmanager
def fleet_of(fleet: Fleet) -> Iterator[Fleet]:
    """The fleet, ended at the end."""
    try:
        yield fleet
    finally:
        for server in fleet.everything:
            if server._process.is_alive():
                server.resume()
                server.kill()


def eventually(holds: Callable[[], bool], what: str, *, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
