"""Who exists, in memory: what decisions, tokens and git's door ask, without a query.

Loaded at the start and kept by the feed after each commit; the changes are in `everproof.identity.roster`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from everproof.identity import store
from everproof.identity.client_assertion import ClientKey
from everproof.identity.jwk import read_published_key
from everproof.identity.records import BEARERS, Group, KeyRecord, PrincipalRecord, SshKey
from everproof.kernel.errors import NotFoundError
from everproof.kernel.words import Principal, Ref
from everproof.storage import Storage

PRINCIPALS: Final = "identity.principal"
GROUPS: Final = "identity.group"
KEYS: Final = "identity.key"
"""Topics of the feed: a body is the whole record as it is now."""

_TYPES: Final = {"user": "User", "service": "Service", "machine": "Machine", "device": "Device"}


class Directory:
    """Everyone on record, as of the last commit."""

    def __init__(self, storage: Storage) -> None:
        self._clock = storage.clock
        self._records: dict[Ref, PrincipalRecord] = {}
        self._groups: dict[str, Group] = {}
        self._keys: dict[str, KeyRecord] = {}
        self._twins: dict[str, str] = {}
        self._of: dict[Ref, dict[str, KeyRecord]] = {}
        self._emails: dict[str, Ref] = {}
        self._externals: dict[tuple[str, str], Ref] = {}
        self._principals: dict[Ref, Principal] = {}
        self._client_keys: dict[str, ClientKey] = {}
        with storage.reading() as connection:
            for group in store.load_groups(connection):
                self._groups[group.id] = group
            for record in store.load_principals(connection):
                self._put_principal(record)
            for key in store.load_keys(connection):
                self._put_key(key)
        storage.subscribe(PRINCIPALS, self._hear_principal)
        storage.subscribe(GROUPS, self._hear_group)
        storage.subscribe(KEYS, self._hear_key)

    def principal(self, ref: Ref) -> Principal | None:
        """The principal as policy sees it; None if it is not on record or is disabled.

        The same object until something about it changes.
        """
        found = self._principals.get(ref)
        if found is None:
            record = self._records.get(ref)
            if record is None or record.disabled is not None:
                return None
            found = self._principals[ref] = principal_of(record, self._groups)
        return found

    def record(self, ref: Ref) -> PrincipalRecord:
        """All that is on record of a principal, disabled or not.

        Raises:
            NotFoundError: there is none.
        """
        if (found := self._records.get(ref)) is None:
            raise NotFoundError(f"{ref} is not on record")
        return found

    def records(self) -> Iterator[PrincipalRecord]:
        """Everyone, disabled or not."""
        yield from list(self._records.values())

    def groups(self) -> Iterator[Group]:
        """Every group."""
        yield from list(self._groups.values())

    def ancestors(self, groups: Sequence[str]) -> tuple[str, ...]:
        """``groups`` and all groups that these are in, sorted."""
        return _ancestors(groups, self._groups)

    def of_email(self, email: str) -> Ref | None:
        """Who may commit as ``email``, however it is capitalised."""
        return self._emails.get(email.lower())

    def of_external(self, source: str, external_id: str) -> Ref | None:
        """Whom a source such as ``scim:okta`` calls ``external_id``: a provisioner's externalId, to the letter."""
        return self._externals.get((source, external_id))

    def key(self, name: str) -> KeyRecord | None:
        """The key on record, dead or alive, by its SSH fingerprint or its JWK thumbprint."""
        return self._keys.get(name) or self._keys.get(self._twins.get(name, ""))

    def ssh_key(self, fingerprint: str) -> SshKey | None:
        """The key by its SSH fingerprint, dead or alive: its window says what a signature by it is worth."""
        found = self.key(fingerprint)
        return None if found is None else _ssh_key(found)

    def keys_of(self, ref: Ref) -> tuple[KeyRecord, ...]:
        """The keys of a principal, dead ones too."""
        return tuple(self._of.get(ref, {}).values())

    def signers(self) -> Iterator[tuple[str, SshKey]]:
        """Every SSH key with its fingerprint."""
        for name, key in list(self._keys.items()):
            if key.kind == "ssh":
                yield name, _ssh_key(key)

    def client(self, client_id: str) -> tuple[Principal, Sequence[ClientKey]] | None:
        """The service or machine called ``client_id`` (``service:NAME``), with its keys that are good now."""
        kind, _, id_ = client_id.partition(":")
        ref = Ref(_TYPES.get(kind, ""), id_)
        if (principal := self.principal(ref)) is None:
            return None
        now = self._clock.now()
        good = [self._client_keys[key.name] for key in self.keys_of(ref) if key.kind == "jwk" and key.is_good(now)]
        good = [one for one in good if one.key.kid not in BEARERS]  # a secret that is sent about signs nothing
        return principal, good

    def _put_principal(self, record: PrincipalRecord) -> None:
        before = self._records.get(record.ref)
        for email in before.emails if before is not None else ():
            if self._emails.get(email.lower()) == record.ref:
                del self._emails[email.lower()]
        for email in record.emails:
            self._emails[email.lower()] = record.ref
        if before is not None and before.external_id:
            self._forget_external(before)
        if record.external_id:
            self._externals[record.source, record.external_id] = record.ref
        self._records[record.ref] = record
        self._principals.pop(record.ref, None)

    def _forget_external(self, before: PrincipalRecord) -> None:
        name = before.source, before.external_id
        if self._externals.get(name) == before.ref:
            del self._externals[name]

    def _put_key(self, key: KeyRecord) -> None:
        self._keys[key.name] = key
        if key.twin is not None:
            self._twins[key.twin] = key.name
        self._of.setdefault(key.principal, {})[key.name] = key
        if key.kind == "jwk" and key.name not in self._client_keys:
            published = read_published_key(msgspec.json.decode(key.public))
            self._client_keys[key.name] = ClientKey(key.name, published, key.credential)

    def _hear_principal(self, _key: str, body: bytes) -> None:
        self._put_principal(msgspec.json.decode(body, type=PrincipalRecord))

    def _hear_group(self, key: str, body: bytes) -> None:
        if body:
            group = msgspec.json.decode(body, type=Group)
            self._groups[group.id] = group
        else:
            self._groups.pop(key, None)
        self._principals.clear()  # whoever is in it, by whatever way, is now in what it is in

    def _hear_key(self, _key: str, body: bytes) -> None:
        self._put_key(msgspec.json.decode(body, type=KeyRecord))


def principal_of(record: PrincipalRecord, groups: Mapping[str, Group]) -> Principal:
    """A record as policy sees it, in its groups and in all that these are in."""
    attributes = dict(record.attributes)
    if record.name:
        attributes["name"] = record.name
    if record.ref.type == "User":
        attributes["active"] = True
        if record.emails:
            attributes |= {"email": record.emails[0], "emails": list(record.emails)}
    above = tuple(Ref("Group", id_) for id_ in _ancestors(record.groups, groups))
    return Principal(ref=record.ref, attributes=attributes, parents=(*above, Ref("Space", record.space)))


def _ancestors(ids: Sequence[str], groups: Mapping[str, Group]) -> tuple[str, ...]:
    found: set[str] = set()
    waiting = list(ids)
    while waiting:
        if (id_ := waiting.pop()) not in found:
            found.add(id_)
            waiting.extend(groups[id_].groups if id_ in groups else ())
    return tuple(sorted(found))


def _ssh_key(key: KeyRecord) -> SshKey:
    return SshKey(
        principal=key.principal,
        public=key.public,
        valid_from=key.valid_from,
        valid_until=key.valid_until,
        revoked_at=key.revoked_at,
        revoked_reason=key.revoked_reason,
        credential=key.credential,
    )
