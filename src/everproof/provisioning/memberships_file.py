"""`.everproof/memberships.toml`: which of our groups is which team or role at a platform.

[organisations.acme]                       # as server.toml calls it
id = 9919
roles = { owner = ["administrators"], member = ["engineering"] }
accounts = { alice = 583231, bob = 1024 }

[[organisations.acme.teams]]
id = 42
roles = { maintainer = ["leads"], member = ["platform"] }

[[organisations.acme.repositories]]
id = 1296269
name = "acme/shop"
roles = { write = ["contractors"] }
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from everproof.identity.names import group_id, principal_id
from everproof.identity.records import ADMINISTRATORS
from everproof.kernel.errors import InputError
from everproof.kernel.toml import parse_toml
from everproof.provisioning.memberships import Kind, Place

FILE_NAME: Final = "memberships.toml"
AT_MOST: Final = 10
"""Removals in one go: a directory that was emptied by mistake empties nothing else."""

Number = Annotated[int, Meta(ge=1, le=2**53)]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._/-]{1,200}$")]
Roles = dict[Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,31}$")], tuple[str, ...]]


class PlaceLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A team or repository: its number, and for each role the groups that hold it."""

    id: Number
    name: Name | None = None
    roles: Roles


class OrganisationLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An organisation.

    ``accounts`` are people's numbers at the platform. ``keep`` are accounts that are left as they are, such as
    machines'. ``strangers``, accounts that nobody here has, are reported, or removed too. ``notify``: the groups that
    hear of drift.
    """

    id: Number
    roles: Roles
    accounts: dict[str, Number]
    teams: tuple[PlaceLine, ...] = ()
    repositories: tuple[PlaceLine, ...] = ()
    keep: tuple[Number, ...] = ()
    strangers: Literal["report", "remove"] = "report"
    at_most: Annotated[int, Meta(ge=0, le=10_000)] = AT_MOST
    notify: tuple[str, ...] = (ADMINISTRATORS,)

    @property
    def place(self) -> Place:
        """The organisation itself, as a place."""
        return Place("organisation", str(self.id))

    def places(self) -> dict[Place, Roles]:
        """Every place with its roles, the organisation first."""
        found = {self.place: self.roles}
        kinds: tuple[tuple[Kind, tuple[PlaceLine, ...]], ...] = (
            ("team", self.teams),
            ("repository", self.repositories),
        )
        for kind, lines in kinds:
            found |= {Place(kind, str(line.id), line.name or ""): line.roles for line in lines}
        return found

    def account_of(self, person: str) -> str | None:
        """The person's number at the platform."""
        found = self.accounts.get(person)
        return None if found is None else str(found)


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    organisations: dict[str, OrganisationLine] = {}


def memberships_of(files: Mapping[str, bytes]) -> Mapping[str, OrganisationLine]:
    """The organisations that a bundle's files name.

    Raises:
        InputError: not TOML, an unknown field, two people with one account, or a place that is named twice.
    """
    try:
        text = files.get(FILE_NAME, b"").decode()
    except UnicodeDecodeError as error:
        raise InputError("not UTF-8", place=FILE_NAME) from error
    found = parse_toml(text, _File, place=FILE_NAME).organisations
    for name, line in found.items():
        _check(line, f"{FILE_NAME}: organisations.{name}")
    return found


def _check(line: OrganisationLine, place: str) -> None:
    owners: dict[int, str] = {}
    for person, account in line.accounts.items():
        principal_id(person, place=f"{place}.accounts")
        if account in owners:
            raise InputError(
                f"the account {account} is {owners[account]}'s already", place=f"{place}.accounts.{person}"
            )
        owners[account] = person
    for kept in line.keep:
        if kept in owners:
            raise InputError(f"the account {kept} is {owners[kept]}'s, and so not left as it is", place=f"{place}.keep")
    for lines, kind in ((line.teams, "teams"), (line.repositories, "repositories")):
        if len({one.id for one in lines}) != len(lines):
            raise InputError("a place is named twice", place=f"{place}.{kind}")
    named = [group for roles in line.places().values() for groups in roles.values() for group in groups]
    for group in (*named, *line.notify):
        group_id(group, place=place)
