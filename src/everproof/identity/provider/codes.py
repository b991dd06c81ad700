"""Authorization codes and pushed requests: known by their hashes, good once and for a short time.

A code that comes back a second time has been seen by somebody else, so what it gave is taken back (RFC 6749, 4.1.2).
"""

import hashlib
import hmac
import secrets
from datetime import timedelta
from typing import Final

import msgspec
from sqlalchemy import Connection

from everproof.identity.credentials import end_credentials
from everproof.identity.provider import store
from everproof.identity.provider.clients import Client
from everproof.identity.provider.errors import InvalidGrantError
from everproof.identity.provider.requests import AuthorizationRequest
from everproof.kernel.canonical import b64url, encode
from everproof.kernel.clock import from_milliseconds, milliseconds
from everproof.kernel.errors import RefusedError, UnavailableError
from everproof.storage import Transaction

CODE_LIFETIME: Final = timedelta(seconds=60)
"""It is on its way from one browser to one server; RFC 6749 would let it live ten minutes."""
REMEMBERED: Final = timedelta(hours=1)
"""How long a used code is known as one: as long as anything that it gave can live."""
PUSHED_LIFETIME: Final = timedelta(minutes=10)
"""RFC 9126 leaves it open; somebody has to sign in meanwhile."""
MAX_PUSHED: Final = 1_000
"""Requests of one client that wait at a time."""

_RANDOM_BYTES: Final = 32
MIN_VERIFIER: Final = 43
MAX_VERIFIER: Final = 128


class CodeGrant(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a code stands for. ``session`` is the browser's; ``scope`` is what its person consented to."""

    request: AuthorizationRequest
    session: str
    user: str
    scope: tuple[str, ...] = ()
    address: str = ""
    agent: str = ""


class Replayed(msgspec.Struct, frozen=True):
    """A code that was used before. ``sign_in`` is what its client knows as a session, and has to hear is over."""

    sign_in: str | None


_read_grant: Final = msgspec.json.Decoder(CodeGrant).decode
_read_request: Final = msgspec.json.Decoder(AuthorizationRequest).decode


def secret() -> str:
    """A secret that nobody guesses."""
    return b64url(secrets.token_bytes(_RANDOM_BYTES))


def hashed(text: str) -> bytes:
    """What a secret is kept as."""
    return hashlib.sha256(text.encode()).digest()


def give_code(tx: Transaction, grant: CodeGrant) -> str:
    """A code for what was allowed; a pushed request is used up by it.

    Raises:
        RefusedError: the pushed request was used before. Nothing was written.
    """
    if grant.request.pushed and not store.remove_pushed(tx, hashed(grant.request.pushed)):
        raise RefusedError("the pushed request was used before", todo="begin again")
    code = secret()
    store.insert_code(
        tx, hash=hashed(code), client=grant.request.client_id, body=encode(grant),
        expires=milliseconds(tx.now + CODE_LIFETIME + REMEMBERED),
    )  # fmt: skip
    return code


def take_code(
    tx: Transaction, code: str, *, client: Client, redirect_uri: str, verifier: str
) -> CodeGrant | Replayed | InvalidGrantError:
    """What ``code`` stands for, used up by this; what it is instead, where it is not good.

    Nothing is raised, since what is found out must be written down: whoever shows a code with the wrong address or the
    wrong verifier has it from somewhere, so it is good no more.
    """
    mark = hashed(code)
    row = store.find_code(tx.connection, mark)
    if row is None or row.client != client.id:
        return InvalidGrantError("the code is not one that this client was given", place="code")
    if row.used is not None:
        store.change_code(tx, mark, replayed=True)
        if row.credential is not None:
            end_credentials(tx, [row.credential], "its authorization code was used twice")
        return Replayed(row.sign_in)
    store.change_code(tx, mark, used=milliseconds(tx.now))
    grant = _read_grant(row.body)
    if tx.now >= from_milliseconds(row.expires) - REMEMBERED:
        return InvalidGrantError("the code has expired", place="code", todo="begin again")
    if redirect_uri != grant.request.redirect_uri:
        return InvalidGrantError("the code was sent to another address", place="redirect_uri")
    if not _fits(verifier, grant.request.code_challenge):
        return InvalidGrantError("not the verifier of the code's challenge", place="code_verifier")
    return grant


def require_unreplayed(tx: Transaction, code: str) -> None:
    """Check that a code which was taken was not shown again since.

    Raises:
        RefusedError: it was.
    """
    row = store.find_code(tx.connection, hashed(code))
    if row is None or row.replayed:
        raise RefusedError("the code was used twice", todo="begin again")


def settle_code(tx: Transaction, code: str, *, credential: str, sign_in: str | None) -> None:
    """Remember what ``code`` gave."""
    store.change_code(tx, hashed(code), credential=credential, sign_in=sign_in)


def push(tx: Transaction, request: AuthorizationRequest) -> str:
    """Keep a request until a browser comes with its name (RFC 9126); the name.

    Raises:
        UnavailableError: too many of the client's wait.
    """
    if store.count_pushed(tx.connection, request.client_id, tx.now) >= MAX_PUSHED:
        raise UnavailableError("too many requests of this client wait", todo="try again in some minutes")
    name = secret()
    store.insert_pushed(
        tx, hash=hashed(name), client=request.client_id, body=encode(request),
        expires=milliseconds(tx.now + PUSHED_LIFETIME),
    )  # fmt: skip
    return name


def find_pushed(connection: Connection, name: str, *, client: str, now_ms: int) -> AuthorizationRequest | None:
    """The request that ``client`` pushed under ``name``, unless it is too old or was used."""
    row = store.find_pushed(connection, hashed(name))
    if row is None or row.client != client or row.expires <= now_ms:
        return None
    return msgspec.structs.replace(_read_request(row.body), pushed=name)


def _fits(verifier: str, challenge: str) -> bool:
    if not MIN_VERIFIER <= len(verifier) <= MAX_VERIFIER or not verifier.isascii():
        return False
    return hmac.compare_digest(b64url(hashlib.sha256(verifier.encode()).digest()), challenge)
