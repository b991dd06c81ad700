"""Joiners, movers, leavers: what happens to a person as one effect, which can be looked at before it is done.

What ends here ends in the first commit: the person is nobody, and with them every session, token and grant of theirs,
by lineage, whatever else may fail. What reaches beyond this server is one durable effect with the person's movement as
its argument: applied item by item, verified, and undone as a whole. Above a bound of items it waits for an approval;
the first commit never does.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection

from everproof.identity import credential_store, roster
from everproof.identity import store as identities
from everproof.identity.credentials import end_credentials
from everproof.identity.records import BY_SOURCE, KEY_KINDS, PrincipalRecord
from everproof.identity.sign_on.store import end_link, links_of
from everproof.kernel.errors import NotFoundError
from everproof.kernel.words import Effect, Ref
from everproof.provisioning.reach import AtOnce, Item, Kind, Movement, Reach
from everproof.storage import Storage, Transaction
from everproof.work import Deed, EffectRecord, HopelessError, Plan, Step, Work

ACTION: Final = "identity:administer"
BOUND: Final = 10
"""Things outside that one person's movement may touch before somebody else has to look at it."""
GONE: Final = "left, by decision"
"""Why somebody is disabled whom undoing the effect brings back."""
KINDS: Final[tuple[Kind, ...]] = ("join", "move", "leave")

_AT_ONCE: Final = 500


class Ends(msgspec.Struct, frozen=True):
    """What ends in the first commit: so many of one kind."""

    what: str
    count: int


class Outlook(msgspec.Struct, frozen=True, kw_only=True):
    """What a movement would do, said before it is done. ``needs``: how many people approve what is outside."""

    movement: Movement
    ends: tuple[Ends, ...]
    items: tuple[Item, ...]
    needs: int


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """What a movement did, and the effect that does the rest; None where there is nothing outside."""

    ended: tuple[str, ...]
    effect: EffectRecord | None


class Lifecycle:
    """The movements of people. Rooms that keep something of people register it before the start."""

    def __init__(self, storage: Storage, work: Work) -> None:
        self._storage = storage
        self._effects = work.effects
        self._reaches: dict[str, Reach] = {}
        self._at_once: list[AtOnce] = []
        for kind in KINDS:
            self._effects.register(
                Deed(
                    name=_verb(kind), action=ACTION, plan=_planned, apply=self._apply, verify=self._verify,
                    undo=self._undo, bound=BOUND,
                )
            )  # fmt: skip

    def register(self, reach: Reach) -> None:
        """Let movements reach what ``reach`` knows of."""
        self._reaches[reach.name] = reach

    def end_at_once(self, *own: AtOnce) -> None:
        """Let ``own`` end in the commit in which a person leaves."""
        self._at_once.extend(own)

    def movement(self, person: Ref, kind: Kind, groups: Sequence[str] | None = None) -> Movement:
        """The movement of a person as of now, to ``groups``; None: those that they are in. A query."""
        with self._storage.reading() as connection:
            record = identities.find_principal(connection, person)
            if record is None and kind != "join":
                raise NotFoundError(f"{person} is not on record")
            before = _around(connection, record.groups if record is not None else ())
            wanted = groups if groups is not None else record.groups if record is not None else ()
            after = () if kind == "leave" else _around(connection, wanted)
        return Movement(person=person, kind=kind, before=before, after=after)

    def look(self, movement: Movement) -> Outlook:
        """What it would do. A query; nothing is written, and nobody outside is asked."""
        with self._storage.reading() as connection:
            ends = tuple(self._ends(connection, movement.person)) if movement.kind == "leave" else ()
            items = self._items(connection, movement)
        _, needs = self._effects.plan(_effect(movement, items))
        return Outlook(movement=movement, ends=ends, items=items, needs=needs if items else 0)

    def leave(self, tx: Transaction, person: Ref, by: Ref, reason: str = GONE, *, outside: bool = True) -> Moved:
        """Let a person be nobody at once, and propose the effect for what is outside, unless that is to stay.

        Raises:
            NotFoundError: they are not on record.
        """
        record = identities.find_principal(tx.connection, person)
        if record is None:
            raise NotFoundError(f"{person} is not on record")
        movement = Movement(person=person, kind="leave", before=_around(tx.connection, record.groups))
        ended = roster.disable(tx, person, reason)
        if record.disabled_reason == GONE and reason not in {GONE, *BY_SOURCE}:
            roster.rewrite(tx, _named(tx.connection, person, reason))  # to undo the leaving brings them back no more
        for own in self._at_once:
            own.end(tx, person)
        return Moved(ended=ended, effect=self._propose(tx, movement, by) if outside else None)

    def move(self, tx: Transaction, record: PrincipalRecord, groups: Sequence[str], by: Ref, kind: Kind) -> Moved:
        """Let a person be in exactly ``groups``, and propose the effect for what is outside.

        Raises:
            InputError: not the name of a group.
        """
        before = () if kind == "join" else _around(tx.connection, record.groups)
        if tuple(groups) != record.groups:
            roster.set_groups(tx, record.ref, groups)
        movement = Movement(person=record.ref, kind=kind, before=before, after=_around(tx.connection, groups))
        return Moved(ended=(), effect=self._propose(tx, movement, by))

    def end_keys(self, tx: Transaction, person: Ref, reason: str) -> None:
        """End a person's keys, factors and accounts at sign-on providers too, for good."""
        for one in identities.keys_of(tx.connection, person):
            if one.revoked_at is None:
                roster.revoke_key(tx, one.name, "superseded")
        end_credentials(tx, credential_store.ids_of_principal(tx.connection, person, but=()), reason)
        for link in links_of(tx.connection, person):
            end_link(tx, link)

    def _propose(self, tx: Transaction, movement: Movement, by: Ref) -> EffectRecord | None:
        items = self._items(tx.connection, movement)
        return self._effects.propose(tx, _effect(movement, items), by=by) if items else None

    def _items(self, connection: Connection, movement: Movement) -> tuple[Item, ...]:
        return tuple(item for reach in self._reaches.values() for item in reach.plan(connection, movement))

    def _ends(self, connection: Connection, person: Ref) -> list[Ends]:
        roots = credential_store.ids_of_principal(connection, person, but=KEY_KINDS)
        live = list(credential_store.live_subtrees(connection, roots, but=KEY_KINDS))
        kinds: dict[str, int] = {}
        for at in range(0, len(live), _AT_ONCE):
            for one in credential_store.find_live(connection, live[at : at + _AT_ONCE]):
                kinds[one.kind] = kinds.get(one.kind, 0) + 1
        ends = [Ends(kind, count) for kind, count in sorted(kinds.items())]
        return ends + [Ends(own.does, count) for own in self._at_once if (count := own.count(connection, person))]

    async def _apply(self, step: Step) -> Any:
        if await self._has_left_since(step):
            return []  # a place that was meant for them while they were here, and waited: for an answer, an approval
        return [await self._reach(item).apply(item, key=f"{step.key}/{item.at}") for item in _items_of(step)]

    async def _verify(self, step: Step) -> bool:
        if await self._has_left_since(step):
            return True
        for item, outcome in _with_outcomes(step):
            if not await self._reach(item).verify(item, outcome):
                return False
        return True

    async def _undo(self, step: Step) -> None:
        movement = msgspec.convert(step.arguments["movement"], Movement)
        if movement.kind == "leave":
            await self._storage.write(lambda tx: _return(tx, movement.person))
        if movement.kind != "join" and not await asyncio.to_thread(self._is_here, movement.person):
            raise HopelessError(
                f"{movement.person} is disabled, and gets nothing back outside",
                todo="let them in again first, where they are kept; then everproof work retry EFFECT",
            )
        for item, outcome in reversed(_with_outcomes(step)):
            await self._reach(item).undo(item, outcome, key=f"{step.key}/{item.at}")

    async def _has_left_since(self, step: Step) -> bool:
        movement = msgspec.convert(step.arguments["movement"], Movement)
        return movement.kind != "leave" and not await asyncio.to_thread(self._is_here, movement.person)

    def _is_here(self, person: Ref) -> bool:
        with self._storage.reading() as connection:
            record = identities.find_principal(connection, person)
        return record is not None and record.disabled is None

    def _reach(self, item: Item) -> Reach:
        if (found := self._reaches.get(item.reach)) is None:
            raise NotFoundError(f"nothing reaches {item.reach} any more", place=item.at)
        return found


def _verb(kind: Kind) -> str:
    return f"people.{kind}"


def _effect(movement: Movement, items: Sequence[Item]) -> Effect:
    arguments: Mapping[str, Any] = {
        "movement": msgspec.to_builtins(movement), "items": [msgspec.to_builtins(item) for item in items],
    }  # fmt: skip
    return Effect(verb=_verb(movement.kind), subject=movement.person, arguments=arguments)


def _planned(effect: Effect) -> Plan:
    items = msgspec.convert(effect.arguments["items"], tuple[Item, ...])
    told = "; ".join(item.does for item in items)[:900]
    undone = "; ".join(item.undoes for item in items if item.undoes)[:900]
    whole = all(item.undoes for item in items)
    return Plan(
        does=told or "nothing outside", touches=len(items), undoes=undone or "lets them in again" if whole else ""
    )


def _items_of(step: Step) -> tuple[Item, ...]:
    return msgspec.convert(step.arguments["items"], tuple[Item, ...])


def _with_outcomes(step: Step) -> list[tuple[Item, Any]]:
    items = _items_of(step)
    outcomes = step.outcome if isinstance(step.outcome, list) else []
    return list(zip(items, [*outcomes, *([None] * len(items))], strict=False))


def _return(tx: Transaction, person: Ref) -> None:
    """Let somebody in again whom this effect let go, and nobody else disabled since. Nothing that ended comes back."""
    record = identities.find_principal(tx.connection, person)
    if record is not None and record.disabled_reason == GONE:
        roster.enable(tx, person)


def _named(connection: Connection, person: Ref, reason: str) -> PrincipalRecord:
    record = identities.find_principal(connection, person)
    assert record is not None  # nothing removes a record
    return msgspec.structs.replace(record, disabled_reason=reason)


def _around(connection: Connection, groups: Sequence[str]) -> tuple[str, ...]:
    """The groups with all that these are in."""
    parents = {one.id: one.groups for one in identities.load_groups(connection)}
    found: set[str] = set()
    waiting = list(groups)
    while waiting:
        if (id_ := waiting.pop()) not in found:
            found.add(id_)
            waiting.extend(parents.get(id_, ()))
    return tuple(sorted(found))
