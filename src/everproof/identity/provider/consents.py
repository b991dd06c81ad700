"""Consent: what a person lets a client know, remembered for each client until it asks for more.

A question belongs to the session that was asked, so nobody answers another's.
"""

from datetime import datetime, timedelta
from typing import Final

import msgspec
from sqlalchemy import Connection

from everproof.identity.provider import store
from everproof.identity.provider.clients import Client
from everproof.identity.provider.requests import AuthorizationRequest
from everproof.identity.sessions import Session
from everproof.kernel.canonical import encode
from everproof.kernel.clock import milliseconds
from everproof.kernel.errors import NotFoundError, RefusedError
from everproof.kernel.ids import new_id
from everproof.storage import Transaction

LIFETIME: Final = timedelta(minutes=10)


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A consent that is asked for. ``seen`` is when its request was first seen."""

    request: AuthorizationRequest
    user: str
    seen: datetime


class Consent(msgspec.Struct, frozen=True):
    """What a client may know."""

    scope: frozenset[str]


_read: Final = msgspec.json.Decoder(Question).decode


def consent_of(connection: Connection, user: str, client: str) -> Consent | None:
    """What ``user`` lets ``client`` know."""
    row = store.find_consent(connection, user, client)
    return None if row is None else Consent(frozenset(row.scope.split()))


def consents_of(connection: Connection, user: str) -> dict[str, Consent]:
    """What ``user`` lets clients know, by the client."""
    return {row.client: Consent(frozenset(row.scope.split())) for row in store.find_consents(connection, user)}


def withdraw(tx: Transaction, user: str, client: str) -> bool:
    """Let ``client`` know no more; False where it might know nothing."""
    return store.remove_consent(tx, user, client)


def ask(tx: Transaction, session: Session, question: Question) -> str:
    """Put a question on record; its id."""
    id_ = new_id("req")
    store.insert_question(
        tx, id=id_, session=session.id, client=question.request.client_id, body=encode(question),
        expires=milliseconds(tx.now + LIFETIME),
    )  # fmt: skip
    return id_


def question_of(connection: Connection, id_: str, session: str, now: datetime) -> Question:
    """The question, for the session that it was asked in.

    Raises:
        NotFoundError: there is none, it is too old, or it is another's.
    """
    row = store.find_question(connection, id_)
    if row is None or row.session != session or row.expires <= milliseconds(now):
        raise NotFoundError("nobody asks you for this", todo="go back to where you came from, and begin again")
    return _read(row.body)


def answer(tx: Transaction, id_: str, question: Question, *, gives: bool) -> None:
    """Give or refuse what was asked for.

    Raises:
        RefusedError: it was answered before. Nothing was written.
    """
    if not store.remove_question(tx, id_):
        raise RefusedError("this was answered before")
    if gives:
        request = question.request
        store.put_consent(tx, question.user, request.client_id, " ".join(sorted(request.scope)))


def is_needed(client: Client, request: AuthorizationRequest, known: Consent | None, *, consented: bool) -> bool:
    """Whether a person must be asked: unless the client is the organisation's own, or was let know as much before.

    Where the client wants them asked anew, and for the command line always, only consent to this very request counts
    (RFC 8252, section 8.6): any program on a machine can begin the login of one that keeps no secret.
    """
    if "consent" in request.prompt or client.own:
        return not consented
    if not client.asks_consent:
        return False
    return known is None or not known.scope.issuperset(request.scope)
