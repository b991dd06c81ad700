"""What was issued, and that it has ended: a credential falls with all that descends from it.

Issuing writes one row, and memory holds only what was revoked before its time; so a token costs no memory, and asking
whether one lives is one look into a dictionary. Whether a parent lives is asked of the database, in the commit.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from everproof.identity import credential_store
from everproof.identity.holding import Holding
from everproof.identity.records import FOREVER, Credential
from everproof.kernel.clock import milliseconds
from everproof.kernel.errors import NotFoundError, RefusedError
from everproof.storage import Storage, Transaction

TOPIC: Final = "identity.revoked"
MAX_KNOWN: Final = 20_000
"""Bounds of credentials issued here lately, remembered so that issuing a child asks nothing: 2 MB."""
SWEEP: Final = 10_000
"""Revocations heard between two looks for those whose credentials have expired anyway."""

_Bounds = tuple[datetime, str | None, tuple[str, ...]]


class Revoked(msgspec.Struct, frozen=True):
    """What the feed says: the credentials that ended with when they would have, and keys that nothing is bound to."""

    credentials: list[tuple[str, int]] = []
    keys: list[str] = []


class Credentials:
    """The lineage of what was issued. ``issuer`` is this server's own audience."""

    def __init__(self, storage: Storage, *, issuer: str) -> None:
        self._storage = storage
        self._issuer = issuer
        self._known: dict[str, _Bounds] = {}
        self._heard = 0
        self.held = Holding(storage)
        with storage.reading() as connection:
            self._revoked = dict(credential_store.load_revoked(connection, storage.clock.now()))
            self._keys = set(credential_store.load_revoked_keys(connection))
        self._revoked.update(_certificates(self._keys))
        # At once: a change that another server's commit has made impossible is looked at after it, never before.
        storage.subscribe(TOPIC, self._hear, at_once=True, decides=False)

    def issue(self, tx: Transaction, credential: Credential) -> Credential:
        """Put ``credential`` on record, cut to end with its parent; the credential as it stands.

        Raises:
            RefusedError: its parent or its key is dead, its principal is held, or it would be wider than its parent.
                Nothing was written.
        """
        if credential.principal in self.held:
            raise RefusedError(f"{credential.principal} is contained", todo="ask an administrator to release it")
        if credential.parent is not None:
            if credential.parent in self._revoked:  # it may be told before it is marked: see `tell_ended`
                raise RefusedError("the credential that this comes from was revoked")
            expires, audience, scope = self._bounds(tx, credential.parent)
            if scope and not (credential.scope and set(credential.scope) <= set(scope)):
                raise RefusedError("the scope is wider than that of the credential it comes from")
            # A token for this server may become one for another, if policy allows; a token for another stays there.
            if audience not in {None, self._issuer, credential.audience}:
                raise RefusedError(f"a credential for {audience} begets none for anyone else")
            if expires < credential.expires:
                credential = msgspec.structs.replace(credential, expires=expires)
        if len(credential.principal.id) > credential_store.MAX_ID or "\0" in credential.principal.id:
            raise RefusedError("the name of its principal cannot be kept")
        if credential.expires <= tx.now or not credential_store.insert_credential(tx, credential):
            raise RefusedError("the credential or key that this comes from was revoked or has expired")
        if len(self._known) >= MAX_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[credential.id] = credential.expires, credential.audience, credential.scope
        return credential

    def is_live(self, credential: str) -> bool:
        """Whether ``credential`` was not revoked, nor anything that it comes from. Its expiry is in its token."""
        return credential not in self._revoked

    def is_key_live(self, name: str) -> bool:
        """Whether the key, by thumbprint or fingerprint, was never revoked."""
        return name not in self._keys

    def live(self, credential: str) -> Credential | None:
        """The credential, if it has neither expired nor been revoked. A query: not for the path of a decision."""
        if not self.is_live(credential):
            return None
        with self._storage.reading() as connection:
            found = credential_store.find_credential(connection, credential)
        if found is None or found.revoked_at is not None or found.expires <= self._storage.clock.now():
            return None
        return found

    def bound_to(self, key: str) -> Credential | None:
        """The newest live credential of ``key`` that has its principal with it, such as a job's. A query."""
        with self._storage.reading() as connection:
            found = credential_store.find_bound(connection, key, self._storage.clock.now())
        return next((one for one in found if one.proven is not None and self.is_live(one.id)), None)

    def revoke(self, tx: Transaction, credential: str, reason: str) -> tuple[str, ...]:
        """End ``credential`` and all that descends from it; the ids of those that had not ended before.

        Raises:
            NotFoundError: there is no such credential.
        """
        if credential_store.find_credential(tx.connection, credential) is None:
            raise NotFoundError(f"there is no credential {credential}", todo="everproof identity lineage lists them")
        return end_credentials(tx, [credential], reason)

    def refuse(self, ended: Mapping[str, int]) -> None:
        """Take these for revoked, with when they would have ended, until the database says so."""
        self._revoked.update(ended)

    def _bounds(self, tx: Transaction, parent: str) -> _Bounds:
        known = self._known.get(parent)
        if known is not None:
            return known
        found = credential_store.find_credential(tx.connection, parent)
        if found is None:
            raise RefusedError("the credential that this comes from is not on record")
        return found.expires, found.audience, found.scope

    def _hear(self, _key: str, body: bytes) -> None:
        told = msgspec.msgpack.decode(body, type=Revoked)
        self._revoked.update(told.credentials)
        self._keys.update(told.keys)
        self._revoked.update(_certificates(told.keys))
        self._heard += len(told.credentials)
        if self._heard >= SWEEP:
            self._heard = 0
            now = milliseconds(self._storage.clock.now())
            self._revoked = {id_: expires for id_, expires in self._revoked.items() if expires > now}


def tell_ended(tx: Transaction, ended: Mapping[str, int]) -> None:
    """Let these credentials, with when they would have ended, be refused from this commit on.

    Whoever calls it has still to mark them revoked, and to see to it that this is done whatever happens.
    """
    tx.publish(TOPIC, next(iter(ended)), msgspec.msgpack.encode(Revoked(list(ended.items()))))


def certificate_credential(name: str) -> str:
    """The id of the credential that a certificate is: it does not have to be on record to be named in an entry."""
    return f"cert_{name}"


def _certificates(keys: Iterable[str]) -> dict[str, int]:
    """A key that is revoked by name may be a certificate: then what it proves is dead, on record or not, for good."""
    return {certificate_credential(name): milliseconds(FOREVER) for name in keys}


def end_credentials(
    tx: Transaction, roots: Sequence[str], reason: str, *, keys: Sequence[str] = (), but: Sequence[str] = ()
) -> tuple[str, ...]:
    """End ``roots`` and all that descends from them, except the kinds in ``but``; ``keys`` are told along with them."""
    ended = credential_store.live_subtrees(tx.connection, roots, but=but)
    credential_store.mark_revoked(tx, list(ended), reason)
    if ended or keys:
        told = Revoked(list(ended.items()), list(keys))
        tx.publish(TOPIC, next(iter((*ended, *keys))), msgspec.msgpack.encode(told))
    return tuple(ended)
