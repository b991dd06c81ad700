"""The git processes that `everproof git serve` started, and who each of them serves.

A hook must not be told who pushes by its environment: whoever can set a variable on the way to it (AcceptEnv, a
wrapper, another hook) could be anyone. So `git serve`, before it becomes git-receive-pack by exec, asks here, and what
is kept is the pid that the kernel names at the other end of the unix socket, with its start time; exec changes neither.
When a hook asks, the kernel names its pid too, and its parents are walked up to a process that is kept here. A process
cannot choose its parents, nor the kernel's word at the socket, so only hooks of that very git-receive-pack are answered
for that person.

What is kept is the key that the process serves, not what its holder might do: between a connection's first byte and
its push can lie days, and who pushes is judged as of the push.

This lives in memory: a session is as long as a connection, and after a restart of the server a push is simply sent
again.
"""

from typing import Final

import msgspec

from everproof.kernel.errors import ConflictError, UnavailableError
from everproof.server.git.processes import Process, alive, lineage
from everproof.server.git.repositories import Repository

MAX_SESSIONS: Final = 10_000
"""Pushes at one time; each is a process of this machine, which has fewer."""


class Session(msgspec.Struct, frozen=True):
    """One push that is under way: for the holder of which public key, in SSH's wire form, and into what."""

    process: Process
    key: bytes
    repository: Repository


class Sessions:
    """The pushes under way."""

    def __init__(self) -> None:
        self._open: dict[Process, Session] = {}

    def open(self, pid: int, key: bytes, repository: Repository) -> Session:
        """Tie the process ``pid`` to the key that it serves.

        Raises:
            ConflictError: the process is gone, or is tied already.
            UnavailableError: more pushes are under way than there can be.
        """
        process = next(lineage(pid), None)
        if process is None:
            raise ConflictError("the process that asked is gone")
        if process in self._open:
            raise ConflictError("this process serves someone already")
        if len(self._open) >= MAX_SESSIONS:
            self._sweep()
            if len(self._open) >= MAX_SESSIONS:
                raise UnavailableError("too many pushes at one time", todo="push again in a minute")
        session = self._open[process] = Session(process, key, repository)
        return session

    def take(self, pid: int, repository: Repository) -> Session | None:
        """The session that the hook ``pid`` runs in, once: git-receive-pack runs this hook one time."""
        for process in lineage(pid):
            session = self._open.get(process)
            if session is not None:
                if session.repository.path != repository.path:
                    return None
                return self._open.pop(process)
        return None

    def _sweep(self) -> None:
        for process in [process for process in self._open if not alive(process)]:
            del self._open[process]
