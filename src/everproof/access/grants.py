"""Grants: credentials with an end, in the lineage of nothing but their person, known in memory for every decision.

A grant is over at its end by the storage's clock, which does not go back; it falls with its credential, so whatever
ends a person's credentials ends it. What is written about its end comes after, and changes nothing.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from everproof.access import store
from everproof.access.records import GrantRecord
from everproof.identity import credential_store
from everproof.identity.credentials import Credentials
from everproof.identity.records import Credential
from everproof.kernel.canonical import encode
from everproof.kernel.errors import NotFoundError, RefusedError
from everproof.kernel.ids import new_id
from everproof.kernel.words import Entry, Ref
from everproof.ledger import Ledger
from everproof.storage import Storage, Transaction

TOPIC: Final = "access.grant"
KIND: Final = "grant"
"""What its credential is called in its lineage."""
ENTRY_KIND: Final = "access"


class Grants:
    """Gives and ends grants, and knows those that live."""

    def __init__(self, storage: Storage, ledger: Ledger, credentials: Credentials) -> None:
        self._storage = storage
        self._ledger = ledger
        self._credentials = credentials
        self._live: dict[Ref, dict[str, GrantRecord]] = {}
        with storage.reading() as connection:
            for grant in store.open_grants(connection):
                self._put(grant)
        storage.subscribe(TOPIC, self._hear)

    def give(
        self,
        tx: Transaction,
        principal: Ref,
        actions: Sequence[str],
        resource: Ref,
        *,
        request: str,
        lasting: timedelta,
        approvers: tuple[Ref, ...] = (),
        policies: tuple[str, ...] = (),
    ) -> GrantRecord:
        """Let ``principal`` have a grant from now on.

        Raises:
            RefusedError: nothing is issued to them. Nothing was written.
        """
        source = {"request": request, "approvers": " ".join(one.id for one in approvers), "resource": str(resource)}
        issued = self._credentials.issue(
            tx,
            Credential(
                id=new_id("cred"), parent=None, kind=KIND, principal=principal, key=None, issued=tx.now,
                expires=tx.now + lasting, source={**source, "actions": " ".join(actions)},
            ),
        )  # fmt: skip
        return self.keep(tx, issued, actions, resource, request=request, approvers=approvers, policies=policies)

    def keep(
        self,
        tx: Transaction,
        issued: Credential,
        actions: Sequence[str],
        resource: Ref,
        *,
        request: str,
        approvers: tuple[Ref, ...] = (),
        policies: tuple[str, ...] = (),
        break_glass: bool = False,
    ) -> GrantRecord:
        """Let a credential that was issued in this commit be a grant."""
        grant = GrantRecord(
            id=issued.id, request=request, principal=issued.principal, actions=tuple(actions), resource=resource,
            began=tx.now, expires=issued.expires, approvers=approvers, policies=policies, break_glass=break_glass,
        )  # fmt: skip
        store.put_grant(tx, grant, new=True)
        tx.publish(TOPIC, grant.id, encode(grant))
        self.record(
            tx, "granted", grant.principal, request=request, grant=grant.id, actions=list(actions),
            resource=str(resource), expires=grant.expires, approvers=[one.id for one in approvers],
            policies=list(policies), break_glass=break_glass,
        )  # fmt: skip
        return grant

    def revoke(self, tx: Transaction, id_: str, *, by: Ref, reason: str) -> GrantRecord:
        """Take a grant back; the grant as it ended.

        Raises:
            NotFoundError: there is none.
            RefusedError: it is over.
        """
        grant = find(tx, id_)
        if grant.how or grant.expires <= tx.now or not credential_store.find_live(tx.connection, [id_]):
            raise RefusedError("the grant is over already")
        self._credentials.revoke(tx, id_, reason or f"taken back by {by}")
        return self._end(tx, grant, "revoked", by=by, reason=reason)

    def settle(self, tx: Transaction, id_: str) -> GrantRecord | None:
        """Put on record that a grant is over, if it is and that is not on record; else None."""
        grant = store.find_grant(tx.connection, id_)
        if grant is None or grant.how:
            return None
        credential = credential_store.find_credential(tx.connection, id_)
        if credential is not None and credential.revoked_at is not None:
            return self._end(tx, grant, "revoked", by=None, reason=credential.revoked_reason or "")
        if grant.expires <= tx.now:
            return self._end(tx, grant, "expired", by=None, reason="")
        return None

    def record(self, tx: Transaction, event: str, about: Ref, **said: object) -> None:
        """Write an entry about a person's access."""
        body = {"event": event, **said}
        entry = Entry(id=new_id("ent"), at=tx.now, kind=ENTRY_KIND, about=about, body=msgspec.Raw(encode(body)))
        self._ledger.append(tx, entry)

    def of(self, principal: Ref, at: datetime) -> list[GrantRecord]:
        """The grants of a principal that live at ``at``: in memory."""
        mine = self._live.get(principal)
        if not mine:
            return []
        return [one for one in mine.values() if at < one.expires and self._credentials.is_live(one.id)]

    def all(self, at: datetime) -> Iterable[GrantRecord]:
        """All grants that live at ``at``: in memory."""
        for principal in list(self._live):
            yield from self.of(principal, at)

    def over(self, at: datetime) -> list[str]:
        """The grants that memory holds and that have ended by ``at``."""
        held = [one for mine in list(self._live.values()) for one in list(mine.values())]
        return [one.id for one in held if one.expires <= at or not self._credentials.is_live(one.id)]

    def holds(self, ids: Iterable[str]) -> bool:
        """Whether one of these credentials is a grant that memory holds."""
        held = {id_ for mine in self._live.values() for id_ in mine}
        return not held.isdisjoint(ids)

    def _end(self, tx: Transaction, grant: GrantRecord, how: str, *, by: Ref | None, reason: str) -> GrantRecord:
        ended = msgspec.structs.replace(grant, ended=tx.now, how=how, by=by, reason=reason)
        store.put_grant(tx, ended, new=False)
        tx.publish(TOPIC, grant.id, encode(ended))
        self.record(
            tx, how, grant.principal, request=grant.request, grant=grant.id, by=str(by) if by else "", reason=reason
        )
        return ended

    def _hear(self, _key: str, body: bytes) -> None:
        self._put(msgspec.json.decode(body, type=GrantRecord))

    def _put(self, grant: GrantRecord) -> None:
        if not grant.how:
            self._live.setdefault(grant.principal, {})[grant.id] = grant
            return
        mine = self._live.get(grant.principal, {})
        mine.pop(grant.id, None)
        if not mine:
            self._live.pop(grant.principal, None)


def find(tx: Transaction, id_: str) -> GrantRecord:
    """A grant, over or not.

    Raises:
        NotFoundError: there is none.
    """
    grant = store.find_grant(tx.connection, id_)
    if grant is None:
        raise NotFoundError(f"there is no grant {id_}", todo="everproof grants list shows them")
    return grant
