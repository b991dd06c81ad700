"""What keeps a step from what its parent knows, and keeps it a child of its parent (Linux).

Processes of one account may read each other's memory and environment. So this process is made undumpable, which takes
`/proc/PID/environ`, `mem`, `fd` and `maps` from all but the superuser, and the environment that it was given is wiped
from its memory, which takes it from the superuser too. What stands above this process is not ours to hide.
"""

import ctypes
import os
import sys
from typing import Final

from everproof.kernel.errors import InputError, UnavailableError

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_CHILD_SUBREAPER: Final = 36
_ENV_START: Final = 50 - 3
"""Where `/proc/self/stat` tells the environment's first address, counted from behind the command's name."""


def require_linux() -> None:
    """Hold that this system can do what a step is promised.

    Raises:
        InputError: it is not Linux.
    """
    if not sys.platform.startswith("linux"):
        todo = "run the step on Linux, or in a container"
        raise InputError("only Linux can hold a step's processes together", place=sys.platform, todo=todo)


def hide() -> dict[str, str]:
    """Hide this process, and wipe its environment; what that was."""
    inherited = dict(os.environ)
    _prctl(_PR_SET_DUMPABLE, 0)
    with open("/proc/self/stat", "rb") as file:
        stat = file.read().rpartition(b")")[2].split()
    start, end = int(stat[_ENV_START]), int(stat[_ENV_START + 1])
    os.environ.clear()
    if 0 < start < end:
        ctypes.memset(start, 0, end - start)
    return inherited


def adopt() -> None:
    """Become the parent of every descendant whose own parent ends: none gets away by being orphaned.

    Raises:
        UnavailableError: the kernel does not do it.
    """
    if not _prctl(_PR_SET_CHILD_SUBREAPER, 1):
        raise UnavailableError("the kernel does not let this process adopt orphans")


def die_with_parent(signal_number: int) -> None:
    """In a fresh child: get ``signal_number`` when the parent ends, however it ends."""
    _prctl(_PR_SET_PDEATHSIG, signal_number)


def _prctl(option: int, value: int) -> bool:
    done: int = ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
    return done == 0
