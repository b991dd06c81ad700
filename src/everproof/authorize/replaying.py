"""Replaying the ledger by a bundle that does not rule: in processes of their own, the newest decisions first.

The one who asks hands out ranges of entries, a part each, to whichever process is idle, and adds up what comes back.
Nothing is kept but counts and examples, so that millions of entries take the memory of one part. Where the time is over
before the entries are, the result says that it is not complete.
"""

import asyncio
import contextlib
import os
import secrets
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import datetime
from typing import IO, Final, TypeAlias

import msgspec

from everproof.authorize.doors import enforces_more
from everproof.authorize.replay_entries import moves, notes
from everproof.kernel.clock import milliseconds
from everproof.kernel.errors import Error, InputError, UnavailableError
from everproof.kernel.settings import Settings
from everproof.ledger import LedgerView
from everproof.policy import BundleError
from everproof.policy.replay import Move
from everproof.policy.replay_findings import Findings, Tally

PART: Final = 2_048
"""Entries handed out at once: a quarter of a second's work, which is how often progress is told."""

ALONE: Final = 10_000
"""Entries that one process is done with before a second has started."""

MAX_MESSAGE: Final = 64 << 20
END_SECONDS: Final = 2.0
_LENGTH_BYTES: Final = 4

Progress: TypeAlias = Callable[[int, int], None]
"""Called with how many entries are done, and of how many."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What a process needs to begin. ``since`` is in milliseconds; ``bounded``: in memory, and tested first."""

    files: dict[str, bytes]
    commit: str
    database: str
    root_key: str
    state: str
    salt: bytes
    since: int
    enforcing: bool
    moves: tuple[Move, ...]
    bounded: bool


class Range(msgspec.Struct, frozen=True):
    """The entries to replay next: from index ``first`` up to ``end``."""

    first: int
    end: int


class Told(msgspec.Struct, frozen=True):
    """An error, as it goes from one process to another."""

    message: str
    place: str | None = None
    todo: str | None = None
    excerpt: str = ""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What a process says: at first its bundle's digest, then what it found; or what is wrong."""

    digest: str = ""
    findings: Findings | None = None
    error: str = ""
    told: tuple[Told, ...] = ()


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """What came of replaying. ``complete``: every entry of the time asked for was looked at, not the newest alone."""

    digest: str
    findings: Findings
    of: int
    complete: bool
    seconds: float
    notes: tuple[str, ...] = ()


def read_message(stream: IO[bytes]) -> bytes | None:
    """The next message; None where there are no more."""
    head = stream.read(_LENGTH_BYTES)
    if len(head) < _LENGTH_BYTES:
        return None
    length = int.from_bytes(head, "big")
    body = stream.read(length)
    return body if len(body) == length else None


def write_message(stream: IO[bytes], value: msgspec.Struct) -> None:
    """Send one message."""
    stream.write(_framed(value))
    stream.flush()


def _framed(value: msgspec.Struct) -> bytes:
    body = msgspec.msgpack.encode(value)
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body


async def replay_ledger(
    view: LedgerView,
    settings: Settings,
    files: Mapping[str, bytes],
    *,
    since: datetime,
    commit: str = "",
    processes: int | None = None,
    seconds: float | None = None,
    ruling: Mapping[str, bytes] | None = None,
    bounded: bool = False,
    progress: Progress = lambda _done, _of: None,
) -> Replay:
    """Every decision recorded since then, decided by the bundle in ``files``.

    ``ruling`` is what these would take the place of: a door that observes and would enforce, and people who would move
    between groups, count as what they would come to. ``bounded``: for a bundle that nobody has looked at
    yet, in the server.

    Raises:
        InputError: the bundle cannot rule; with its place.
        UnavailableError: a process could not do it.
    """
    started = time.monotonic()
    before = files if ruling is None else ruling
    # In threads: the files are large, perhaps, and the database far away.
    first, end = await asyncio.to_thread(lambda: (view.since(since), view.length()))
    moved, told = await asyncio.to_thread(lambda: (moves(before, files), notes(before, files)))
    job = Job(
        files=dict(files),
        commit=commit,
        database=settings.database_url,
        root_key=settings.root_key,
        state=str(settings.state),
        salt=secrets.token_bytes(16),
        since=milliseconds(since),
        enforcing=enforces_more(before, files),
        moves=moved,
        bounded=bounded,
    )
    handing = _Handing(job, first, end, progress)
    wanted = processes or min(2, os.cpu_count() or 1)
    if end - first <= ALONE and processes is None:
        wanted = 1
    complete = True
    try:
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
            for _ in range(wanted):
                group.create_task(handing.work())
    except TimeoutError:
        complete = False
    except BaseExceptionGroup as failures:
        raise _first(failures) from None
    return Replay(
        digest=handing.digest,
        findings=handing.tally.findings(),
        of=end - first,
        complete=complete,
        seconds=time.monotonic() - started,
        notes=told,
    )


class _Handing:
    """Hands out the ranges, the newest first, and adds up what comes back."""

    def __init__(self, job: Job, first: int, end: int, progress: Progress) -> None:
        self._job = job
        self._of = end - first
        self._ranges: Iterator[Range] = (Range(max(first, upper - PART), upper) for upper in range(end, first, -PART))
        self._done = 0
        self._progress = progress
        self.tally = Tally(None, job.salt)
        self.digest = ""

    async def work(self) -> None:
        """One process, from its start to its end."""
        async with _process() as process:
            assert process.stdin is not None
            process.stdin.write(_framed(self._job))
            self.digest = (await _reply(process)).digest
            for part in self._ranges:
                process.stdin.write(_framed(part))
                found = (await _reply(process)).findings
                assert found is not None
                self.tally.merge(found)
                self._done += part.end - part.first
                self._progress(self._done, self._of)


@contextlib.asynccontextmanager
async def _process() -> AsyncIterator[Process]:
    """A worker. It ends by itself when nobody asks any more, and is made to end where it does not."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-m", "everproof.authorize.replay_worker"), stdin=PIPE, stdout=PIPE
    )
    try:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), END_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _reply(process: Process) -> Reply:
    assert process.stdout is not None
    try:
        length = int.from_bytes(await process.stdout.readexactly(_LENGTH_BYTES), "big")
        if length > MAX_MESSAGE:
            raise UnavailableError("the process that replays says more than it can have to say")
        reply = msgspec.msgpack.decode(await process.stdout.readexactly(length), type=Reply)
    except (asyncio.IncompleteReadError, ConnectionError):
        raise UnavailableError(
            "the process that replays ended before it was done",
            todo="look for a policy that is too deep or too large: everproof policy check",
        ) from None
    if reply.error:
        raise _error(reply)
    return reply


def _error(reply: Reply) -> Error:
    first, *further = reply.told
    if reply.error == BundleError.code:
        return _bundle_error(first, tuple(map(_bundle_error, further)))
    kind = InputError if reply.error == InputError.code else UnavailableError
    return kind(first.message, place=first.place, todo=first.todo)


def _bundle_error(told: Told, further: tuple[BundleError, ...] = ()) -> BundleError:
    return BundleError(told.message, place=told.place, todo=told.todo, excerpt=told.excerpt, further=further)


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    one = failures.exceptions[0]
    return _first(one) if isinstance(one, BaseExceptionGroup) else one
