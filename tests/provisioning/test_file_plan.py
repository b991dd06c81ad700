"""The plan of a people.toml says what applying it then does."""

from datetime import UTC, datetime
from pathlib import Path

from everproof.identity import apply_people, read_people, roster
from everproof.identity.directory import Directory
from everproof.kernel.words import Ref
from everproof.provisioning.file_plan import FilePlan, Joins, Leaves, Moves, Regroups, plan_file
from everproof.storage import Storage
from tests.conftest import SettableClock

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEXAhAAa23Te3IXhAxl3eSkvuQ2Qb6QiW3gpLikomgjX"

BEFORE = """
[people.alice]
name = "Alice"
groups = ["developers"]
[people.bob]
[groups.developers]
"""
AFTER = f"""
[people.alice]
name = "Alice A."
groups = ["staff"]
keys = [{{ public = "{KEY}" }}]
[people.carol]
groups = ["staff"]
[people.eve]
emails = ["dan@example.com"]
[groups.developers]
groups = ["staff"]
[groups.staff]
"""


async def test_the_plan_is_what_happens(tmp_path: Path, clock: SettableClock) -> None:
    storage = Storage.open(f"sqlite:///{tmp_path / 'everproof.db'}", clock=clock)
    storage.write_now(lambda tx: apply_people(tx, read_people(BEFORE)))
    storage.write_now(lambda tx: roster.add_principal(tx, Ref("User", "dan"), emails=["dan@example.com"]))
    directory, people = Directory(storage), read_people(AFTER)
    plan = plan_file(people, directory, NOW)
    [fingerprint] = plan.moves[0].keys_added
    assert plan == FilePlan(
        joins=(Joins(person="carol", groups=("staff",), keys=()), Joins(person="eve", groups=(), keys=())),
        moves=(
            Moves(
                person="alice", joins=("staff",), parts=("developers",), changed=("name",), keys_added=(fingerprint,)
            ),
        ),
        leaves=(Leaves(person="bob", keys=()),),
        groups=(
            Regroups(group="developers", joins=("staff",), parts=(), new=False),
            Regroups(group="staff", joins=(), parts=(), new=True),
        ),
        conflicts=("dan@example.com of eve is dan's",),
    )
    good = read_people(AFTER.replace("dan@", "eve@"))
    storage.write_now(lambda tx: apply_people(tx, good))
    assert plan_file(good, directory, NOW).is_empty
    back = plan_file(read_people(AFTER.replace("dan@", "eve@") + "[people.bob]\n[people.dan]\n"), directory, NOW)
    assert back.joins == (Joins(person="bob", groups=(), keys=(), back=True),)
    assert back.conflicts == ("dan is on record already, enrolled here",)
    gone = plan_file(read_people(""), directory, NOW)
    assert [(one.person, one.keys) for one in gone.leaves] == [("alice", (fingerprint,)), ("carol", ()), ("eve", ())]
    storage.close()
