"""Refresh tokens of the command line: bound to its key, and another one each time (RFC 9700, section 4.14.2).

Of each session two are known: the current one, and the one before, which is still good until the current one was used,
since an answer may be lost on its way. Whatever else comes back with the right key was used by two, or came from a
copy: then the session ends, with all that came of it.
"""

import hmac
from typing import Final

import msgspec

from everproof.identity.credentials import end_credentials
from everproof.identity.provider import store
from everproof.identity.provider.codes import hashed, secret
from everproof.identity.provider.errors import InvalidGrantError
from everproof.identity.sessions import Session
from everproof.kernel.clock import milliseconds
from everproof.storage import Transaction

STOLEN: Final = "its refresh token was used by two"
PREFIX: Final = "cred_"


class Renewed(msgspec.Struct, frozen=True):
    """A session that may go on, and the refresh token that follows."""

    session: str
    token: str

    def __repr__(self) -> str:
        return f"Renewed({self.session})"


def first_token(tx: Transaction, session: Session, client: str) -> str:
    """The first refresh token of a session that is bound to a key."""
    assert session.key is not None
    token = _token(session.id)
    store.insert_renewal(
        tx, session=session.id, client=client, key=session.key, current=hashed(token),
        expires=milliseconds(session.expires),
    )  # fmt: skip
    return token


def renew(tx: Transaction, token: str, *, client: str, key: str) -> Renewed | InvalidGrantError:
    """Use ``token`` up, shown with ``key``; what it is not good for is returned, since what was found out is written.

    The right token with another key is in the hands of somebody else, so that ends the session too.
    """
    session = token.partition(".")[0]
    row = store.find_renewal(tx.connection, session) if session.startswith(PREFIX) else None
    shown = hashed(token)
    if row is None or row.client != client or (row.key != key and shown not in {row.current, row.previous}):
        return InvalidGrantError("not a refresh token of this client and this key", place="refresh_token")
    if row.key != key:
        return _stolen(tx, session)
    if hmac.compare_digest(shown, row.current):
        changed = {"previous": row.current}
    elif row.previous is not None and hmac.compare_digest(shown, row.previous):
        changed = {}
    else:
        return _stolen(tx, session)
    fresh = _token(session)
    store.change_renewal(tx, session, current=hashed(fresh), **changed)
    return Renewed(session, fresh)


def _stolen(tx: Transaction, session: str) -> InvalidGrantError:
    end_credentials(tx, [session], STOLEN)
    store.remove_renewal(tx, session)
    message = "the refresh token is in the hands of two, so its session was ended"
    return InvalidGrantError(message, place="refresh_token", todo="log in again")


def _token(session: str) -> str:
    return f"{session}.{secret()}"
