"""What a replay found: every count exact, whatever its size, and of each group one example.

Memory stays bounded however many decisions there are, and no flood of them crowds out the few that matter. Groups are
kept apart by what turns, by the type of their principals and by whether these were only vouched for, and each kind has
room of its own. Beyond it, which groups are shown is drawn by a salted hash: nobody can choose names that push those of
others out, and the draw is the same in whatever parts and order the decisions were read.
"""

import hashlib
import heapq
from collections.abc import Iterable
from datetime import datetime
from typing import Final, Literal, TypeAlias

import msgspec

from everproof.kernel.canonical import encode
from everproof.kernel.words import Ref
from everproof.policy.engine import Engine
from everproof.policy.replay import How, Replayed, Turn

MAX_GROUPS: Final = 500
"""Groups shown of one kind, some 1 kB each."""

MAX_SHARES: Final = 10_000
"""Kinds of principal and action that are counted apart; a schema has some hundred."""

MAX_DIFFERING: Final = 10
"""Entries named whose bytes came out otherwise: each is a fault of ours, or a changed ledger."""


MAX_SKIPPED: Final = 100
"""Entries named that could not be decided again, the newest."""

Why: TypeAlias = Literal["erased", "changed", "older", "unwritten", "other_engine"]


class Example(msgspec.Struct, frozen=True):
    """One decision that would turn: its entry, what was asked, and what would be answered."""

    index: int
    id: str
    at: datetime
    action: str
    resource: Ref
    reason: str = ""


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """The decisions of one principal that turn by the same policies; the newest is the example."""

    turn: Turn
    how: How
    policies: tuple[str, ...]
    principal: Ref
    vouched: bool = False
    count: int
    example: Example


class Rest(msgspec.Struct, frozen=True):
    """Decisions that turn beyond the groups that are shown of their kind."""

    turn: Turn
    type: str
    vouched: bool
    count: int


class Share(msgspec.Struct, frozen=True):
    """Of one type of principal and one action: decisions that were allowed, and of these those that would be denied."""

    type: str
    action: str
    allowed: int
    denied: int


class Skipped(msgspec.Struct, frozen=True, order=True):
    """A decision that could not be decided again, or whose bytes could not be compared, and why."""

    index: int
    why: Why


class Findings(msgspec.Struct, kw_only=True):
    """What was found in some part of the ledger, or in all of it."""

    entries: int = 0
    decisions: int = 0
    denied: int = 0
    """Were allowed, and would be denied."""
    allowed: int = 0
    """Were denied, and would be allowed."""
    elsewhere: int = 0
    """Answered as before, by other policies or for other errors."""
    refused: int = 0
    """Policy allowed them and something else refused: a scope, a revocation. They stay refused."""
    observed: int = 0
    """Were let pass by a door that only observes, and policy would deny them again."""
    identical: int = 0
    """Decided by this very bundle and engine, and each byte came out again."""
    differing: int = 0
    """Decided by this very bundle and engine, and something came out otherwise."""
    differing_at: tuple[int, ...] = ()
    other_engine: int = 0
    """Decided by this very bundle with another version of engine or schema: bytes are not compared."""
    erased: int = 0
    changed: int = 0
    older: int = 0
    unwritten: int = 0
    skipped: tuple[Skipped, ...] = ()
    """Of these five kinds, the newest, with why."""
    shares: tuple[Share, ...] = ()
    groups: tuple[Group, ...] = ()
    rest: tuple[Rest, ...] = ()
    oldest: datetime | None = None
    newest: datetime | None = None

    @property
    def unreadable(self) -> int:
        """Decisions that cannot be replayed."""
        return self.erased + self.changed + self.older + self.unwritten


_COUNTS: Final = (
    "entries", "decisions", "denied", "allowed", "elsewhere", "refused", "observed", "identical", "differing",
    "other_engine", "erased", "changed", "older", "unwritten",
)  # fmt: skip

_Kind: TypeAlias = tuple[Turn, str, bool]
_Key: TypeAlias = tuple[Turn, How, tuple[str, ...], Ref, bool]


class _Room:
    """The groups of one kind that are shown: those with the smallest hashes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._groups: dict[bytes, Group] = {}
        self._largest: list[tuple[int, bytes]] = []
        self.rest = 0

    def add(self, name: bytes, group: Group) -> None:
        known = self._groups.get(name)
        if known is not None:
            example = max(known.example, group.example, key=lambda one: one.index)
            self._groups[name] = msgspec.structs.replace(known, count=known.count + group.count, example=example)
            return
        size = int.from_bytes(name, "big")
        if len(self._groups) >= self._most:
            if -self._largest[0][0] < size:
                self.rest += group.count
                return
            _, out = heapq.heappop(self._largest)
            self.rest += self._groups.pop(out).count
        self._groups[name] = group
        heapq.heappush(self._largest, (-size, name))

    def groups(self) -> Iterable[Group]:
        return self._groups.values()


class Tally:
    """Adds up what is found. ``salt`` is the same for all parts of one replay, and nobody's choice."""

    def __init__(self, engine: Engine | None, salt: bytes, *, enforcing: bool = False, most: int = MAX_GROUPS) -> None:
        self._engine = engine
        self._salt = salt
        self._enforcing = enforcing
        self._most = most
        self._found = Findings()
        self._rooms: dict[_Kind, _Room] = {}
        self._shares: dict[tuple[str, str], list[int]] = {}

    @property
    def found(self) -> Findings:
        """The counts, to be added to."""
        return self._found

    def add(self, replayed: Replayed, index: int, id_: str, at: datetime) -> None:
        """Count one decision that was replayed."""
        found, past = self._found, replayed.past
        found.decisions += 1
        self._compare(replayed, index)
        turn = replayed.turn(enforcing=self._enforcing)
        if past.decision == "allow" or (self._enforcing and past.decision == "would_deny" and past.refusal is None):
            share = self._share(past.principal.type, past.action)
            share[0] += 1
            share[1] += turn == "denied"
        if turn is None:
            if past.refusal is not None:
                found.refused += 1
            elif past.decision == "would_deny":
                found.observed += 1
            decision = replayed.verdict.decision
            found.elsewhere += (decision.reasons, decision.errors) != (past.reasons, past.errors)
            return
        if turn == "denied":
            found.denied += 1
        else:
            found.allowed += 1
        how, policies = replayed.why()
        example = Example(index, id_, at, past.action, past.resource, replayed.verdict.reason)
        vouched = past.proof.vouched_by is not None
        self._put(
            Group(
                turn=turn,
                how=how,
                policies=policies,
                principal=past.principal,
                vouched=vouched,
                count=1,
                example=example,
            )
        )

    def skip(self, index: int, why: Why) -> None:
        """Count one that cannot be decided again, or whose bytes cannot be compared."""
        found = self._found
        setattr(found, why, getattr(found, why) + 1)
        self._name_skipped((Skipped(index, why),))

    def _name_skipped(self, more: tuple[Skipped, ...]) -> None:
        if more:
            self._found.skipped = tuple(sorted((*self._found.skipped, *more), reverse=True)[:MAX_SKIPPED])

    def saw(self, at: datetime) -> None:
        """Note the time of an entry."""
        found = self._found
        found.oldest = at if found.oldest is None else min(found.oldest, at)
        found.newest = at if found.newest is None else max(found.newest, at)

    def merge(self, other: Findings) -> None:
        """Add what was found in another part."""
        found = self._found
        for name in _COUNTS:
            setattr(found, name, getattr(found, name) + getattr(other, name))
        found.differing_at = tuple(sorted((*found.differing_at, *other.differing_at))[:MAX_DIFFERING])
        self._name_skipped(other.skipped)
        for at in (other.oldest, other.newest):
            if at is not None:
                self.saw(at)
        for one in other.shares:
            share = self._share(one.type, one.action)
            share[0] += one.allowed
            share[1] += one.denied
        for group in other.groups:
            self._put(group)
        for rest in other.rest:
            self._room((rest.turn, rest.type, rest.vouched)).rest += rest.count

    def findings(self) -> Findings:
        """All of it, the largest groups first."""
        groups = [group for room in self._rooms.values() for group in room.groups()]
        groups.sort(key=lambda one: (one.turn != "denied", -one.count, one.principal, one.how, one.policies))
        rest = [Rest(*kind, room.rest) for kind, room in sorted(self._rooms.items()) if room.rest]
        shares = [Share(*kind, *counts) for kind, counts in sorted(self._shares.items())]
        return msgspec.structs.replace(self._found, groups=tuple(groups), rest=tuple(rest), shares=tuple(shares))

    def _compare(self, replayed: Replayed, index: int) -> None:
        found, past, engine = self._found, replayed.past, self._engine
        if engine is None or past.bundle != engine.bundle.digest:
            return
        if past.engine != engine.version:
            self.skip(index, "other_engine")
        elif replayed.identical:
            found.identical += 1
        else:
            found.differing += 1
            if len(found.differing_at) < MAX_DIFFERING:
                found.differing_at = (*found.differing_at, index)

    def _share(self, type_: str, action: str) -> list[int]:
        kind = (type_, action)
        if kind not in self._shares and len(self._shares) >= MAX_SHARES:
            kind = (type_, "")
        return self._shares.setdefault(kind, [0, 0])

    def _room(self, kind: _Kind) -> _Room:
        found = self._rooms.get(kind)
        if found is None:
            found = self._rooms[kind] = _Room(self._most)
        return found

    def _put(self, group: Group) -> None:
        key: _Key = (group.turn, group.how, group.policies, group.principal, group.vouched)
        name = hashlib.blake2b(encode(key), key=self._salt, digest_size=16).digest()
        self._room((group.turn, group.principal.type, group.vouched)).add(name, group)
