"""The people whom provisioners keep here: each change of theirs is one of the roster, in the same commit."""

from typing import Any, Final

import msgspec
from sqlalchemy import Connection

from everproof.identity import roster
from everproof.identity import store as identities
from everproof.identity.records import INACTIVE, PrincipalRecord
from everproof.kernel.clock import milliseconds
from everproof.kernel.errors import ConflictError, NotFoundError
from everproof.kernel.ids import new_id
from everproof.kernel.words import Ref
from everproof.provisioning import store
from everproof.provisioning.documents import Documents
from everproof.provisioning.lifecycle import Lifecycle
from everproof.provisioning.names import external, free_principal, user_key
from everproof.provisioning.records import SOURCE, OutdatedError, Person, Provisioned
from everproof.storage import Transaction

LEFT: Final = "left"
"""Why somebody is disabled who does not come back: whoever is called so later is somebody else."""
KEPT: Final = ("title", "employee_type", "department", "employee_number", "manager")
"""The attributes that a provisioner speaks for; others on a record are somebody else's word."""


class People:
    """The people of every provisioner."""

    def __init__(self, documents: Documents, lifecycle: Lifecycle) -> None:
        self._documents = documents
        self._lifecycle = lifecycle

    def add(self, tx: Transaction, provisioner: str, person: Person) -> Provisioned:
        """Put somebody on record.

        Raises:
            InputError: a name or address that could be mistaken for another.
            ConflictError: the name, the external id or an address is somebody's.
        """
        key = user_key(person.user_name)
        self._require_free(tx.connection, provisioner, person, key, but=None)
        id_ = new_id("scim")
        ref = Ref("User", free_principal(key, lambda name: self._is_past(tx.connection, provisioner, name)))
        attributes = self._attributes(tx.connection, provisioner, person, {})
        roster.add_principal(
            tx, ref, name=person.name, emails=person.emails, attributes=attributes, source=SOURCE + provisioner,
            external_id=external(person.external_id) or "",
        )  # fmt: skip
        row = self._row(tx, ref, id_, key, person)
        store.insert_resource(
            tx, id=id_, provisioner=provisioner, what="User", record=ref.id, version=1, created=row["changed"], **row
        )
        if not person.active:
            self._leave(tx, provisioner, ref, INACTIVE)
        return self._documents.found(tx.connection, provisioner, id_)

    def adopt(self, tx: Transaction, provisioner: str, ref: Ref, person: Person) -> Provisioned:
        """Let ``provisioner`` keep somebody who is on record, from now on, as ``person`` says; their id stays.

        Raises:
            NotFoundError: nobody is on record so.
            ConflictError: a provisioner keeps them, or the name, the external id or an address is somebody else's.
        """
        record = identities.find_principal(tx.connection, ref)
        if record is None:
            raise NotFoundError(f"{ref} is not on record")
        if record.source.startswith(SOURCE):
            raise ConflictError(f"{ref.id} is kept by {record.source.removeprefix(SOURCE)} already", place="id")
        key = user_key(person.user_name)
        self._require_free(tx.connection, provisioner, person, key, but=None)
        id_ = new_id("scim")
        row = self._row(tx, ref, id_, key, person)
        store.insert_resource(
            tx, id=id_, provisioner=provisioner, what="User", record=ref.id, version=1, created=row["changed"], **row
        )
        kept = msgspec.structs.replace(
            record, source=SOURCE + provisioner, external_id=external(person.external_id) or ""
        )
        roster.rewrite(tx, kept)
        return self._documents.found(tx.connection, provisioner, id_)

    def change(self, tx: Transaction, found: Provisioned, person: Person) -> Provisioned:
        """Say all of somebody anew, as of the version that ``found`` is.

        Raises:
            OutdatedError: it was changed since.
            InputError, ConflictError: as `add`.
        """
        key = user_key(person.user_name)
        self._require_free(tx.connection, found.provisioner, person, key, but=found.id)
        if not store.change_resource(tx, found.id, found.version, **self._row(tx, found.ref, found.id, key, person)):
            raise _outdated(found)
        before = self._record(tx.connection, found.ref)
        if person.active and before.disabled_reason == INACTIVE:
            roster.enable(tx, found.ref)
            before = self._record(tx.connection, found.ref)
        wanted = msgspec.structs.replace(
            before, name=person.name, emails=person.emails, external_id=external(person.external_id) or "",
            attributes=self._attributes(tx.connection, found.provisioner, person, before.attributes),
        )  # fmt: skip
        roster.rewrite(tx, wanted)
        if not person.active and before.disabled is None:
            self._leave(tx, found.provisioner, found.ref, INACTIVE)
        return self._documents.found(tx.connection, found.provisioner, found.id)

    def remove(self, tx: Transaction, found: Provisioned) -> None:
        """Let somebody have left, for good: their keys end, and their name and addresses are free for somebody else.

        Raises:
            OutdatedError: it was changed since.
        """
        if not store.remove_resource(tx, found.id, found.version):
            raise _outdated(found)
        self._leave(tx, found.provisioner, found.ref, LEFT)
        record = self._record(tx.connection, found.ref)
        gone = msgspec.structs.replace(
            record, emails=(), groups=(), external_id="", disabled=record.disabled or tx.now, disabled_reason=LEFT
        )
        roster.rewrite(tx, gone)
        self._lifecycle.end_keys(tx, found.ref, LEFT)

    def _leave(self, tx: Transaction, provisioner: str, ref: Ref, reason: str) -> None:
        self._lifecycle.leave(tx, ref, Ref("Service", provisioner), reason)

    def _require_free(
        self, connection: Connection, provisioner: str, person: Person, key: str, *, but: str | None
    ) -> None:
        named = store.find_resources(connection, provisioner, "User", key=key)
        if any(row.id != but for row in named):
            raise ConflictError(f"{person.user_name} is somebody's already", place="userName")
        called = external(person.external_id)
        if called is not None:
            same = store.find_resources(connection, provisioner, "User", external=called)
            if any(row.id != but for row in same):
                raise ConflictError("it is somebody's already", place="externalId")

    def _is_past(self, connection: Connection, provisioner: str, name: str) -> bool:
        """Whether somebody had the id who has left; if somebody has it now, it is not to be had."""
        record = identities.find_principal(connection, Ref("User", name))
        if record is None:
            return False
        if record.source == SOURCE + provisioner and store.find_record(connection, "User", name) is None:
            return True
        kept = f"kept by {record.source.removeprefix(SOURCE)}" if record.source else "enrolled here"
        todo = f"hand them over: everproof people hand-over {name} --to {provisioner}"
        raise ConflictError(f"{name} is on record already, {kept}", place="userName", todo=todo)

    def _attributes(self, connection: Connection, provisioner: str, person: Person, before: Any) -> dict[str, Any]:
        attributes = {name: value for name, value in before.items() if name not in KEPT}
        attributes |= {name: value for name, value in person.attributes.items() if name in KEPT}
        if person.manager and (ref := self._manager(connection, provisioner, person.manager)) is not None:
            attributes["manager"] = {"type": ref.type, "id": ref.id}
        return attributes

    @staticmethod
    def _manager(connection: Connection, provisioner: str, named: str) -> Ref | None:
        row = store.find_resource(connection, provisioner, named)
        if row is None:
            row = next(iter(store.find_resources(connection, provisioner, "User", key=named.lower())), None)
        return Ref("User", row.record) if row is not None and row.what == "User" else None

    def _row(self, tx: Transaction, ref: Ref, id_: str, key: str, person: Person) -> dict[str, Any]:
        return {
            "key": key,
            "name": person.user_name,
            "external": external(person.external_id),
            "changed": milliseconds(tx.now),
            **self._documents.sealed(tx, ref, id_, person.document),
        }

    @staticmethod
    def _record(connection: Connection, ref: Ref) -> PrincipalRecord:
        record = identities.find_principal(connection, ref)
        assert record is not None  # nothing removes a record
        return record


def _outdated(found: Provisioned) -> OutdatedError:
    return OutdatedError("it was changed meanwhile", place=found.id, todo="read it again, and decide anew")
