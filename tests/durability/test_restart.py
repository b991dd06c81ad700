"""What a start finds of the run before, and whom it refuses."""

import sys
from datetime import timedelta
from pathlib import Path
from subprocess import PIPE, Popen

import pytest
from sqlalchemy import text

from everproof.kernel.clock import ClockBehindError
from everproof.kernel.errors import ConflictError
from everproof.storage import Storage
from everproof.storage.migrate import NewerDatabaseError
from tests.conftest import SettableClock

HOLDER = """
import sys
from pathlib import Path
from everproof.storage import Storage
storage = Storage.open(sys.argv[1], state=Path(sys.argv[2]))
print("open", flush=True)
sys.stdin.read()
"""


def test_a_newer_database_is_refused_and_left_as_it_is(database_url: str) -> None:
    storage = Storage.open(database_url)
    storage.write_now(lambda tx: tx.connection.execute(text("update alembic_version set version_num = '9999'")))
    storage.close()
    for opens in (Storage.open, Storage.open_read_only):
        with pytest.raises(NewerDatabaseError, match="9999") as caught:
            opens(database_url)
        assert "newer Everproof" in (caught.value.todo or "")


def test_time_does_not_run_backwards_over_a_restart(database_url: str, clock: SettableClock) -> None:
    storage = Storage.open(database_url, clock=clock)
    clock.advance(timedelta(hours=1))
    storage.write_now(lambda tx: tx.publish("any", "any"))
    storage.close()
    reached = clock.time
    clock.time -= timedelta(minutes=5)
    storage = Storage.open(database_url, clock=clock)
    assert storage.clock.now() == reached
    with pytest.raises(ClockBehindError):
        storage.clock.issuing_time()
    storage.close()


def test_a_second_process_on_the_same_state_is_refused_by_name(database_url: str, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with Popen([sys.executable, "-c", HOLDER, database_url, state], stdin=PIPE, stdout=PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(ConflictError, match=f"in use by process {holder.pid}") as caught:
            Storage.open(database_url, state=state)
        assert caught.value.place == str(state)
        assert "stop that server" in (caught.value.todo or "")
        holder.kill()
    other = tmp_path / "other.db"
    Storage.open(f"sqlite:///{other}", state=state).close()  # the kernel gave the lock of the dead back
