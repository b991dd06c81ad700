"""Runs are kept alike on both databases."""

from datetime import timedelta

from everproof.delivery import Result, Run
from everproof.delivery.store import find_run, forget_runs, insert_run, list_runs, set_credentials, set_result
from everproof.kernel.ids import new_id
from everproof.kernel.words import Ref
from everproof.storage import Storage, Transaction
from tests.conftest import SettableClock


def a_run(clock: SettableClock, **changes: object) -> Run:
    told: dict[str, object] = {
        "id": new_id("run"), "stage": "build", "principal": Ref("Job", "github/74/1"), "program": "make",
        "resource": Ref("Repository", "acme/shop"), "digest": "0" * 64, "credentials": ("cred_1",), "holder": "job",
        "key": "step", "started": clock.now(), "expires": clock.now() + timedelta(minutes=5),
    }  # fmt: skip
    return Run(**{**told, **changes})  # type: ignore[arg-type]


async def test_a_run_from_its_beginning_to_its_end(storage: Storage, clock: SettableClock) -> None:
    run, other = a_run(clock), a_run(clock, stage="test")
    later = a_run(clock, id=run.id, credentials=("cred_1", "cred_2"), expires=clock.now() + timedelta(minutes=9))

    def change(tx: Transaction) -> list[bool]:
        insert_run(tx, run)
        insert_run(tx, other)
        done = [set_credentials(tx, later), set_result(tx, run.id, Result(signal=9, killed="revoked"))]
        return [*done, set_credentials(tx, run), set_result(tx, run.id, Result(exit_status=0))]

    assert await storage.write(change) == [True, True, False, False]
    with storage.reading() as connection:
        found = find_run(connection, run.id)
        assert [one.id for one in list_runs(connection, before="", stage="test", principal="", limit=9)] == [other.id]
        assert len(list_runs(connection, before="", stage="", principal="github/74/1", limit=9)) == 2
        assert find_run(connection, "run_none") is None
    assert found is not None
    assert found.credentials == ("cred_1", "cred_2")
    assert found.result == Result(signal=9, killed="revoked")
    assert found.ended is not None

    assert await storage.write(lambda tx: forget_runs(tx, clock.now())) == 0
    clock.advance(timedelta(days=1))
    assert await storage.write(lambda tx: forget_runs(tx, clock.now())) == 2
