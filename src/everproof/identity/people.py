"""People as code: `.everproof/people.toml` of the ruling bundle, read strictly and made so in the directory.

Only records that came from the file are changed by it: whoever leaves the file is disabled, and a key that leaves it is
revoked as superseded. People enrolled by a link, services and machines stay as they are.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Final, Protocol

import msgspec
from msgspec import Meta

from everproof.identity import roster, store
from everproof.identity.names import email_address, group_id, principal_id, shown_name
from everproof.identity.records import LEFT_FILE, MAIN, KeyRecord, PrincipalRecord, Reason
from everproof.identity.ssh_keys import SshKeyError, read_line
from everproof.kernel.errors import ConflictError, InputError
from everproof.kernel.toml import parse_toml
from everproof.kernel.words import Ref
from everproof.storage import Transaction

FILE_NAME: Final = "people.toml"
LEFT: Final = LEFT_FILE
"""Why someone was disabled who comes back with the file."""
MANY: Final = 10
"""More people than leave a file at once unless it was emptied by mistake."""


class KeyLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An SSH key of a person, with the window in which it is good."""

    public: str
    valid_from: Annotated[datetime, Meta(tz=True)] | None = None
    valid_until: Annotated[datetime, Meta(tz=True)] | None = None
    revoked: Reason | None = None


class Person(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person."""

    name: str = ""
    emails: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    space: str = MAIN
    keys: tuple[KeyLine, ...] = ()


class GroupLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A group."""

    name: str = ""
    groups: tuple[str, ...] = ()


class People(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file: ``[people.alice]``, ``[groups.platform]``."""

    people: dict[str, Person] = {}
    groups: dict[str, GroupLine] = {}


def read_people(text: str, *, place: str = FILE_NAME) -> People:
    """The people that the file names.

    Raises:
        InputError: not TOML, an unknown field, a name that is not accepted, a key that is malformed, or one key or
            address for two people; with its place.
    """
    found = parse_toml(text, People, place=place)
    seen: dict[str, str] = {}
    for id_, group in found.groups.items():
        where = f"{place}: groups.{id_}"
        group_id(id_, place=where)
        shown_name(group.name, place=f"{where}.name")
        for one in group.groups:
            group_id(one, place=f"{where}.groups")
    for id_, person in found.people.items():
        where = f"{place}: people.{id_}"
        principal_id(id_, place=where)
        shown_name(person.name, place=f"{where}.name")
        for one in person.groups:
            group_id(one, place=f"{where}.groups")
        for email in person.emails:
            _once(seen, email_address(email, place=f"{where}.emails").lower(), id_, f"{where}.emails")
        for number, key in enumerate(person.keys):
            at = f"{where}.keys[{number}]"
            try:
                name = read_line(key.public).fingerprint
            except SshKeyError as error:
                raise InputError(f"the key {error.message}", place=f"{at}.public", todo=error.todo) from error
            if key.valid_from is not None and key.valid_until is not None and key.valid_until <= key.valid_from:
                raise InputError("the key would end before it begins", place=f"{at}.valid_until")
            _once(seen, name, id_, at)
    return found


def people_of(files: Mapping[str, bytes]) -> People:
    """The people in the files of a bundle; nobody where it has no such file.

    Raises:
        InputError: as `read_people`.
    """
    try:
        return read_people(files.get(FILE_NAME, b"").decode())
    except UnicodeDecodeError as error:
        raise InputError("not UTF-8", place=FILE_NAME) from error


class Leave(Protocol):
    """Disables somebody who was here until now, and ends what else they have; ``many``: so do others, all at once."""

    def __call__(self, tx: Transaction, person: Ref, *, many: bool) -> Sequence[str]:
        """The ids of the credentials that ended."""
        ...


def apply_people(tx: Transaction, people: People, *, leave: Leave | None = None) -> tuple[str, ...]:
    """Make the directory say of people what the file says; the ids of the credentials that ended by it.

    Raises:
        ConflictError: an id, an address or a key is on record as somebody's who is not in the file.
    """
    ended: list[str] = []
    for id_, group in people.groups.items():
        roster.put_group(tx, id_, name=group.name, groups=group.groups)
    before = {one.ref.id: one for one in store.load_principals(tx.connection) if one.ref.type == "User"}
    here = {id_ for id_, one in before.items() if one.source == FILE_NAME and one.disabled is None}
    leaving = here - set(people.people)
    for id_, record in before.items():
        if record.source != FILE_NAME:
            continue
        person = people.people.get(id_)
        if person is None or person.emails != record.emails:
            # First of all, so that an address can go from one person to another.
            roster.change_principal(tx, record.ref, emails=())
        if id_ in leaving and leave is not None:
            ended.extend(leave(tx, record.ref, many=len(leaving) > MANY))
        elif person is None:
            ended.extend(roster.disable(tx, record.ref, LEFT))
    for id_, person in people.people.items():
        ref = Ref("User", id_)
        if id_ in before:
            _restate(tx, before[id_], person)
        else:
            roster.add_principal(
                tx, ref, name=person.name, emails=person.emails, groups=person.groups, space=person.space,
                source=FILE_NAME,
            )  # fmt: skip
        ended.extend(_apply_keys(tx, ref, person.keys))
    return tuple(ended)


def _restate(tx: Transaction, record: PrincipalRecord, person: Person) -> None:
    if record.source != FILE_NAME:
        raise ConflictError(f"{record.ref} is enrolled already, and not by this file", place=f"people.{record.ref.id}")
    # Whom an administrator disabled stays so, whatever the file says.
    if record.disabled_reason == LEFT:
        roster.enable(tx, record.ref)
    roster.restate(tx, record.ref, name=person.name, emails=person.emails, groups=person.groups, space=person.space)


def _apply_keys(tx: Transaction, ref: Ref, lines: Sequence[KeyLine]) -> list[str]:
    ended: list[str] = []
    on_record = {key.name: key for key in store.keys_of(tx.connection, ref) if key.kind == "ssh"}
    wanted = {read_line(line.public).fingerprint: line for line in lines}
    for name, key in on_record.items():
        if name not in wanted and key.revoked_at is None:
            ended.extend(roster.revoke_key(tx, name, "superseded"))
    for name, line in wanted.items():
        if line.revoked is not None:
            if _changes(on_record.get(name), line.revoked):
                ended.extend(roster.revoke_key(tx, name, line.revoked))
        elif name in on_record:
            roster.set_key_window(tx, name, valid_from=line.valid_from, valid_until=line.valid_until)
        elif line.valid_from is not None or line.valid_until is None or line.valid_until > tx.now:
            roster.add_ssh_key(tx, ref, line.public, valid_from=line.valid_from, valid_until=line.valid_until)
    return ended


def _changes(key: KeyRecord | None, reason: Reason) -> bool:
    return key is None or key.revoked_at is None or (reason == "compromised" != key.revoked_reason)


def _once(seen: dict[str, str], what: str, id_: str, place: str) -> None:
    if what in seen:
        raise InputError(f"{what} is {seen[what]}'s already", place=place)
    seen[what] = id_
