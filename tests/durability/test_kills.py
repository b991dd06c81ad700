"""Hundreds of kills under load: nothing that was answered may be lost, nor anything be half there.

First with the disk as the kernel keeps it, then as a power loss leaves it.
"""

import random
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.exc import DatabaseError

from everproof.kernel.errors import Error
from everproof.keys import Keyring, open_root_key
from everproof.storage import Storage
from everproof.storage.database import WRITER_LOCK
from tests.durability.killing import kill_at_work
from tests.durability.load import Answered, Plan, read_book
from tests.postgres import PostgreSQL

KILLS = 10
AT_START = 0.2
"""How many of the kills come while the process starts."""

SURVIVORS = {"kept": None, "dropped": 0.0, "torn": 0.5}
"""What of the unsynced writes is there after the crash: all, none, or some sectors and not others."""


def what_is_lost(plan: Plan, answered: dict[int, Answered]) -> list[str]:
    """What the next start does not find as it was answered, and what else is not whole."""
    try:
        storage = Storage.open(plan.url, state=plan.state)
        try:
            found = read_book(storage, Keyring(storage, open_root_key("", plan.state)))
        finally:
            storage.close()
    except (DatabaseError, Error) as error:
        return [f"it does not open: {error}"]
    lost = [f"{number} is not as it was answered" for number, one in answered.items() if found.get(number) != one]
    if list(found) != list(range(1, len(found) + 1)):
        lost.append("the numbers have gaps")
    return lost


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("unsynced", list(SURVIVORS))
def test_nothing_answered_is_lost_in_ten_kills(tmp_path: Path, unsynced: str, seed: int) -> None:
    chance = random.Random(f"{unsynced} {seed}")
    url = f"sqlite:///{tmp_path / 'everproof.db'}"
    answered: dict[int, Answered] = {}
    for kill in range(KILLS):
        plan = Plan(url=url, state=tmp_path, survivors=SURVIVORS[unsynced], seed=kill)
        at_start = chance.random() < AT_START
        answered |= {one.number: one for one in kill_at_work(plan, chance, at_start=at_start)}
        if answered:
            assert what_is_lost(plan, answered) == []
    assert len(answered) > KILLS


@pytest.mark.parametrize("unsynced", ["dropped", "torn"])
def test_without_synchronous_full_this_disk_loses_what_was_answered(tmp_path: Path, unsynced: str) -> None:
    """That the tests above can fail, and that it is the sync at the commit which lets them pass."""
    chance = random.Random(0)
    url = f"sqlite:///{tmp_path / 'everproof.db'}"
    answered: dict[int, Answered] = {}
    for synchronous in ("FULL", "OFF"):
        plan = Plan(url=url, state=tmp_path, survivors=SURVIVORS[unsynced], synchronous=synchronous)
        answered |= {one.number: one for one in kill_at_work(plan, chance)}
        assert (what_is_lost(plan, answered) == []) == (synchronous == "FULL")


def test_nothing_answered_is_lost_when_killed_at_work_on_postgresql(tmp_path: Path, postgresql: PostgreSQL) -> None:
    chance = random.Random(0)
    plan = Plan(url=postgresql.fresh(), state=tmp_path)
    answered: dict[int, Answered] = {}
    for kill in range(KILLS):
        answered |= {one.number: one for one in kill_at_work(plan, chance, at_start=kill % 5 == 1)}
        _wait_until_it_is_noticed(plan.url)
        assert what_is_lost(plan, answered) == []
    assert len(answered) > KILLS


def _wait_until_it_is_noticed(url: str) -> None:
    """The server ends the session of a dead process, and gives its lock back, when it next looks."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("set lock_timeout = '20s'")
        connection.execute("select pg_advisory_lock(%s)", (WRITER_LOCK,))
