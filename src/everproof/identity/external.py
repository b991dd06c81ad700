"""Tokens of other issuers, such as that of a CI job: verified by the issuer's keys, then by a trust binding.

What comes out is a proof that still lacks a key. Its first use binds the token to the caller's key, in the commit of
the exchange (`everproof.identity.replay_store`).
"""

import hashlib
from datetime import datetime
from typing import Any, Final

import msgspec

from everproof.identity.bindings import NOBODY, Binding, TrustBindings, TrustedIssuer
from everproof.identity.claims import Told, UnknownClaims, plain, require_claims, require_times
from everproof.identity.jose import JoseError, Jws, read_jws, read_object, verify_signature
from everproof.identity.jwks import IssuerKeys
from everproof.identity.jwt_svid import verify_jwt_svid, workload_of
from everproof.identity.spiffe import SpiffeId
from everproof.identity.spiffe_bundles import SpiffeBundles
from everproof.kernel.canonical import encode
from everproof.kernel.clock import Clock
from everproof.kernel.words import Proof

TYPES: Final = frozenset({None, "JWT", "jwt"})
"""Of the header. Another type is a token for another purpose (RFC 8725, section 3.11)."""
MAX_JTI: Final = 512


class ExternalToken(msgspec.Struct, frozen=True, kw_only=True):
    """A verified token: the proof it makes, and the id under which its first use is kept."""

    proof: Proof
    id: bytes
    issuer: str
    space: str
    expires: datetime


class ExternalTokens:
    """Verifies tokens of the issuers that the ruling bundle trusts."""

    def __init__(self, keys: IssuerKeys, clock: Clock, bundles: SpiffeBundles | None = None) -> None:
        """``bundles`` are those of the trust domains whose JWT-SVIDs may come."""
        self._keys = keys
        self._bundles = bundles
        self._clock = clock
        self._unknown = UnknownClaims(clock)
        self._bindings = NOBODY

    @property
    def bindings(self) -> TrustBindings:
        """What is trusted now."""
        return self._bindings

    def trust(self, bindings: TrustBindings) -> None:
        """Trust ``bindings`` from now on, and nothing else."""
        self._bindings = bindings
        self._keys.forget(bindings.urls)

    def on_unknown_claim(self, tell: Told) -> None:
        """Tell ``tell`` of claims that an issuer was not known to send, each once an hour."""
        self._unknown.tell = tell

    async def verify(self, token: str) -> ExternalToken:
        """Who the bearer of ``token`` is, its key still to be shown.

        Raises:
            JoseError: it does not hold, or no binding fits it.
            OutboundError: its issuer's keys cannot be had.
        """
        jws = read_jws(token)
        claims = read_object(jws.payload, "claims")
        if not self._bindings.knows(claims.get("iss")) and (workload := workload_of(claims)) is not None:
            return self._svid(jws, claims, workload)
        if jws.header.get("typ") not in TYPES:
            raise JoseError("a token for another purpose", place="header.typ")
        issuer = self._bindings.issuer(claims.get("iss"))
        await self._verify_signature(jws, issuer)
        issued, expires = require_times(claims, self._clock.now(), max_age=issuer.max_age)
        _require_audience(claims.get("aud"), issuer.audience)
        require_claims(claims, issuer.kind.rules)
        issuer.kind.check_claims(claims)
        binding = issuer.bind(claims)
        return ExternalToken(
            proof=self._proof(claims, issuer, binding, issued, expires),
            id=_token_id(claims, jws),
            issuer=issuer.url,
            space=binding.space,
            expires=expires,
        )

    def _svid(self, jws: Jws, claims: dict[str, Any], workload: SpiffeId) -> ExternalToken:
        domain = self._bindings.domains.get(workload.trust_domain)
        if domain is None or self._bundles is None:
            todo = "add a [spiffe] file for it to .everproof/trust/"
            raise JoseError(
                f"the trust domain {workload.trust_domain} is not trusted here", place="claims.sub", todo=todo
            )
        bundle = self._bundles.current(domain.source.name)
        proof, id_, space = verify_jwt_svid(jws, claims, workload, domain, bundle=bundle, now=self._clock.now())
        assert proof.expires is not None
        return ExternalToken(proof=proof, id=id_, issuer=domain.issuer.url, space=space, expires=proof.expires)

    async def _verify_signature(self, jws: Jws, issuer: TrustedIssuer) -> None:
        algorithm, kid = jws.header["alg"], jws.header.get("kid")
        if algorithm not in issuer.algorithms:
            raise JoseError("an algorithm that is not allowed for this issuer", place="header.alg")
        key = self._keys.cached(issuer.url, kid, algorithm) or await self._keys.key(issuer.url, kid, algorithm)
        verify_signature(key.algorithm, key.public, jws.signing_input, jws.signature)

    def _proof(
        self, claims: dict[str, Any], issuer: TrustedIssuer, binding: Binding, issued: datetime, expires: datetime
    ) -> Proof:
        classes = binding.classes.sort(claims)
        if classes.unknown:
            self._unknown.seen(issuer.url, classes.unknown)
        return Proof(
            kind=issuer.kind.proof,
            principal=binding.principal(claims, issuer.kind.attributes(claims)),
            at=min(issued, self._clock.now()),
            expires=expires,
            claims={"binding": binding.name, "token": plain(claims), "classes": classes},
        )


def _require_audience(audience: object, wanted: str) -> None:
    if isinstance(audience, list) and len(audience) == 1:
        audience = audience[0]
    if isinstance(audience, list):
        raise JoseError("a token for several audiences: any of them could present it here", place="claims.aud")
    if audience != wanted:
        raise JoseError(
            "a token for another audience",
            place="claims.aud",
            todo=f"ask the issuer for a token with audience {wanted}",
        )


def _token_id(claims: dict[str, Any], jws: Jws) -> bytes:
    """One id for every spelling of one token.

    Without ``jti`` it is that of what was signed. The signature stays out of it: a valid ECDSA signature has a second
    form that anyone can compute, and it would make a second token of the first.
    """
    jti = claims.get("jti")
    if jti is None:
        return hashlib.sha256(b"token\0" + jws.signing_input).digest()
    if not isinstance(jti, str) or not 0 < len(jti) <= MAX_JTI:
        raise JoseError("must be a short string", place="claims.jti")
    return hashlib.sha256(encode(["jti", claims["iss"], jti])).digest()
