"""A process that replays: ``python -I -m everproof.authorize.replay_worker``, asked over its standard input.

The bundle is read here before anywhere else. What takes forever, eats memory or brings the parser down does so in a
process that has a bound on each and that nobody waits for.
"""

import contextlib
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

import msgspec

from everproof.authorize.bundles import require_tests
from everproof.authorize.replay_entries import Replayer
from everproof.authorize.replaying import Job, Range, Reply, Told, read_message, write_message
from everproof.kernel.clock import from_milliseconds
from everproof.kernel.errors import Error
from everproof.kernel.settings import Settings
from everproof.keys import Keyring, open_root_key
from everproof.ledger import LedgerView
from everproof.policy import BundleError, Engine, load_bundle
from everproof.policy.replay_findings import Findings, Tally
from everproof.storage import Storage

MEMORY: Final = 4 << 30
"""Bytes of address space: some ten times what the largest honest bundle takes."""
NICENESS: Final = 5
"""Decisions that somebody waits for come first."""


def part(view: LedgerView, engine: Engine, job: Job, asked: Range) -> Findings:
    """What is found in one range of entries."""
    tally = Tally(engine, job.salt, enforcing=job.enforcing)
    tally.found.entries = asked.end - asked.first
    replayer = Replayer(engine, tally, since=from_milliseconds(job.since), moves=job.moves)
    entries = view.opened(asked.first, asked.end)
    for index in sorted(set(range(asked.first, asked.end)) - {one.index for one in entries}):
        tally.skip(index, "changed")  # it was taken out
    for one in entries:
        if one.entry is not None:
            replayer.add(one.index, one.entry)
        else:
            replayer.unreadable(one.index, one.kind, from_milliseconds(one.at), erased=one.state == "erased")
    return tally.findings()


@contextlib.contextmanager
def opened(database: str, root_key: str, state: Path) -> Iterator[LedgerView]:
    """The ledger, to be read beside a server that may run."""
    storage = Storage.open_read_only(database)
    try:
        yield LedgerView(storage, Keyring(storage, open_root_key(root_key, state)))
    finally:
        storage.close()


def work(job: Job, asked: IO[bytes], told: IO[bytes]) -> None:
    """Replay each range that is asked for, until no more is."""
    bundle = load_bundle(job.files, commit=job.commit)
    settings = Settings(state=Path(job.state), database=job.database, root_key=job.root_key)
    with opened(settings.database_url, settings.root_key, settings.state) as view:
        engine = Engine(bundle)
        if job.bounded:
            require_tests(engine)
        write_message(told, Reply(digest=bundle.digest))
        while (message := read_message(asked)) is not None:
            found = part(view, engine, job, msgspec.msgpack.decode(message, type=Range))
            write_message(told, Reply(findings=found))


def main() -> int:
    """Do one job; what is wrong is told as data."""
    asked, told = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints, prints elsewhere
    message = read_message(asked)
    if message is None:
        return 2
    job = msgspec.msgpack.decode(message, type=Job)
    if job.bounded:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.nice(NICENESS)
    try:
        work(job, asked, told)
    except Error as error:
        further = error.further if isinstance(error, BundleError) else ()
        told_of = [Told(one.message, one.place, one.todo, getattr(one, "excerpt", "")) for one in (error, *further)]
        write_message(told, Reply(error=error.code, told=tuple(told_of)))
        return 1
    except BrokenPipeError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
