"""Secrets that are good once: links for people and join tokens for machines. Kept as hashes alone."""

import hashlib
import secrets
from datetime import timedelta
from typing import Final

import msgspec

from everproof.identity import held_store, store
from everproof.identity.names import email_address, group_id, principal_id
from everproof.identity.records import MAIN, Purpose, Ticket
from everproof.kernel.canonical import b64url, from_b64url
from everproof.kernel.errors import InputError, RefusedError, UnauthenticatedError
from everproof.kernel.ids import new_id
from everproof.kernel.words import Ref
from everproof.storage import Storage, Transaction

MAX_LIFETIME: Final = timedelta(days=7)
"""An invitation that nobody took up in a week is a stray key to the house."""

_SECRET_BYTES: Final = 32


class Issued(msgspec.Struct, frozen=True):
    """A ticket with its secret, which is shown once and kept nowhere."""

    ticket: Ticket
    secret: str

    def __repr__(self) -> str:
        return f"Issued({self.ticket.id})"


def issue_ticket(
    tx: Transaction,
    purpose: Purpose,
    *,
    lifetime: timedelta,
    name: str = "",
    emails: tuple[str, ...] = (),
    groups: tuple[str, ...] = (),
    space: str = MAIN,
    by: Ref | None = None,
) -> Issued:
    """A ticket for ``name``, or for whatever name its holder chooses, in ``groups``.

    Raises:
        InputError: a name or address that is not accepted, or a lifetime beyond a week.
    """
    if not timedelta(0) < lifetime <= MAX_LIFETIME:
        raise InputError("must be more than nothing and at most seven days", place="lifetime")
    ticket = Ticket(
        id=new_id("join" if purpose == "join" else "enr"),
        purpose=purpose,
        name=principal_id(name, place="name") if name else "",
        emails=tuple(email_address(email, place="emails") for email in emails),
        groups=tuple(sorted({group_id(group) for group in groups})),
        space=principal_id(space, place="space"),
        factor="jwk" if purpose == "join" else "ssh-key",
        expires=tx.now + lifetime,
        by=by,
    )
    secret = secrets.token_bytes(_SECRET_BYTES)
    store.put_ticket(tx, _hash(secret), ticket)
    return Issued(ticket, b64url(secret))


def look_up_ticket(storage: Storage, secret: str, *purposes: Purpose) -> Ticket:
    """The ticket of ``secret``, not used up by looking. One query.

    Raises:
        UnauthenticatedError: there is none, or it was used, or has expired: which, is nobody's business.
    """
    with storage.reading() as connection:
        ticket = store.find_ticket(connection, _hash(_bytes(secret)), purposes, storage.clock.now())
    if ticket is None:
        raise _dead()
    return ticket


def use_ticket(tx: Transaction, secret: str, *purposes: Purpose) -> None:
    """Use the ticket of ``secret`` up: first of all that is written in its change.

    It falls with whoever made it: who took over an administrator does not come back by a link made meanwhile.

    Raises:
        RefusedError: it was used meanwhile, or has expired, or its maker is disabled or held. Nothing was written.
    """
    hash_ = _hash(_bytes(secret))
    ticket = store.find_ticket(tx.connection, hash_, purposes, tx.now)
    if ticket is not None and ticket.by is not None and _is_out(tx, ticket.by):
        raise RefusedError("whoever made the link or join token is disabled or contained", todo="ask for a new one")
    if not store.use_ticket(tx, hash_, purposes):
        raise RefusedError("the link or join token was used or has expired", todo="ask for a new one")


def _is_out(tx: Transaction, ref: Ref) -> bool:
    record = store.find_principal(tx.connection, ref)
    return (record is not None and record.disabled is not None) or held_store.is_held(tx.connection, ref)


def _bytes(secret: str) -> bytes:
    try:
        data = from_b64url(secret) if len(secret) < 2 * _SECRET_BYTES else b""
    except InputError:
        data = b""
    if len(data) != _SECRET_BYTES:
        raise _dead()
    return data


def _hash(secret: bytes) -> bytes:
    # No salt and no stretching: 256 random bits cannot be guessed.
    return hashlib.sha256(b"everproof ticket\0" + secret).digest()


def _dead() -> UnauthenticatedError:
    return UnauthenticatedError(
        "the link or join token is not known, or was used, or has expired", todo="ask an administrator for a new one"
    )
