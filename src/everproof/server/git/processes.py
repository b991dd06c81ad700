"""Which process is which: a pid with its start time names one process for good, a pid alone does not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

MAX_DEPTH: Final = 32
"""From a hook up to sshd there are five processes; deeper is not a hook of ours."""

_PARENT: Final = 1
_START: Final = 19
"""Fields of /proc/PID/stat after the name in brackets: ppid is field 4, starttime field 22 (proc(5))."""


class Process(msgspec.Struct, frozen=True):
    """One process of this machine; ``started`` is in clock ticks since boot."""

    pid: int
    started: int


def lineage(pid: int) -> Iterator[Process]:
    """The process ``pid``, its parent, and so on up; ends early where one is gone or hidden.

    A process whose parent died hangs from another one, so its chain is cut and leads to nobody's session.
    """
    youngest: int | None = None
    for _ in range(MAX_DEPTH):
        found = _stat(pid)
        if found is None:
            return
        process, parent = found
        # A parent that is younger than its child has only been given the number of the real one.
        if youngest is not None and process.started > youngest:
            return
        youngest = process.started
        yield process
        if parent <= 1:
            return
        pid = parent


def alive(process: Process) -> bool:
    """Whether this very process still runs."""
    found = _stat(process.pid)
    return found is not None and found[0] == process


def _stat(pid: int) -> tuple[Process, int] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name in brackets is the process's own choice and may hold brackets and blanks: cut after the last one.
    fields = text.rpartition(")")[2].split()
    return Process(pid, int(fields[_START])), int(fields[_PARENT])
