"""Changes to who exists. Each is done within the commit of the decision that allows it, and told to the directory.

They raise before they write, or fail their whole change: nothing is left half done.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

import msgspec

from everproof.identity import credential_store, store
from everproof.identity.credentials import end_credentials
from everproof.identity.directory import GROUPS, KEYS, PRINCIPALS
from everproof.identity.jose import JoseError
from everproof.identity.jwk import read_published_key
from everproof.identity.names import email_address, group_id, principal_id, shown_name
from everproof.identity.records import (
    BEARERS,
    BY_SOURCE,
    FOREVER,
    KEY_KINDS,
    MAIN,
    Credential,
    Group,
    KeyRecord,
    PrincipalRecord,
    Reason,
)
from everproof.identity.ssh_keys import SshKeyError, read_line, ssh_fingerprint_of_jwk
from everproof.kernel.canonical import encode
from everproof.kernel.errors import ConflictError, InputError, NotFoundError
from everproof.kernel.ids import new_id
from everproof.kernel.words import NOTHING, Attributes, Ref
from everproof.keys import thumbprint
from everproof.storage import Transaction

TYPES: Final = ("User", "Service", "Machine", "Device")
"""What is kept on record. Jobs are not: each comes with its own token."""
MAX_EMAILS: Final = 32
MAX_GROUPS: Final = 500
MAX_ATTRIBUTES_BYTES: Final = 8_192
_KEY_NAME: Final = re.compile(r"SHA256:[A-Za-z0-9+/]{43}|[A-Za-z0-9_-]{43}")
_JWK_MEMBERS: Final = ("kty", "crv", "x", "y", "n", "e", "kid", "alg", "use")


def add_principal(
    tx: Transaction,
    ref: Ref,
    *,
    name: str = "",
    emails: Sequence[str] = (),
    groups: Sequence[str] = (),
    space: str = MAIN,
    attributes: Attributes = NOTHING,
    source: str = "",
    external_id: str = "",
) -> PrincipalRecord:
    """Put a principal on record; ``external_id`` is what its source calls it.

    Raises:
        InputError: a name or address that could be mistaken for another.
        ConflictError: it is on record already, or an address is another's.
    """
    if ref.type not in TYPES:
        raise InputError(f"{ref.type} is not kept on record", place="type", todo=f"use one of {', '.join(TYPES)}")
    principal_id(ref.id)
    if store.find_principal(tx.connection, ref) is not None:
        raise ConflictError(f"{ref} is on record already", todo="choose another id, or change what is there")
    record = PrincipalRecord(
        ref=ref, name=name, emails=tuple(emails), groups=tuple(groups), space=space, attributes=dict(attributes),
        enrolled=tx.now, source=source, external_id=external_id,
    )  # fmt: skip
    return _write(tx, record, new=True)


def change_principal(
    tx: Transaction,
    ref: Ref,
    *,
    name: str | None = None,
    emails: Sequence[str] | None = None,
    attributes: Attributes | None = None,
) -> PrincipalRecord:
    """Change what is said of a principal; what is None stays.

    Raises:
        InputError, ConflictError: as `add_principal`.
        NotFoundError: it is not on record.
    """
    record = _find(tx, ref)
    changes: dict[str, Any] = {"name": name, "attributes": attributes, "emails": tuple(emails) if emails else emails}
    return _write(tx, msgspec.structs.replace(record, **{k: v for k, v in changes.items() if v is not None}))


def restate(
    tx: Transaction, ref: Ref, *, name: str, emails: Sequence[str], groups: Sequence[str], space: str
) -> PrincipalRecord:
    """Say all of a principal anew. Nothing is told if nothing changes.

    Raises:
        InputError, ConflictError, NotFoundError: as `change_principal`.
    """
    record = _find(tx, ref)
    wanted = msgspec.structs.replace(
        record, name=name, emails=tuple(emails), groups=tuple(sorted(set(groups))), space=space
    )
    return record if wanted == record else _write(tx, wanted)


def rewrite(tx: Transaction, record: PrincipalRecord) -> PrincipalRecord:
    """Put ``record`` in place of what is on record of its principal. Nothing is told if nothing changes.

    Raises:
        InputError, ConflictError, NotFoundError: as `change_principal`.
    """
    wanted = msgspec.structs.replace(record, groups=tuple(sorted(set(record.groups))))
    return wanted if wanted == _find(tx, record.ref) else _write(tx, wanted)


def set_groups(tx: Transaction, ref: Ref, groups: Sequence[str]) -> PrincipalRecord:
    """Let the principal be in exactly these groups.

    Raises:
        NotFoundError: it is not on record.
        InputError: not the name of a group.
    """
    return _write(tx, msgspec.structs.replace(_find(tx, ref), groups=tuple(groups)))


def put_group(tx: Transaction, id_: str, *, name: str = "", groups: Sequence[str] = ()) -> Group:
    """Make a group, or change the groups that it is in.

    Raises:
        InputError: not the name of a group, or the group would be in itself.
    """
    group = Group(id=group_id(id_), name=shown_name(name), groups=tuple(sorted({group_id(one) for one in groups})))
    parents = {one.id: one.groups for one in store.load_groups(tx.connection)}
    waiting = list(group.groups)
    seen: set[str] = set()
    while waiting:
        if (one := waiting.pop()) == group.id:
            raise InputError(f"the group {group.id} would be in itself", place="groups")
        if one not in seen:
            seen.add(one)
            waiting.extend(parents.get(one, ()))
    store.put_group(tx, group)
    tx.publish(GROUPS, group.id, encode(group))
    return group


def disable(tx: Transaction, ref: Ref, reason: str) -> tuple[str, ...]:
    """Let the principal be nobody, and end all that was issued to it; its keys stay on record. The ids that ended.

    Raises:
        NotFoundError: it is not on record.
    """
    record = _find(tx, ref)
    if record.disabled is None:
        _write(tx, msgspec.structs.replace(record, disabled=tx.now, disabled_reason=reason))
    elif record.disabled_reason in BY_SOURCE and reason not in BY_SOURCE:
        _write(tx, msgspec.structs.replace(record, disabled_reason=reason))  # no source brings them back any more
    return end_credentials(
        tx, credential_store.ids_of_principal(tx.connection, ref, but=KEY_KINDS), reason, but=KEY_KINDS
    )


def enable(tx: Transaction, ref: Ref) -> PrincipalRecord:
    """Undo `disable`: the principal may prove itself again; nothing that ended comes back.

    Raises:
        NotFoundError: it is not on record.
    """
    return _write(tx, msgspec.structs.replace(_find(tx, ref), disabled=None, disabled_reason=""))


def add_ssh_key(
    tx: Transaction,
    ref: Ref,
    line: str,
    *,
    valid_from: datetime | None = None,
    valid_until: datetime | None = None,
    source: Attributes = NOTHING,
) -> KeyRecord:
    """Put the SSH key of a ``.pub`` line on record as this principal's, good from now unless told otherwise.

    ``source`` says why it is believed to be.

    Raises:
        SshKeyError: not a key that is accepted.
        ConflictError: it is on record as somebody's, or was revoked.
        NotFoundError: the principal is not on record.
    """
    key = read_line(line)
    record = KeyRecord(
        name=key.fingerprint, twin=key.thumbprint, kind="ssh", principal=ref, public=key.line,
        credential=new_id("cred"), valid_from=valid_from or tx.now, valid_until=valid_until,
    )  # fmt: skip
    return _add_key(tx, record, source)


def add_client_key(
    tx: Transaction,
    ref: Ref,
    jwk: Mapping[str, Any],
    *,
    valid_from: datetime | None = None,
    valid_until: datetime | None = None,
    source: Attributes = NOTHING,
) -> KeyRecord:
    """Put a public key on record by which a service or machine proves itself, as `add_ssh_key`.

    Raises:
        InputError: not a public key that is accepted.
        ConflictError, NotFoundError: as `add_ssh_key`.
    """
    try:
        read_published_key(dict(jwk))
    except JoseError as error:
        raise InputError(error.message, place=error.place, todo=error.todo) from error
    kept = {name: jwk[name] for name in _JWK_MEMBERS if name in jwk}
    twin = None
    if kept.get("kid") not in BEARERS:  # whoever sees a secret that is sent about could sign with its key
        with suppress(SshKeyError):
            twin = ssh_fingerprint_of_jwk(kept)
    record = KeyRecord(
        name=thumbprint(kept), twin=twin, kind="jwk", principal=ref, public=encode(kept).decode(),
        credential=new_id("cred"), valid_from=valid_from or tx.now, valid_until=valid_until,
    )  # fmt: skip
    return _add_key(tx, record, source)


def register_client(
    tx: Transaction,
    ref: Ref,
    jwks: Sequence[Mapping[str, Any]],
    *,
    name: str = "",
    groups: Sequence[str] = (),
    space: str = MAIN,
    attributes: Attributes = NOTHING,
    source: Attributes = NOTHING,
) -> PrincipalRecord:
    """Put a service or machine on record with its public keys.

    Raises:
        InputError, ConflictError: as `add_principal` and `add_client_key`.
    """
    record = add_principal(tx, ref, name=name, groups=groups, space=space, attributes=attributes)
    for jwk in jwks:
        add_client_key(tx, ref, jwk, source=source)
    return record


def set_key_window(
    tx: Transaction, name: str, *, valid_from: datetime | None, valid_until: datetime | None
) -> KeyRecord:
    """Let a key be good in another window; where ``valid_from`` is None, it begins as before.

    Tokens that it has proven already end when they were to, within the hour; to end them too, revoke the key.

    Raises:
        NotFoundError: no such key is on record.
        InputError: the window would end before it begins.
    """
    found = store.find_keys(tx.connection, [name])
    if not found:
        raise NotFoundError(f"the key {name} is not on record")
    key = msgspec.structs.replace(found[0], valid_from=valid_from or found[0].valid_from, valid_until=valid_until)
    if key != found[0]:
        _require_window(key)
        credential_store.set_expiry(tx, key.credential, valid_until or FOREVER)
        store.put_key(tx, key, new=False)
        tx.publish(KEYS, key.name, encode(key))
    return key


def revoke_key(tx: Transaction, name: str, reason: Reason) -> tuple[str, ...]:
    """End a key, by SSH fingerprint or JWK thumbprint, and all that descends from what is bound to it.

    A key that is not on record is ended too: nothing will be bound to it. The ids of the credentials that ended.

    Raises:
        InputError: not the name of a key.
    """
    if _KEY_NAME.fullmatch(name) is None:
        raise InputError("not the name of a key", place="key", todo="give SHA256:… of an SSH key, or a JWK thumbprint")
    found = store.find_keys(tx.connection, [name])
    names = {name, *(one for key in found for one in (key.name, key.twin) if one is not None)}
    for one in sorted(names):
        credential_store.ban_key(tx, one, reason)
    for key in found:
        # Compromised is the graver word: it may follow another, and is never taken back.
        if key.revoked_at is None or (reason == "compromised" and key.revoked_reason != "compromised"):
            at = tx.now if key.revoked_at is None else key.revoked_at
            dead = msgspec.structs.replace(key, revoked_at=at, revoked_reason=reason)
            store.put_key(tx, dead, new=False)
            tx.publish(KEYS, dead.name, encode(dead))
    return end_credentials(
        tx, credential_store.ids_of_key(tx.connection, sorted(names)), f"key {reason}", keys=sorted(names)
    )


def _add_key(tx: Transaction, key: KeyRecord, source: Attributes) -> KeyRecord:
    _find(tx, key.principal)
    _require_window(key)
    names = [key.name, *([key.twin] if key.twin is not None else [])]
    for held in store.find_keys(tx.connection, names):
        if held.principal == key.principal:
            raise ConflictError(f"{held.name} is on record already")
        raise ConflictError(f"{held.name} is the key of {held.principal}", todo="one key proves one principal")
    if credential_store.is_key_revoked(tx.connection, names):
        raise ConflictError(f"{key.name} was revoked", todo="make a new key; a revoked one never comes back")
    root = Credential(
        id=key.credential, parent=None, kind="ssh-key" if key.kind == "ssh" else "client-key", principal=key.principal,
        key=key.name, issued=tx.now, expires=key.valid_until or FOREVER, source=source,
    )  # fmt: skip
    credential_store.insert_credential(tx, root)
    store.put_key(tx, key, new=True)
    tx.publish(KEYS, key.name, encode(key))
    return key


def _require_window(key: KeyRecord) -> None:
    if key.valid_until is not None and key.valid_until <= key.valid_from:
        raise InputError("the key would end before it begins", place="valid_until")


def _find(tx: Transaction, ref: Ref) -> PrincipalRecord:
    record = store.find_principal(tx.connection, ref)
    if record is None:
        raise NotFoundError(f"{ref} is not on record")
    return record


def _write(tx: Transaction, record: PrincipalRecord, *, new: bool = False) -> PrincipalRecord:
    shown_name(record.name)
    principal_id(record.space, place="space")
    if len(record.emails) > MAX_EMAILS or len(record.groups) > MAX_GROUPS:
        raise InputError(f"more than {MAX_EMAILS} addresses or {MAX_GROUPS} groups")
    if len(encode(record.attributes)) > MAX_ATTRIBUTES_BYTES:
        raise InputError(f"more than {MAX_ATTRIBUTES_BYTES} bytes of attributes", place="attributes")
    lower = [email_address(email).lower() for email in record.emails]
    for email in lower:
        owner = store.email_owner(tx.connection, email)
        if lower.count(email) > 1 or (owner is not None and owner != record.ref):
            raise ConflictError(f"{email} is another's address, or is there twice", place="emails")
    kept = msgspec.structs.replace(record, groups=tuple(sorted({group_id(one) for one in record.groups})))
    store.put_principal(tx, kept, new=new)
    tx.publish(PRINCIPALS, str(kept.ref), encode(kept))
    return kept
