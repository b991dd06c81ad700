"""A server that is paused, that loses its connections, or that is cut off: the others go on, and it lets nobody in."""

import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests import postgres
from tests.postgres import PostgreSQL
from tests.replicas.fleet import Fleet, Server, eventually, fleet_of, wrong
from tests.replicas.replica import Load

pytestmark = pytest.mark.timeout(240)

LOAD = Load(revoke_every=0.1, tasks=2, rest=0.01)
HOST, GUEST = "10.203.117.1", "10.203.117.2"
LOOK = 0.05


def answers_since(server: Server, moment: float) -> int:
    return sum(one.answered > moment for one in server.told)


def test_a_paused_server_gives_way_and_lets_nobody_in_by_what_it_knew(
    postgresql: PostgreSQL, set_up: tuple[str, Path], tmp_path: Path
) -> None:
    chance = random.Random(1)
    with fleet_of(Fleet(postgresql.fresh(set_up[0]), tmp_path / "fleet", pool=2000, root_key=set_up[1])) as fleet:
        servers = [fleet.start(number, LOAD) for number in range(3)]
        for server in servers:
            server.wait()
        for _ in range(2):
            time.sleep(chance.uniform(0.1, 0.3))
            paused = chance.choice(servers)
            paused.pause()
            began = time.monotonic()
            for other in servers:
                if other is not paused:
                    eventually(lambda: answers_since(other, began) > 0, "the others did not go on")  # noqa: B023 - within
            time.sleep(max(0.0, began + 3.0 - time.monotonic()))
            paused.resume()
            resumed = time.monotonic()
            eventually(lambda: answers_since(paused, resumed) > 0, "it did not come back")  # noqa: B023 - done within
        for server in servers:
            server.kill()
        assert wrong(fleet) == []


def test_a_server_that_loses_its_connections_takes_new_ones(
    postgresql: PostgreSQL, set_up: tuple[str, Path], tmp_path: Path
) -> None:
    url = postgresql.fresh(set_up[0])
    with fleet_of(Fleet(url, tmp_path / "fleet", pool=2000, root_key=set_up[1])) as fleet:
        servers = [fleet.start(number, LOAD) for number in range(3)]
        for server in servers:
            server.wait()
        with psycopg.connect(url, autocommit=True) as connection:
            for _ in range(5):
                connection.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity"
                    " where datname = current_database() and pid <> pg_backend_pid() and random() < 0.7"
                )
                lost = time.monotonic()
                for server in servers:
                    eventually(lambda: answers_since(server, lost) > 5, "it did not come back")  # noqa: B023 - done within
        for server in servers:
            server.kill()
        assert wrong(fleet) == []


def test_postgresql_itself_crashes_and_recovers(tmp_path: Path) -> None:
    if postgres.binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    with postgres.running() as database, fleet_of(Fleet(database.fresh(), tmp_path / "fleet", pool=2000)) as fleet:
        servers = [fleet.start(number, LOAD) for number in range(3)]
        for server in servers:
            server.wait()
        for _ in range(2):
            database.crash()
            recovered = time.monotonic()
            for server in servers:
                eventually(lambda: answers_since(server, recovered) > 5, "it did not come back")  # noqa: B023 - done within
        for server in servers:
            server.kill()
        assert wrong(fleet) == []


@contextmanager
def island() -> Iterator[str]:
    """A network namespace with one cable to this machine; its name, which is also its cable's."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("a partition needs root and iproute2: NOT TESTED HERE")
    name = f"everproof{os.getpid() % 10_000}"

    def ip(*words: str) -> None:
        done = subprocess.run(["ip", *words], check=False, capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip(f"no network namespaces here: {done.stderr.strip()}: NOT TESTED HERE")

    ip("netns", "add", name)
    try:
        ip("link", "add", name, "type", "veth", "peer", "name", "inner", "netns", name)
        ip("addr", "add", f"{HOST}/24", "dev", name)
        ip("link", "set", name, "up")
        ip("-n", name, "addr", "add", f"{GUEST}/24", "dev", "inner")
        ip("-n", name, "link", "set", "inner", "up")
        ip("-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)


def switch(cable: str, state: str) -> None:
    subprocess.run(["ip", "link", "set", cable, state], check=True)


def test_a_server_that_is_cut_off_says_so_lets_nobody_in_and_comes_back(tmp_path: Path) -> None:
    if postgres.binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    with island() as cable, postgres.running(HOST) as database:
        url = database.fresh()
        far = url.partition("?")[0].replace("@/", f"@{HOST}/")
        with fleet_of(Fleet(url, tmp_path / "fleet", pool=2000)) as fleet:
            near = [fleet.start(number, LOAD) for number in range(2)]
            away = fleet.start(2, Load(tasks=4, rest=0.002), url=far, namespace=cable)
            for server in (*near, away):
                server.wait()
            switch(cable, "down")
            cut = time.monotonic()
            eventually(lambda: any(one.at > cut for one in away.failed), "it never said that it is cut off")
            said = time.monotonic() - cut
            for server in near:
                began = time.monotonic()
                eventually(lambda: answers_since(server, began) > 5, "the others did not go on")  # noqa: B023 - done within
            time.sleep(2.0)
            late = [one for one in away.told if one.asked > cut + LOOK]
            assert late == [], "it answered while it was cut off"
            assert said < 8.0
            switch(cable, "up")
            healed = time.monotonic()
            eventually(lambda: answers_since(away, healed) > 5, "it did not come back")
            for server in (*near, away):
                server.kill()
            assert wrong(fleet) == []
            assert "stale" in " ".join(one.why for one in away.failed)
