"""Who calls: an access token of ours, and a DPoP proof made with its key for this very request (RFC 9449, section 7).

Or a certificate of the connection: it proves its holder by itself, or shows the key of a token that is bound to it
(RFC 8705). The two kinds of tokens are never taken for each other.

A caller that has a connection to itself may say so in a proof, with the claim ``"connection": "own"``. The server then
takes its token on that connection without a proof for each request, as it would with mutual TLS: whoever stole the
token is on another connection. Behind a proxy that shares connections nobody says so, and nobody is taken at it. The
token itself, its expiry and its revocation are looked at for every request either way.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import msgspec
from starlette.types import Scope

from everproof.identity.access_tokens import Binding, subject
from everproof.identity.certificates import Certified, Presented, presented
from everproof.kernel.canonical import from_b64url
from everproof.kernel.errors import InputError, RefusedError, UnauthenticatedError
from everproof.kernel.words import Proof, Ref
from everproof.server.forwarded import HEADERS, ForgedError, nearest, read_forwarded
from everproof.server.http.call import Call, certificate_of, picked

_WANTED: Final = HEADERS | {b"authorization", b"dpop"}

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
        """The thumbprint of the key, or the name of the certificate, that it is bound to."""
        ...

    @property
    def bound_by(self) -> Binding:
        """Which of the two."""
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


class Certificates(Protocol):
    """Judges client certificates."""

    def certify(self, shown: Presented) -> Certified:
        """Whom it proves now; else UnauthenticatedError."""
        ...

    def is_held(self, ref: Ref) -> bool:
        """Whether a principal is contained."""
        ...


class Browsers(Protocol):
    """Knows the sessions of people at browsers."""

    def prove(self, scope: Scope) -> Proof | None:
        """The proof of who is in the session that the request's cookie stands for; None if it has none."""
        ...

    def touch(self, id_: str) -> None:
        """Note that a session is used."""
        ...


class NoTokenError(UnauthenticatedError):
    """The request says nothing of who makes it."""

    headers: Final = {"www-authenticate": 'DPoP algs="ES256 EdDSA"'}

    def __init__(self, message: str) -> None:
        super().__init__(message, todo="send an access token as `Authorization: DPoP …` and a proof as `DPoP: …`")


class NobodyError(NoTokenError):
    """The request has no token of this server's at all."""

    is_question = True


class Callers:
    """Proves who calls."""

    def __init__(
        self,
        tokens: Tokens,
        dpop: Possession,
        *,
        issuer: str,
        certificates: Certificates | None = None,
        proxies: Iterable[str] = (),
        browser: Browsers | None = None,
    ) -> None:
        """``proxies`` are services (``service:edge``) that may say with which certificate their clients came.

        ``browser`` knows who comes with a cookie and no token.
        """
        self._browser = browser
        self._tokens = tokens
        self._dpop = dpop
        self._issuer = issuer
        self._certificates = certificates
        self._proxies = frozenset(proxies)

    def prove(self, scope: Scope) -> Proof:
        """The proof of who makes this request.

        Raises:
            UnauthenticatedError: there is no token, it does not hold, or its key was not shown.
            InputError: a header stands there twice.
        """
        found = picked(scope, _WANTED)
        if HEADERS.isdisjoint(found):
            proof = self._prove(scope, found, certificate_of(scope), _owned(scope))
        else:
            proof = self._prove_behind_proxy(scope, found)
        if self._proxies and subject(proof.principal.ref) in self._proxies:
            # Else whoever has no certificate, and is let through by the proxy all the same, would be the proxy.
            raise NoTokenError("a proxy proves nobody but its clients, and this client came without a certificate")
        return self._used(proof)

    def _used(self, proof: Proof) -> Proof:
        """``proof``, after a note that its session is used."""
        if self._browser is not None and (session := proof.claims.get("session")) is not None:
            self._browser.touch(session)
        return proof

    def certificate(self, scope: Scope, found: dict[bytes, bytes]) -> Presented | None:
        """The certificate that the caller, who may have no token yet, came with; of a proxy, that of its client.

        ``found`` has the headers that a proxy may send, and whatever else was picked with them.

        Raises:
            RefusedError: somebody who is no proxy says which it was.
            InputError: what a proxy says cannot be read.
        """
        shown = certificate_of(scope)
        if HEADERS.isdisjoint(found):
            return None if shown is None or self._is_proxy(shown) else shown
        if shown is None:
            raise ForgedError(
                next(name for name in HEADERS if name in found), "a caller without a certificate of its own"
            )
        return self._client(found, self._certify(shown).proof.principal.ref, shown)

    def _prove(self, scope: Scope, found: dict[bytes, bytes], shown: Presented | None, owned: set[str] | None) -> Proof:
        authorization = found.get(b"authorization")
        if authorization is None:
            if self._browser is not None and (proven := self._browser.prove(scope)) is not None:
                return proven
            if shown is not None:
                return self._certify(shown).proof
            raise NobodyError("there is no access token")
        scheme, _, value = authorization.decode("latin-1").partition(" ")
        if scheme.lower() != "dpop":
            return self._prove_by_certificate(scheme, value, shown)
        token = self._tokens.verify(value)
        if token.bound_by != "jkt":
            raise NoTokenError("the token is bound to a certificate, and no other key shows it")
        shown_proof = found.get(b"dpop")
        if shown_proof is None:
            if owned is None or value not in owned:
                raise NoTokenError("the key that the token is bound to was not shown")
            return token.proof
        proof = shown_proof.decode("latin-1")
        self._dpop.verify(proof, method=scope["method"], url=self._issuer + scope["path"], token=value, key=token.key)
        if owned is not None and _says_own(proof) and len(owned) < MAX_OWNED:
            owned.add(value)
        return token.proof

    def _prove_by_certificate(self, scheme: str, value: str, shown: Presented | None) -> Proof:
        if scheme.lower() != "bearer" or shown is None:
            raise NoTokenError("tokens of this server are bound to a key and shown with the scheme DPoP")
        token = self._tokens.verify(value)
        if token.bound_by == "jkt":
            raise NoTokenError("the token is bound to a key, and a certificate does not show it")
        if token.key != shown.name:
            raise NoTokenError("the token is bound to another certificate than that of this connection")
        self._certify(shown)  # it may have expired, or its authority be trusted no more, while the token lives
        return token.proof if shown.by is None else msgspec.structs.replace(token.proof, vouched_by=shown.by)

    def _prove_behind_proxy(self, scope: Scope, found: dict[bytes, bytes]) -> Proof:
        """A request that came by a proxy, or says so."""
        shown = certificate_of(scope)
        if shown is not None:
            client = self._client(found, self._certify(shown).proof.principal.ref, shown)
            return self._prove(scope, found, client, None)
        if b"authorization" not in found:
            raise ForgedError(next(name for name in HEADERS if name in found), "a caller without proof of its own")
        proxy = self._prove(scope, found, None, _owned(scope)).principal.ref
        return self._certify(self._client(found, proxy, None)).proof

    def _client(self, found: dict[bytes, bytes], proxy: Ref, shown: Presented | None) -> Presented:
        """The certificate of a proxy's client."""
        if subject(proxy) not in self._proxies:
            raise ForgedError(next(name for name in HEADERS if name in found), str(proxy))
        if self._certificates is None or self._certificates.is_held(proxy):
            raise RefusedError(f"{proxy} is contained, and vouches for nobody", todo="ask an administrator")
        at = datetime.now(UTC)
        chain = nearest(read_forwarded(found), lambda one: self._is_proxy(presented(one, at)))
        client = presented(chain, at, by=proxy)
        if shown is not None and client.name == shown.name:
            raise ForgedError(next(name for name in HEADERS if name in found), f"{proxy}, of itself,")
        return client

    def _is_proxy(self, shown: Presented) -> bool:
        if not self._proxies:
            return False
        try:
            return subject(self._certify(shown).proof.principal.ref) in self._proxies
        except UnauthenticatedError:
            return False

    def _certify(self, shown: Presented) -> Certified:
        if self._certificates is None:
            raise NoTokenError("certificates prove nobody here")
        return self._certificates.certify(shown)

    def prove_relayed(self, authorization: str | None, proof: str | None, *, method: str, url: str) -> Proof:
        """The proof of who made a request to ``url`` that a gateway holds back, from two of its headers.

        A gateway sends many callers' requests over one connection, so each request needs a proof of its own.

        Raises:
            UnauthenticatedError: as `prove`.
        """
        scheme, _, value = (authorization or "").partition(" ")
        if scheme.lower() != "dpop":
            raise NobodyError("there is no access token of this server's")
        token = self._tokens.verify(value)
        if proof is None or token.key is None or token.bound_by != "jkt":
            raise NoTokenError("the key that the token is bound to was not shown")
        self._dpop.verify(proof, method=method, url=url, token=value, key=token.key)
        return self._used(token.proof)

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
