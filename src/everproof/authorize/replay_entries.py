"""What replay makes of entries as they stand in the ledger, and of the people whom a bundle moves between groups."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

import msgspec

from everproof.identity import people_of
from everproof.identity.people import People, Person
from everproof.kernel.words import Entry, Ref
from everproof.policy import Engine
from everproof.policy.replay import Move, PastDecision, UnwrittenError, past_decision, replay
from everproof.policy.replay_findings import Tally

ENTRY_VERSION: Final = 1


class _Entry(msgspec.Struct):
    version: int
    body: PastDecision


_read: Final = msgspec.json.Decoder(_Entry).decode


class Replayer:
    """Decides recorded decisions again, and adds up what comes of them."""

    def __init__(self, engine: Engine, tally: Tally, moves: Iterable[Move] = ()) -> None:
        self._engine = engine
        self._tally = tally
        self._moves = {move.principal: move for move in moves}

    def add(self, index: int, id_: str, at: datetime, entry: bytes | Entry | None, *, erased: bool = False) -> None:
        """Decide one again; None is one that cannot be read, ``erased`` or changed."""
        found = self._tally.found
        self._tally.saw(at)
        if entry is None:
            found.erased += erased
            found.changed += not erased
            return
        try:
            version, past = _past(entry)
        except msgspec.MsgspecError:
            version, past = 0, None
        if version != ENTRY_VERSION or past is None:
            found.older += 1
            return
        try:
            self._tally.add(replay(self._engine, past, self._moves), index, id_, at)
        except (UnwrittenError, msgspec.MsgspecError):
            found.unwritten += 1


def _past(entry: bytes | Entry) -> tuple[int, PastDecision]:
    if isinstance(entry, Entry):
        return entry.version, past_decision(bytes(entry.body))
    read = _read(entry)
    return read.version, read.body


def moves(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> tuple[Move, ...]:
    """Whom ``people.toml`` puts into other groups, or takes off the record, when one bundle follows another.

    Raises:
        InputError: one of the files cannot be read.
    """
    old, new = people_of(before), people_of(after)
    found = []
    for id_ in sorted(old.people.keys() | new.people.keys()):
        was, now = _parents(old, old.people.get(id_)), _parents(new, new.people.get(id_))
        gone = id_ in old.people and id_ not in new.people
        if gone or was != now:
            found.append(
                Move(Ref("User", id_), leaves=tuple(sorted(was - now)), joins=tuple(sorted(now - was)), gone=gone)
            )
    return tuple(found)


def _parents(people: People, person: Person | None) -> frozenset[Ref]:
    if person is None:
        return frozenset()
    found: set[str] = set()
    waiting = list(person.groups)
    while waiting:
        if (id_ := waiting.pop()) not in found:
            found.add(id_)
            waiting.extend(people.groups[id_].groups if id_ in people.groups else ())
    return frozenset({Ref("Space", person.space), *(Ref("Group", id_) for id_ in found)})


def notes(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> tuple[str, ...]:
    """What a bundle changes that no replay can tell the effect of."""

    def trust(files: Mapping[str, bytes]) -> dict[str, bytes]:
        return {path: content for path, content in files.items() if path.startswith("trust/")}

    if trust(before) != trust(after):
        return ("trust/ changes: who comes in as which job, and in which groups, is not decided again",)
    return ()
