"""All processes that descend from this one, and the end of all of them.

A process that forks while it is looked for could leave a child that nobody saw. So all are stopped first, again and
again until no new one is found: what is stopped does not fork. Orphans come to us (`shield.adopt`), so a daemon that
forked twice, in a session of its own, is found like any other.
"""

import os
import signal
import time
from contextlib import suppress
from typing import Final, NamedTuple

ROUNDS: Final = 200
"""A fork bomb is stopped in a few rounds; what is not dead after so many cannot be killed."""
PAUSE_SECONDS: Final = 0.01


class Process(NamedTuple):
    """A process: its pid is its own as long as ``started``, in clock ticks since the boot, is the same."""

    pid: int
    started: bytes


def kill_all() -> int:
    """Kill every descendant, and reap it; how many there were.

    Whoever runs as another account (a program with setuid) is not ours to kill, and is left.
    """
    seen: set[Process] = set()
    for _ in range(ROUNDS):
        while new := [one for one in descendants() if one not in seen]:
            seen.update(new)
            for one in new:
                _send(one, signal.SIGSTOP)
        left = descendants()
        for one in left:
            _send(one, signal.SIGKILL)
        reap()
        if not left:
            break
        time.sleep(PAUSE_SECONDS)
    return len(seen)


def reap() -> dict[int, int]:
    """The pids and wait statuses of the children that have ended."""
    ended = {}
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            ended[pid] = status
    return ended


def descendants() -> list[Process]:
    """Every living process below this one.

    By the kernel's own lists of children, not by a look at all of /proc: that takes longer than a process of a fork
    bomb lives.
    """
    found: list[Process] = []
    todo = [os.getpid()]
    while todo:
        for child in _children(todo.pop()):
            if (fields := _stat(child)) is not None and fields[0] not in {b"Z", b"X"}:
                found.append(Process(child, fields[19]))
                todo.append(child)
    return found


def _children(pid: int) -> list[int]:
    """The children of each thread of a process (proc_pid_task(5)). One that is forked meanwhile may be missing."""
    found: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb", buffering=0) as file:
                found += map(int, file.readall().split())
    return found


def _stat(pid: int) -> list[bytes] | None:
    """The fields of a process behind its name, which may hold anything: state, parent, ..., start."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            return file.read(4096).rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _send(one: Process, number: int) -> None:
    """Send a signal to the very process that was seen, not to another that has its number by now."""
    try:
        handle = os.pidfd_open(one.pid)
    except (ProcessLookupError, OSError):
        return
    try:
        fields = _stat(one.pid)
        if fields is not None and fields[19] == one.started:
            with suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(handle, number)
    finally:
        os.close(handle)
