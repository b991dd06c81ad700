"""Three servers on one database, killed again and again: nothing answered is lost, and no revocation is undone."""

import random
import time
from pathlib import Path

import pytest

from tests.postgres import PostgreSQL
from tests.replicas.fleet import Fleet, fleet_of, wrong
from tests.replicas.replica import Load

SERVERS = 3
KILLS = 50


@pytest.mark.timeout(300)  # some 20 s where it has two cores to itself
def test_fifty_kills_lose_nothing_fork_nothing_and_let_nobody_in_after_a_revocation(
    postgresql: PostgreSQL, set_up: tuple[str, Path], tmp_path: Path
) -> None:
    chance = random.Random(0)
    with fleet_of(Fleet(postgresql.fresh(set_up[0]), tmp_path / "fleet", root_key=set_up[1])) as fleet:
        load = Load(revoke_every=0.05, tasks=3, rest=0.01)
        servers = [fleet.start(number, load) for number in range(SERVERS)]
        for kill in range(KILLS):
            number = chance.randrange(SERVERS)
            if kill % 5:
                servers[number].wait()
            time.sleep(chance.uniform(0, 0.1))
            servers[number].kill()
            servers[number] = fleet.start(number, load)
        for server in servers:
            server.wait()
            server.kill()
        told = fleet.told()
        assert wrong(fleet) == []
        assert sum(one.allowed is False for one in told) > KILLS
        assert sum(one.allowed is True for one in told) > KILLS
