"""Who calls: an access token of ours, and a DPoP proof made with its key for this very request (RFC 9449, section 7).

A caller that has a connection to itself may say so in a proof, with the claim ``"connection": "own"``. The server then
takes its token on that connection without a proof for each request, as it would with mutual TLS: whoever stole the
token is on another connection. Behind a proxy that shares connections nobody says so, and nobody is taken at it. The
token itself, its expiry and its revocation are looked at for every request either way.
"""

from typing import Any, Final, Protocol

import msgspec
from starlette.types import Scope

from everproof.kernel.canonical import from_b64url
from everproof.kernel.errors import InputError, UnauthenticatedError
from everproof.kernel.words import Proof
from everproof.server.http.call import Call

MAX_OWNED: Final = 16
"""Tokens that one connection is remembered to hold."""


class Token(Protocol):
    """A verified access token."""

    @property
    def proof(self) -> Proof:
        """Whom it proves."""
        ...

    @property
    def key(self) -> str | None:
        """The thumbprint of the key that it is bound to."""
        ...


class Tokens(Protocol):
    """Verifies access tokens for this server."""

    def verify(self, token: str) -> Token:
        """The token, if it is good now; else UnauthenticatedError."""
        ...


class Possession(Protocol):
    """Verifies DPoP proofs."""

    @property
    def nonce(self) -> str:
        """The nonce that proofs must carry."""
        ...

    def verify(self, proof: str, *, method: str, url: str, token: str | None = None, key: str | None = None) -> str:
        """The thumbprint of the proof's key; else UnauthenticatedError."""
        ...


class NoTokenError(UnauthenticatedError):
    """The request says nothing of who makes it."""

    headers: Final = {"www-authenticate": 'DPoP algs="ES256 EdDSA"'}

    def __init__(self, message: str) -> None:
        super().__init__(message, todo="send an access token as `Authorization: DPoP …` and a proof as `DPoP: …`")


class Callers:
    """Proves who calls."""

    def __init__(self, tokens: Tokens, dpop: Possession, *, issuer: str) -> None:
        self._tokens = tokens
        self._dpop = dpop
        self._issuer = issuer

    def prove(self, scope: Scope) -> Proof:
        """The proof of who makes this request.

        Raises:
            UnauthenticatedError: there is no token, it does not hold, or its key was not shown.
            InputError: a header stands there twice.
        """
        authorization, proof = Call(scope).headers(b"authorization", b"dpop")
        if authorization is None:
            raise NoTokenError("there is no access token")
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() != "dpop":
            raise NoTokenError("tokens of this server are bound to a key and shown with the scheme DPoP")
        token = self._tokens.verify(value)
        owned = _owned(scope)
        if proof is None:
            if owned is None or value not in owned:
                raise NoTokenError("the key that the token is bound to was not shown")
            return token.proof
        self._dpop.verify(proof, method=scope["method"], url=self._issuer + scope["path"], token=value, key=token.key)
        if owned is not None and _says_own(proof) and len(owned) < MAX_OWNED:
            owned.add(value)
        return token.proof

    def key(self, scope: Scope) -> str:
        """The thumbprint of the key that the caller, who has no token yet, shows for this request.

        Raises:
            UnauthenticatedError: it was not shown.
            InputError: a header stands there twice.
        """
        call = Call(scope)
        proof = call.header(b"dpop")
        if proof is None:
            raise NoTokenError("no key was shown")
        return self._dpop.verify(proof, method=call.method, url=self._issuer + call.path)


def _owned(scope: Scope) -> set[str] | None:
    """What this connection is remembered to hold; None where nobody can tell that it stays with one caller."""
    if scope["scheme"] != "https" and not scope.get("extensions"):
        return None
    owned: set[str] | None = scope.get("state", {}).get("owned")
    return owned


def _says_own(proof: str) -> bool:
    """Whether a proof, already verified, claims its connection."""
    try:
        claims: dict[str, Any] = msgspec.json.decode(from_b64url(proof.split(".")[1]))
    except (InputError, msgspec.DecodeError, IndexError):  # pragma: no cover - it was verified
        return False
    return claims.get("connection") == "own"
