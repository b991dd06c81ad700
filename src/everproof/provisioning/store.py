"""The tables of what provisioners keep here, and the only statements over them."""

from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeAlias, cast

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Index,
    LargeBinary,
    Row,
    String,
    Table,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from everproof.provisioning.records import What
from everproof.storage import Transaction, metadata

AT_ONCE: Final = 500
"""Ids in one statement: SQLite takes 32,766 parameters at most, PostgreSQL 65,535."""

Stored: TypeAlias = Row[Any]

resources: Final = Table(
    "provisioning_resources",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("provisioner", String(128), nullable=False),
    Column("what", String(16), nullable=False),
    Column("key", String(512), nullable=False),
    Column("name", String(512), nullable=False),
    Column("external", String(512)),
    Column("record", String(128), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Column("key_id", String(64), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index("provisioning_resources_key", "provisioner", "what", "key", unique=True),
    Index("provisioning_resources_external", "provisioner", "what", "external", unique=True),
    Index("provisioning_resources_record", "what", "record", unique=True),
)
"""``key`` is the name as it is compared; ``record`` the id of the principal or group that it stands for."""

members: Final = Table(
    "provisioning_members",
    metadata,
    Column("team", String(64), primary_key=True),
    Column("member", String(64), primary_key=True),
    Index("provisioning_members_member", "member"),
)


def insert_resource(tx: Transaction, **row: Any) -> None:
    """Keep something new."""
    tx.connection.execute(insert(resources).values(row))


def change_resource(tx: Transaction, id_: str, version: int, **row: Any) -> bool:
    """Change it, if it is still at ``version``; the next one is its version then."""
    changed = update(resources).where((resources.c.id == id_) & (resources.c.version == version))
    return tx.connection.execute(changed.values(version=version + 1, **row)).rowcount == 1


def remove_resource(tx: Transaction, id_: str, version: int) -> bool:
    """Forget it and its place in every group, if it is still at ``version``."""
    at_version = (resources.c.id == id_) & (resources.c.version == version)
    if tx.connection.execute(delete(resources).where(at_version)).rowcount != 1:
        return False
    tx.connection.execute(delete(members).where(or_(members.c.team == id_, members.c.member == id_)))
    return True


def find_resource(connection: Connection, provisioner: str, id_: str) -> Stored | None:
    """One of a provisioner's, by our id."""
    return connection.execute(
        select(resources).where((resources.c.id == id_) & (resources.c.provisioner == provisioner))
    ).first()


def find_record(connection: Connection, what: What, record: str) -> Stored | None:
    """Whatever stands for a record of ours, whoever keeps it."""
    return connection.execute(
        select(resources).where((resources.c.what == what) & (resources.c.record == record))
    ).first()


def find_resources(
    connection: Connection, provisioner: str, what: What, *, key: str | None = None, external: str | None = None
) -> list[Stored]:
    """A provisioner's of one kind, the oldest first: those of a key, of an external id, or all."""
    wanted: list[ColumnElement[bool]] = [resources.c.provisioner == provisioner, resources.c.what == what]
    if key is not None:
        wanted.append(resources.c.key == key)
    if external is not None:
        wanted.append(resources.c.external == external)
    return list(connection.execute(select(resources).where(*wanted).order_by(resources.c.id)))


def page_of_resources(
    connection: Connection, provisioner: str, what: What, *, after: str, skip: int, limit: int
) -> list[Stored]:
    """Some of a provisioner's of one kind, those after an id, the oldest first."""
    wanted = (
        (resources.c.provisioner == provisioner) & (resources.c.what == what) & (resources.c.id > after)
    )  # fmt: skip
    found = select(resources).where(wanted).order_by(resources.c.id).offset(skip).limit(limit)
    return list(connection.execute(found))


def count_resources(connection: Connection, provisioner: str, what: What) -> int:
    """How many a provisioner keeps of one kind."""
    counted = select(func.count()).where((resources.c.provisioner == provisioner) & (resources.c.what == what))
    return int(connection.scalar(counted) or 0)


def named_resources(connection: Connection, provisioner: str, ids: Sequence[str]) -> dict[str, Stored]:
    """Those of a provisioner's that have one of ``ids``."""
    found: dict[str, Stored] = {}
    for at in range(0, len(ids), AT_ONCE):
        wanted = resources.c.id.in_(ids[at : at + AT_ONCE]) & (resources.c.provisioner == provisioner)
        found.update((row.id, row) for row in connection.execute(select(resources).where(wanted)))
    return found


def members_of(connection: Connection, teams: Sequence[str]) -> Iterator[Stored]:
    """Who is in each of ``teams``: its id, and of each member the id, kind and name."""
    for at in range(0, len(teams), AT_ONCE):
        found = (
            select(members.c.team, resources.c.id, resources.c.what, resources.c.name)
            .join(resources, resources.c.id == members.c.member)
            .where(members.c.team.in_(teams[at : at + AT_ONCE]))
            .order_by(members.c.member)
        )
        yield from cast("Iterator[Stored]", connection.execute(found))


def teams_of(connection: Connection, ids: Sequence[str]) -> Iterator[Stored]:
    """Which groups each of ``ids`` is in: its id as ``member``, and of each group the id and name."""
    for at in range(0, len(ids), AT_ONCE):
        found = (
            select(members.c.member, resources.c.id, resources.c.name, resources.c.record)
            .join(resources, resources.c.id == members.c.team)
            .where(members.c.member.in_(ids[at : at + AT_ONCE]))
            .order_by(members.c.team)
        )
        yield from cast("Iterator[Stored]", connection.execute(found))


def member_ids(connection: Connection, team: str) -> set[str]:
    """The ids of who is in a group."""
    return set(connection.scalars(select(members.c.member).where(members.c.team == team)))


def add_members(tx: Transaction, team: str, ids: Sequence[str]) -> None:
    """Put them in, who are not yet."""
    if ids:
        tx.connection.execute(insert(members), [{"team": team, "member": id_} for id_ in ids])


def remove_members(tx: Transaction, team: str, ids: Sequence[str]) -> None:
    """Take them out."""
    for at in range(0, len(ids), AT_ONCE):
        some = members.c.member.in_(ids[at : at + AT_ONCE])
        tx.connection.execute(delete(members).where((members.c.team == team) & some))
