"""What `.everproof/people.toml` would change if it came to rule: who joins, moves and leaves, and whose keys."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import msgspec

from everproof.identity.directory import Directory
from everproof.identity.people import FILE_NAME, LEFT, People, Person
from everproof.identity.records import Group, KeyRecord, PrincipalRecord
from everproof.identity.ssh_keys import read_line
from everproof.kernel.words import Ref

PERSON = "User"


class Joins(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who is put on record, or comes back."""

    person: str
    groups: tuple[str, ...]
    keys: tuple[str, ...]
    back: bool = False


class Moves(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Somebody of whom something else is said."""

    person: str
    joins: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    keys_added: tuple[str, ...] = ()
    keys_ended: tuple[str, ...] = ()


class Leaves(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who is disabled, with all that was issued to them."""

    person: str
    keys: tuple[str, ...]


class Regroups(msgspec.Struct, frozen=True, kw_only=True):
    """A group that is made, or is in other groups than before."""

    group: str
    joins: tuple[str, ...]
    parts: tuple[str, ...]
    new: bool


class FilePlan(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. ``conflicts`` say why the file cannot come to rule."""

    joins: tuple[Joins, ...] = ()
    moves: tuple[Moves, ...] = ()
    leaves: tuple[Leaves, ...] = ()
    groups: tuple[Regroups, ...] = ()
    conflicts: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing would change."""
        return not (self.joins or self.moves or self.leaves or self.groups or self.conflicts)


def plan_file(people: People, directory: Directory, now: datetime) -> FilePlan:
    """What the file would change in the directory as it is."""
    known = {one.ref.id: one for one in directory.records() if one.ref.type == PERSON}
    joins: list[Joins] = []
    moves: list[Moves] = []
    conflicts: list[str] = []
    for id_, person in sorted(people.people.items()):
        record = known.get(id_)
        conflicts.extend(_conflicts(id_, person, record, directory))
        if record is not None and record.source != FILE_NAME:
            continue
        keys = _wanted_keys(person, now)
        if record is None or record.disabled_reason == LEFT:
            joins.append(Joins(person=id_, groups=person.groups, keys=tuple(sorted(keys)), back=record is not None))
        elif (moved := _moved(record, person, keys, directory.keys_of(record.ref))) is not None:
            moves.append(moved)
    gone = [
        one
        for id_, one in sorted(known.items())
        if one.source == FILE_NAME and id_ not in people.people and one.disabled is None
    ]
    return FilePlan(
        joins=tuple(joins),
        moves=tuple(moves),
        leaves=tuple(Leaves(person=one.ref.id, keys=tuple(sorted(_live(directory.keys_of(one.ref))))) for one in gone),
        groups=tuple(_regrouped(people, {one.id: one for one in directory.groups()})),
        conflicts=tuple(conflicts),
    )


def _moved(record: PrincipalRecord, person: Person, wanted: set[str], keys: Sequence[KeyRecord]) -> Moves | None:
    before, after = set(record.groups), set(person.groups)
    revoked = {read_line(line.public).fingerprint for line in person.keys if line.revoked is not None}
    changed = [name for name in ("name", "emails", "space") if getattr(record, name) != getattr(person, name)]
    moved = Moves(
        person=record.ref.id,
        joins=tuple(sorted(after - before)),
        parts=tuple(sorted(before - after)),
        changed=tuple(changed),
        keys_added=tuple(sorted(wanted - {one.name for one in keys})),
        keys_ended=tuple(sorted(one for one in _live(keys) if one not in wanted or one in revoked)),
    )
    return None if moved == Moves(person=record.ref.id) else moved


def _conflicts(id_: str, person: Person, record: PrincipalRecord | None, directory: Directory) -> Iterator[str]:
    if record is not None and record.source != FILE_NAME:
        kept = f"kept by {record.source.removeprefix('scim:')}" if record.source else "enrolled here"
        yield f"{id_} is on record already, {kept}"
    for email in person.emails:
        owner = directory.of_email(email)
        if owner is not None and owner.id != id_ and directory.record(owner).source != FILE_NAME:
            yield f"{email} of {id_} is {owner.id}'s"
    for line in person.keys:
        name = read_line(line.public).fingerprint
        held = directory.key(name)
        if held is not None and held.principal != Ref(PERSON, id_):
            yield f"the key {name} of {id_} is {held.principal}'s"
        elif held is not None and held.revoked_at is not None and line.revoked is None:
            yield f"the key {name} of {id_} was revoked, and never comes back"


def _regrouped(people: People, known: Mapping[str, Group]) -> Iterator[Regroups]:
    for id_, line in sorted(people.groups.items()):
        before = set(known[id_].groups) if id_ in known else set()
        after = set(line.groups)
        if id_ not in known or before != after or known[id_].name != line.name:
            yield Regroups(
                group=id_,
                joins=tuple(sorted(after - before)),
                parts=tuple(sorted(before - after)),
                new=id_ not in known,
            )


def _wanted_keys(person: Person, now: datetime) -> set[str]:
    return {
        read_line(line.public).fingerprint
        for line in person.keys
        if line.revoked is None and (line.valid_until is None or line.valid_until > now)
    }


def _live(keys: Sequence[KeyRecord]) -> set[str]:
    return {one.name for one in keys if one.kind == "ssh" and one.revoked_at is None}
