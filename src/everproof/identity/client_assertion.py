"""Clients that prove themselves with a key: `private_key_jwt` (RFC 7523), for services and for machines alike."""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

import msgspec

from everproof.identity.claims import plain, require_times
from everproof.identity.jose import JoseError, read_jws, read_object, verify_signature
from everproof.identity.jwk import VerificationKey
from everproof.identity.oauth import InvalidClientError
from everproof.kernel.canonical import encode
from everproof.kernel.clock import Clock
from everproof.kernel.words import Principal, Proof

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
MAX_ASSERTION_BYTES: Final = 8192
MAX_LIFETIME: Final = timedelta(minutes=5)
"""It is made for one request; nothing honest needs it later."""
MAX_JTI: Final = 512
TYPES: Final = frozenset({None, "JWT", "client-authentication+jwt"})


class ClientKey(msgspec.Struct, frozen=True):
    """One key of a client, as it was enrolled. ``thumbprint`` names it; ``credential`` is what it stands for."""

    thumbprint: str
    key: VerificationKey
    credential: str | None = None


class Clients(Protocol):
    """Knows the clients, in memory."""

    def client(self, client_id: str) -> tuple[Principal, Sequence[ClientKey]] | None:
        """The principal that ``client_id`` names, with the keys that are good now; None if there is none."""
        ...


class ClientAssertion(msgspec.Struct, frozen=True, kw_only=True):
    """A verified assertion, to be spent under ``id`` in the commit that it leads to."""

    proof: Proof
    id: bytes
    client: str
    expires: datetime


class ClientAssertions:
    """Verifies assertions made for this server."""

    def __init__(self, clients: Clients, clock: Clock, *, issuer: str, token_endpoint: str) -> None:
        self._clients = clients
        self._clock = clock
        self._audiences = frozenset({issuer, token_endpoint})

    def verify(self, assertion: str, *, client_id: str | None = None) -> ClientAssertion:
        """Who made ``assertion``.

        Raises:
            InvalidClientError: nobody known, or not for this server, or not now. Which, is told only once it is
                known to come from the client that it names.
        """
        try:
            return self._verify(assertion, client_id)
        except JoseError as error:
            raise InvalidClientError(
                error.message, place=f"client_assertion: {error.place}", todo=error.todo
            ) from error

    def _verify(self, assertion: str, client_id: str | None) -> ClientAssertion:
        jws = read_jws(assertion, max_bytes=MAX_ASSERTION_BYTES)
        if jws.header.get("typ") not in TYPES:
            raise JoseError("a token for another purpose", place="header.typ")
        claims = read_object(jws.payload, "claims")
        name = claims.get("sub")
        if not isinstance(name, str) or claims.get("iss") != name or (client_id is not None and client_id != name):
            raise JoseError("iss, sub and client_id must name one client", place="claims.sub")
        known = self._clients.client(name)
        principal, keys = known if known is not None else (None, ())
        signer = _signer(keys, jws.header["alg"], jws.header.get("kid"), jws.signing_input, jws.signature)
        if principal is None or signer is None:
            raise JoseError("no client of this name has a key that made this signature", place="signature")
        if claims.get("aud") not in (*self._audiences, *([one] for one in self._audiences)):
            todo = f"make it for {min(self._audiences, key=len)} and nobody else"
            raise JoseError("the assertion is for another audience", place="claims.aud", todo=todo)
        now = self._clock.now()
        issued, expires = require_times(claims, now, max_age=MAX_LIFETIME)
        if expires - now > MAX_LIFETIME:
            raise JoseError("the assertion lives too long", place="claims.exp", todo="at most five minutes")
        jti = claims.get("jti")
        if not isinstance(jti, str) or not 0 < len(jti) <= MAX_JTI:
            raise JoseError("the assertion has no id", place="claims.jti")
        return ClientAssertion(
            proof=Proof(
                kind="client-assertion",
                principal=principal,
                at=min(issued, now),
                credential=signer.credential,
                key=signer.thumbprint,
                claims={"client": name, "token": plain(claims)},
            ),
            id=hashlib.sha256(encode(["assertion", name, jti])).digest(),
            client=name,
            expires=expires,
        )


def _signer(
    keys: Sequence[ClientKey], algorithm: str, kid: str | None, signing_input: bytes, signature: bytes
) -> ClientKey | None:
    for one in keys:
        if one.key.algorithm != algorithm or kid not in {None, one.thumbprint, one.key.kid}:
            continue
        try:
            verify_signature(one.key.algorithm, one.key.public, signing_input, signature)
        except JoseError:
            continue
        return one
    return None
