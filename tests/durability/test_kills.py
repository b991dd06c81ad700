"""Hundreds of kills under load: nothing that was answered may be lost, nor anything be half there.

First with the disk as the kernel keeps it, then as a power loss leaves it.
"""

import asyncio
import random
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import pytest

from everproof.ledger import store
from everproof.storage import Storage
from tests.durability.killing import kill_at_work
from tests.durability.load import Answered, Plan, answered, open_ledger
from tests.postgres import PostgreSQL

KILLS = 10
AT_START = 0.2
"""How many of the kills come while the process starts."""

SURVIVORS = {"kept": None, "dropped": 0.0, "torn": 0.5}
"""What of the unsynced writes is there after the crash: all, none, or some sectors and not others."""


def what_is_lost(plan: Plan, answers: dict[int, Answered]) -> list[str]:
    """What the next start does not find as it was answered, and what else is not whole."""
    try:
        return asyncio.run(_what_is_lost(plan, answers))
    except Exception as error:  # noqa: BLE001 -- torn pages may hold anything, and each of them is a loss to tell
        return [f"it does not open: {error!r}"]


async def _what_is_lost(plan: Plan, answers: dict[int, Answered]) -> list[str]:
    storage = Storage.open(plan.url, state=plan.state)
    try:
        ledger = open_ledger(storage, plan.state)
        if ledger.refusal is not None:
            return [f"it does not go on: {ledger.refusal}"]
        await storage.start()
        note = await ledger.publish()
        recorded = ledger.tail(after=-1, limit=ledger.size + 1)
        with storage.reading() as connection:
            commitments = store.read_commitments(connection, 0, ledger.size + 1)
    finally:
        await storage.stop()
    found = {one.index: answered(one.index, one.entry) for one in recorded if one.entry is not None}
    lost = [f"entry {index} is not as it was answered" for index, one in answers.items() if found.get(index) != one]
    if list(found) != list(range(ledger.size)) or len(commitments) != ledger.size:
        lost.append("the entries have gaps")
    if note.splitlines()[1:3] != [str(ledger.size).encode(), b64encode(root_of(commitments))]:
        lost.append("the tree is not of these entries")
    return lost


def root_of(commitments: list[bytes]) -> bytes:
    """The root of RFC 6962, section 2.1, told again so that it does not take the ledger's word for it."""
    stack: list[tuple[int, bytes]] = []
    for commitment in commitments:
        size, node = 1, sha256(b"\0" + commitment).digest()
        while stack and stack[-1][0] == size:
            size, node = size * 2, sha256(b"\1" + stack.pop()[1] + node).digest()
        stack.append((size, node))
    if not stack:
        return sha256(b"").digest()
    node = stack.pop()[1]
    while stack:
        node = sha256(b"\1" + stack.pop()[1] + node).digest()
    return node


@pytest.mark.parametrize(
    ("unsynced", "seed"),
    [("kept", seed) for seed in range(10)] + [(kind, seed) for kind in ("dropped", "torn") for seed in range(5)],
)
def test_nothing_answered_is_lost_in_ten_kills(tmp_path: Path, unsynced: str, seed: int) -> None:
    chance = random.Random(f"{unsynced} {seed}")
    url = f"sqlite:///{tmp_path / 'everproof.db'}"
    answers: dict[int, Answered] = {}
    for _ in range(KILLS):
        plan = Plan(url=url, state=tmp_path, survivors=SURVIVORS[unsynced], seed=chance.randrange(1 << 30))
        at_start = chance.random() < AT_START
        answers |= {one.index: one for one in kill_at_work(plan, chance, at_start=at_start)}
        if answers:
            assert what_is_lost(plan, answers) == []
    assert len(answers) > KILLS


@pytest.mark.parametrize("unsynced", ["dropped", "torn"])
def test_without_synchronous_full_this_disk_loses_what_was_answered(tmp_path: Path, unsynced: str) -> None:
    """That the tests above can fail, and that it is the sync at the commit which lets them pass."""
    chance = random.Random(0)
    url = f"sqlite:///{tmp_path / 'everproof.db'}"
    answers: dict[int, Answered] = {}
    for synchronous in ("FULL", "OFF"):
        plan = Plan(url=url, state=tmp_path, survivors=SURVIVORS[unsynced], synchronous=synchronous)
        answers |= {one.index: one for one in kill_at_work(plan, chance)}
        assert (what_is_lost(plan, answers) == []) == (synchronous == "FULL")


def test_nothing_answered_is_lost_when_killed_at_work_on_postgresql(tmp_path: Path, postgresql: PostgreSQL) -> None:
    chance = random.Random(0)
    plan = Plan(url=postgresql.fresh(), state=tmp_path)
    answers: dict[int, Answered] = {}
    for kill in range(KILLS):
        answers |= {one.index: one for one in kill_at_work(plan, chance, at_start=kill % 5 == 1)}
        assert what_is_lost(plan, answers) == []
    assert len(answers) > KILLS
