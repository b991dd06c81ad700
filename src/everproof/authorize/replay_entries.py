"""What replay makes of entries as they stand in the ledger, and of the people whom a bundle moves between groups."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

import msgspec

from everproof.authorize.authorizer import ENTRY_KIND
from everproof.identity import people_of
from everproof.identity.people import People, Person
from everproof.kernel.words import Entry, Ref
from everproof.policy import Engine
from everproof.policy.replay import Move, UnwrittenError, past_decision, replay
from everproof.policy.replay_findings import Tally

ENTRY_VERSION: Final = 1

_read: Final = msgspec.json.Decoder(Entry).decode


class Replayer:
    """Decides recorded decisions again, and adds up what comes of them.

    What kind of entry it is, and of when, is taken from within it: what stands beside it in the database is sealed by
    nothing, and whoever can write there could have hidden a decision by it.
    """

    def __init__(self, engine: Engine, tally: Tally, *, since: datetime, moves: Iterable[Move] = ()) -> None:
        self._engine = engine
        self._tally = tally
        self._since = since
        self._moves = {move.principal: move for move in moves}

    def add(self, index: int, entry: bytes | Entry) -> None:
        """Decide one again, if it is a decision of the time that is asked for."""
        try:
            read = _read(entry) if isinstance(entry, bytes) else entry
        except msgspec.MsgspecError:
            self._tally.skip(index, "older")
            return
        if read.kind != ENTRY_KIND or read.at < self._since:
            return
        self._tally.saw(read.at)
        try:
            past = past_decision(bytes(read.body)) if read.version == ENTRY_VERSION else None
        except msgspec.MsgspecError:
            past = None
        if past is None:
            self._tally.skip(index, "older")
            return
        try:
            self._tally.add(replay(self._engine, past, self._moves), index, read.id, read.at)
        except (UnwrittenError, msgspec.MsgspecError):
            self._tally.skip(index, "unwritten")

    def unreadable(self, index: int, kind: str, at: datetime, *, erased: bool) -> None:
        """Count one that nobody can read: erased, or changed."""
        if not erased:
            self._tally.skip(index, "changed")
        elif kind == ENTRY_KIND and at >= self._since:
            self._tally.skip(index, "erased")


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

    def within(folder: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
        return {path: content for path, content in files.items() if path.startswith(folder)}

    told = {
        "trust/": "who comes in as which job, and in which groups, is not decided again",
        "sign-on/": "who signs on as whom, and in which groups, is not decided again",
    }
    return tuple(
        f"{folder} changes: {what}" for folder, what in told.items() if within(folder, before) != within(folder, after)
    )
