"""The groups that provisioners keep here, and who is in them.

A provisioner's groups are its own: ``okta/developers``. What they may do says whoever puts them into another group, or
names them in a policy; and who may be put into them is decided with all the groups around them in sight.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from everproof.identity import roster
from everproof.identity import store as identities
from everproof.identity.membership import join_group, part_group, remove_group
from everproof.kernel.clock import milliseconds
from everproof.kernel.errors import ConflictError, InputError
from everproof.kernel.ids import new_id
from everproof.kernel.words import Ref
from everproof.provisioning import store
from everproof.provisioning.documents import Documents
from everproof.provisioning.names import external, free_group, group_key
from everproof.provisioning.records import OutdatedError, Provisioned, Team
from everproof.storage import Transaction

MAX_MEMBERS: Final = 50_000


class Teams:
    """The groups of every provisioner."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def add(self, tx: Transaction, provisioner: str, team: Team) -> Provisioned:
        """Make a group.

        Raises:
            InputError: a name that could be mistaken for another, or a member who is nobody.
            ConflictError: the name or the external id is another group's.
        """
        key = group_key(team.name)
        self._require_free(tx, provisioner, team, key, but=None)
        id_ = new_id("scim")
        groups = {one.id for one in identities.load_groups(tx.connection)}
        ref = Ref("Group", free_group(provisioner, team.name, lambda name: name in groups))
        roster.put_group(tx, ref.id, name=team.name)
        row = self._row(tx, ref, id_, key, team)
        store.insert_resource(
            tx, id=id_, provisioner=provisioner, what="Group", record=ref.id, version=1, created=row["changed"], **row
        )
        found = self._documents.found(tx.connection, provisioner, id_)
        self._set_members(tx, found, team.members or ())
        return found

    def change(self, tx: Transaction, found: Provisioned, team: Team) -> Provisioned:
        """Say all of a group anew, as of the version that ``found`` is. Its id stays, whatever it is called.

        Raises:
            OutdatedError: it was changed since.
            InputError, ConflictError: as `add`.
        """
        key = group_key(team.name)
        self._require_free(tx, found.provisioner, team, key, but=found.id)
        if not store.change_resource(tx, found.id, found.version, **self._row(tx, found.ref, found.id, key, team)):
            raise OutdatedError("it was changed meanwhile", place=found.id, todo="read it again, and decide anew")
        known = next((one for one in identities.load_groups(tx.connection) if one.id == found.ref.id), None)
        if known is None or known.name != team.name:
            roster.put_group(tx, found.ref.id, name=team.name, groups=known.groups if known else ())
        if team.members is not None:
            self._set_members(tx, found, team.members)
        return self._documents.found(tx.connection, found.provisioner, found.id)

    def remove(self, tx: Transaction, found: Provisioned) -> None:
        """Let there be no such group.

        Raises:
            OutdatedError: it was changed since.
        """
        if not store.remove_resource(tx, found.id, found.version):
            raise OutdatedError("it was changed meanwhile", place=found.id, todo="read it again, and decide anew")
        remove_group(tx, found.ref.id)

    def _set_members(self, tx: Transaction, found: Provisioned, wanted: Sequence[str]) -> None:
        before = store.member_ids(tx.connection, found.id)
        after = dict.fromkeys(wanted)
        if len(after) > MAX_MEMBERS:
            raise InputError(f"more than {MAX_MEMBERS} members", place="members")
        joining = [id_ for id_ in after if id_ not in before]
        parting = [id_ for id_ in before if id_ not in after]
        rows = store.named_resources(tx.connection, found.provisioner, [*joining, *parting])
        if unknown := next((id_ for id_ in joining if id_ not in rows), None):
            raise InputError(f"{unknown[:64]} is nobody", place="members.value", todo="create them first")
        store.remove_members(tx, found.id, parting)
        store.add_members(tx, found.id, joining)
        group = found.ref.id
        part_group(tx, group, [Ref("User", rows[id_].record) for id_ in parting if _is(rows, id_, "User")])
        join_group(tx, group, [Ref("User", rows[id_].record) for id_ in joining if _is(rows, id_, "User")])
        self._nest(tx, group, (rows[id_].record for id_ in joining if _is(rows, id_, "Group")), inside=True)
        self._nest(tx, group, (rows[id_].record for id_ in parting if _is(rows, id_, "Group")), inside=False)

    @staticmethod
    def _nest(tx: Transaction, group: str, inner: Iterable[str], *, inside: bool) -> None:
        wanted = set(inner)
        if not wanted:
            return
        for one in list(identities.load_groups(tx.connection)):
            if one.id in wanted:
                parents = {*one.groups, group} if inside else set(one.groups) - {group}
                roster.put_group(tx, one.id, name=one.name, groups=sorted(parents))

    @staticmethod
    def _require_free(tx: Transaction, provisioner: str, team: Team, key: str, *, but: str | None) -> None:
        named = store.find_resources(tx.connection, provisioner, "Group", key=key)
        if any(row.id != but for row in named):
            raise ConflictError("another group is called so", place="displayName")
        called = external(team.external_id)
        if called is not None:
            same = store.find_resources(tx.connection, provisioner, "Group", external=called)
            if any(row.id != but for row in same):
                raise ConflictError("it is another group's", place="externalId")

    def _row(self, tx: Transaction, ref: Ref, id_: str, key: str, team: Team) -> dict[str, Any]:
        return {
            "key": key,
            "name": team.name,
            "external": external(team.external_id),
            "changed": milliseconds(tx.now),
            **self._documents.sealed(tx, ref, id_, team.document),
        }


def _is(rows: dict[str, store.Stored], id_: str, what: str) -> bool:
    return id_ in rows and rows[id_].what == what
