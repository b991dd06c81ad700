"""What is told of a person or a group: what was said of it, and what we add."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection

from everproof.identity import store as identities
from everproof.identity.records import INACTIVE
from everproof.kernel.canonical import encode
from everproof.provisioning import store
from everproof.provisioning.records import Provisioned, What
from everproof.server.scim.models import EnterpriseUser, Group, User

ENTERPRISE: Final = str(EnterpriseUser.__schema__)
PLACES: Final[Mapping[What, str]] = {"User": "Users", "Group": "Groups"}
SCHEMAS: Final[Mapping[What, str]] = {"User": str(User.__schema__), "Group": str(Group.__schema__)}
_MARK: Final = 12
"""Characters of a version that say which groups somebody is in: 48 bits."""


class Views:
    """Tells of what provisioners keep. ``base`` is the address of the door."""

    def __init__(self, base: str) -> None:
        self._base = base

    def location(self, what: What, id_: str) -> str:
        """The address of a resource."""
        return f"{self._base}/{PLACES[what]}/{id_}"

    def told(
        self, connection: Connection, found: Sequence[Provisioned], *, members: bool = True
    ) -> list[dict[str, Any]]:
        """Each of ``found``, whole; of groups, who is in them only with ``members``."""
        people = [one for one in found if one.what == "User"]
        teams = [one for one in found if one.what == "Group"]
        told = {one["id"]: one for one in self._people(connection, people)}
        told |= {one["id"]: one for one in self._teams(connection, teams, members=members)}
        return [told[one.id] for one in found]

    def _people(self, connection: Connection, found: Sequence[Provisioned]) -> Iterable[dict[str, Any]]:
        groups: dict[str, list[dict[str, Any]]] = {}
        for row in store.teams_of(connection, [one.id for one in found]):
            told = {"value": row.id, "$ref": self.location("Group", row.id), "display": row.name, "type": "direct"}
            groups.setdefault(row.member, []).append(told)
        records = {one.ref: one for one in identities.find_principals(connection, [one.ref for one in found])}
        for one in found:
            more: dict[str, Any] = {"userName": one.name}
            disabled = records[one.ref].disabled is not None
            if "active" in one.document or (disabled and records[one.ref].disabled_reason != INACTIVE):
                more["active"] = not disabled  # as it is, whatever was said: others disable people too
            if one.id in groups:
                more["groups"] = groups[one.id]
            told = self._told(one, more)
            enterprise = told.get(ENTERPRISE)
            if enterprise is not None:
                told["schemas"].append(ENTERPRISE)
                told[ENTERPRISE] = self._managed(enterprise)
            yield _versioned(told, f"{one.version}-{_marked([more])}")

    def _teams(
        self, connection: Connection, found: Sequence[Provisioned], *, members: bool
    ) -> Iterable[dict[str, Any]]:
        held: dict[str, list[dict[str, Any]]] = {}
        for row in store.members_of(connection, [one.id for one in found]) if members else ():
            told = {
                "value": row.id, "$ref": self.location(row.what, row.id), "type": row.what,
            }  # fmt: skip
            held.setdefault(row.team, []).append(told)
        for one in found:
            more: dict[str, Any] = {"displayName": one.name}
            if one.id in held:
                more["members"] = held[one.id]
            yield _versioned(self._told(one, more), str(one.version))

    def _told(self, one: Provisioned, more: Mapping[str, Any]) -> dict[str, Any]:
        told: dict[str, Any] = {"schemas": [SCHEMAS[one.what]], "id": one.id, **one.document, **more}
        if one.external_id is not None:
            told["externalId"] = one.external_id
        told["meta"] = {
            "resourceType": one.what,
            "created": one.created.isoformat().replace("+00:00", "Z"),
            "lastModified": one.changed.isoformat().replace("+00:00", "Z"),
            "location": self.location(one.what, one.id),
        }
        return told

    def _managed(self, enterprise: Mapping[str, Any]) -> dict[str, Any]:
        manager = enterprise.get("manager")
        if not manager or not str(manager.get("value", "")).startswith("scim_"):
            return dict(enterprise)
        return {**enterprise, "manager": {**manager, "$ref": self.location("User", manager["value"])}}


def _versioned(told: dict[str, Any], version: str) -> dict[str, Any]:
    told["meta"]["version"] = f'W/"{version}"'
    return told


def _marked(values: Any) -> str:
    return hashlib.sha256(encode(values)).hexdigest()[:_MARK]
