import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from everproof.kernel.errors import ConflictError, RefusedError
from everproof.kernel.settings import GitDoor as Settings
from everproof.server.git import GitDoor
from everproof.server.git.processes import Process, alive, lineage
from everproof.server.git.repositories import Repository
from everproof.server.git.sessions import Sessions
from everproof.server.git.wire import KeyQuestion
from everproof.server.http.call import Peer
from tests.git.conftest import Running

KEY = b"a public key"
APP = Repository("team/app", Path("/srv/team/app.git"))
WEB = Repository("team/web", Path("/srv/team/web.git"))

# A name with brackets and blanks in it, as a process may give itself, so that a careless reader of stat goes astray.
CHILD = "open('/proc/self/comm', 'w').write(') R 1 1 (x'); print(flush=True); input()"


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.stdin.write(b"\n")


def test_lineage_leads_to_the_parents_whatever_a_process_calls_itself(child: subprocess.Popen[bytes]) -> None:
    found = [process.pid for process in lineage(child.pid)]
    assert found[:2] == [child.pid, os.getpid()]
    assert os.getppid() in found


def test_process_with_a_used_pid_is_another_process(child: subprocess.Popen[bytes]) -> None:
    process = next(lineage(child.pid))
    assert alive(process)
    assert not alive(Process(process.pid, process.started - 1))
    assert list(lineage(2**22 + 1)) == []


def test_session_is_taken_once_by_a_descendant_for_its_own_repository(child: subprocess.Popen[bytes]) -> None:
    sessions = Sessions()
    sessions.open(os.getpid(), KEY, APP)
    assert sessions.take(child.pid, WEB) is None
    session = sessions.take(child.pid, APP)
    assert session is not None
    assert session.key == KEY
    assert sessions.take(child.pid, APP) is None


def test_session_of_a_child_is_not_its_parents(child: subprocess.Popen[bytes]) -> None:
    sessions = Sessions()
    sessions.open(child.pid, KEY, APP)
    assert sessions.take(os.getpid(), APP) is None


def test_process_serves_one_person_only(child: subprocess.Popen[bytes]) -> None:
    sessions = Sessions()
    sessions.open(child.pid, KEY, APP)
    with pytest.raises(ConflictError):
        sessions.open(child.pid, KEY, APP)
    with pytest.raises(ConflictError, match="gone"):
        sessions.open(2**22 + 1, KEY, APP)


async def test_other_accounts_and_the_network_are_not_answered(lab: Running) -> None:
    identity: object = None
    door = GitDoor(
        Settings(root=lab.root, user="nobody"),
        storage=lab.storage,
        authorizer=lab.authorizer,
        identity=identity,  # type: ignore[arg-type]
        mode=lambda: "enforce",
    )
    question = KeyQuestion(user="nobody", key=b"x" * 32)
    for peer in (None, Peer(pid=1, uid=12345, gid=12345)):
        with pytest.raises(RefusedError, match="only the account 'nobody'"):
            await door.key(peer, question)
