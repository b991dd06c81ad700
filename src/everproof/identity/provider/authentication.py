"""Which client asks: each proves itself in the one way that the file names for it, and in no other (RFC 6749, 2.3).

Two ways in one request are refused, and so is the right secret in the wrong place.
"""

import binascii
import hashlib
import hmac
from base64 import b64decode
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_plus

import msgspec

from everproof.identity.client_assertion import ASSERTION_TYPE, ClientAssertion, ClientAssertions
from everproof.identity.oauth import InvalidClientError, InvalidRequestError
from everproof.identity.provider.clients import Client, Clients
from everproof.identity.replay_store import spend
from everproof.storage import Transaction

MAX_SECRET: Final = 512


class UnprovenError(InvalidClientError):
    """Nobody is proven by what was shown; a client may show its secret by HTTP Basic."""

    headers: Final = {"www-authenticate": 'Basic realm="everproof", charset="UTF-8"'}


class Authenticated(msgspec.Struct, frozen=True):
    """A client that has proven itself. Its assertion, if it made one, must be spent in the commit that it leads to."""

    client: Client
    assertion: ClientAssertion | None = None

    def settle(self, tx: Transaction) -> None:
        """Spend the assertion.

        Raises:
            ReplayedError: it was used before. Nothing was written.
        """
        if self.assertion is not None:
            spend(tx, self.assertion.id, self.assertion.expires)


class ClientAuthentication:
    """Knows clients by what they prove."""

    def __init__(self, clients: Clients, assertions: ClientAssertions) -> None:
        self._clients = clients
        self._assertions = assertions

    def authenticate(self, fields: Mapping[str, str], authorization: str | None) -> Authenticated:
        """The client that a form's ``fields`` and the request's ``Authorization`` prove.

        Raises:
            InvalidClientError: nobody known, or not proven in its own way.
            InvalidRequestError: proven in two ways at once.
        """
        basic = _basic(authorization)
        assertion, secret = fields.get("client_assertion"), fields.get("client_secret")
        if sum(one is not None for one in (basic, assertion, secret)) > 1:
            raise InvalidRequestError("a client proves itself in one way", place="client_id")
        id_, method, shown = fields.get("client_id"), "none", ""
        if basic is not None:
            if id_ not in {None, basic[0]}:
                raise InvalidRequestError("two clients are named", place="client_id")
            id_, shown, method = *basic, "client_secret_basic"
        elif secret is not None:
            shown, method = secret, "client_secret_post"
        elif assertion is not None:
            return self._by_assertion(fields, assertion)
        client = None if id_ is None else self._clients.find(id_)
        if client is None or client.line.authentication != method or not _matches(client, shown):
            raise _unproven()
        return Authenticated(client)

    def _by_assertion(self, fields: Mapping[str, str], assertion: str) -> Authenticated:
        if fields.get("client_assertion_type") != ASSERTION_TYPE:
            raise InvalidClientError("a kind of assertion that there is not", place="client_assertion_type")
        found = self._assertions.verify(assertion, client_id=fields.get("client_id"))
        client = self._clients.find(found.client)
        if client is None or client.line.authentication != "private_key_jwt":
            raise _unproven()
        return Authenticated(client, found)


def _basic(authorization: str | None) -> tuple[str, str] | None:
    """The id and the secret of HTTP Basic, each form-encoded before (RFC 6749, section 2.3.1)."""
    scheme, _, value = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        id_, colon, secret = b64decode(value.strip(), validate=True).decode("ascii").partition(":")
        if colon:
            return unquote_plus(id_, errors="strict"), unquote_plus(secret, errors="strict")
    except (binascii.Error, ValueError):
        pass
    raise UnprovenError("not HTTP Basic with an id and a secret", place="header authorization")


def _matches(client: Client, shown: str) -> bool:
    if client.public:
        return True
    mark = hashlib.sha256(shown.encode()).hexdigest() if len(shown) <= MAX_SECRET else ""
    found = [hmac.compare_digest(mark, one) for one in client.line.secret_sha256]
    return any(found)


def _unproven() -> UnprovenError:
    """The same words whether the client is unknown, its secret is wrong, or it stands in the wrong place."""
    return UnprovenError(
        "no client is proven by this", place="client_id", todo="prove it as `authentication` in clients.toml says"
    )
