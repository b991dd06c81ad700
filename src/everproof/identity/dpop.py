"""DPoP: each request is signed by the key that the token is bound to (RFC 9449).

A proof is good once. Which proofs were seen is kept in memory, so each must carry a nonce that this very process gave:
what an earlier process or another replica saw is not accepted here, and nobody can make proofs ahead of time.
"""

import hashlib
import secrets
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from everproof.identity.jose import JoseError, read_header, read_object, segment_bytes, split_compact, verify_signature
from everproof.identity.jwk import VerificationKey, read_proof_key
from everproof.identity.oauth import InvalidTokenError
from everproof.kernel.canonical import b64url
from everproof.kernel.clock import MAX_SKEW, Clock
from everproof.kernel.errors import InputError, UnavailableError
from everproof.keys import thumbprint

MAX_PROOF_BYTES: Final = 4096
MAX_JTI: Final = 256
LIFETIME: Final = timedelta(seconds=60)
"""How old a proof may be, beyond the skew of two clocks."""
NONCE_PERIOD: Final = timedelta(minutes=5)
"""A nonce is offered for this long and accepted for as long again."""
MAX_SEEN: Final = 400_000
"""Proofs remembered in a period of two minutes: 40 MB, and twice what one process can verify in that time."""
MAX_KEYS: Final = 10_000
"""Headers whose keys are kept ready: importing one costs as much as the rest of the check, the signature apart."""

_WINDOW: Final = LIFETIME + 2 * MAX_SKEW


class DpopError(InvalidTokenError):
    """The proof does not hold."""

    code = "bad-dpop-proof"
    oauth_error = "invalid_dpop_proof"


class DpopNonceError(DpopError):
    """The proof must be made again, with ``nonce`` in it (RFC 9449, section 8)."""

    code = "use-dpop-nonce"
    oauth_error = "use_dpop_nonce"
    is_question = True

    def __init__(self, nonce: str) -> None:
        super().__init__("the proof must carry this server's nonce", todo="send it again with the nonce given")
        self.nonce = nonce

    @property
    def headers(self) -> dict[str, str]:
        """The challenge and the nonce."""
        return {**super().headers, "dpop-nonce": self.nonce}


class _Key(msgspec.Struct, frozen=True):
    key: VerificationKey
    thumbprint: str


class Dpop:
    """Verifies proofs. One for each process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._keys: dict[str, _Key] = {}
        self._seen: set[bytes] = set()
        self._seen_before: set[bytes] = set()
        self._turned = self._nonce_since = clock.now()
        self._process = secrets.token_urlsafe(6)
        self._nonce = self._nonce_before = self._new_nonce()

    @property
    def nonce(self) -> str:
        """The nonce to offer with every answer (``DPoP-Nonce``); its first eight characters name this process."""
        now = self._clock.now()
        if (age := now - self._nonce_since) >= NONCE_PERIOD:
            fresh = self._new_nonce()
            self._nonce_before = self._nonce if age < 2 * NONCE_PERIOD else fresh
            self._nonce, self._nonce_since = fresh, now
        return self._nonce

    def verify(self, proof: str, *, method: str, url: str, token: str | None = None, key: str | None = None) -> str:
        """The thumbprint of the key that signed ``proof`` for this request; the proof is used up.

        ``url`` is the server's own name for the endpoint, not what the request says. With ``token``, the proof must be
        for it; with ``key``, by that key.

        Raises:
            DpopNonceError: it must be made again, with a nonce.
            DpopError: it does not hold, or was used.
        """
        try:
            header, payload, signature = split_compact(proof, max_bytes=MAX_PROOF_BYTES)
            signer = self._keys.get(header) or self._read_key(header)
            if key is not None and signer.thumbprint != key:
                raise DpopError("the token belongs to another key than the one that made this proof")
            signing_input = proof[: len(header) + 1 + len(payload)].encode()
            claims = read_object(segment_bytes(payload), "dpop")
            self._require_request(claims, method, url, token)
            self._require_fresh(claims)
            verify_signature(signer.key.algorithm, signer.key.public, signing_input, segment_bytes(signature))
        except JoseError as error:
            raise DpopError(error.message, place=f"DPoP {error.place or 'proof'}", todo=error.todo) from error
        self._use_up(signer.thumbprint, claims["jti"])
        return signer.thumbprint

    def _read_key(self, segment: str) -> _Key:
        header = read_header(segment)
        if header.get("typ") != "dpop+jwt":
            raise DpopError("not a DPoP proof", place="DPoP header.typ")
        jwk = header.get("jwk")
        if not isinstance(jwk, dict):
            raise DpopError("the proof brings no key", place="DPoP header.jwk")
        key = read_proof_key(jwk)
        if header["alg"] != key.algorithm:
            raise DpopError("the key is not of this algorithm", place="DPoP header.alg")
        try:
            found = _Key(key, thumbprint(jwk))
        except InputError as error:
            raise JoseError(error.message, place=error.place) from error
        if len(self._keys) >= MAX_KEYS:
            del self._keys[next(iter(self._keys))]
        self._keys[segment] = found
        return found

    def _require_request(self, claims: dict[str, Any], method: str, url: str, token: str | None) -> None:
        if claims.get("htm") != method:
            raise DpopError("the proof is for another method", place="DPoP htm")
        htu = claims.get("htu")
        if htu != url and (not isinstance(htu, str) or normal_url(htu) != normal_url(url)):
            raise DpopError("the proof is for another address", place="DPoP htu", todo=f"make it for {url}")
        if token is not None and claims.get("ath") != b64url(hashlib.sha256(token.encode()).digest()):
            raise DpopError("the proof is not for this token", place="DPoP ath")
        jti = claims.get("jti")
        if not isinstance(jti, str) or not 0 < len(jti) <= MAX_JTI:
            raise DpopError("the proof has no id of a sensible length", place="DPoP jti")

    def _require_fresh(self, claims: dict[str, Any]) -> None:
        now = self._clock.now()
        issued = claims.get("iat")
        if type(issued) is not int:
            raise DpopError("must be a time in whole seconds", place="DPoP iat")
        age = now.timestamp() - issued
        if not -MAX_SKEW.total_seconds() <= age <= (LIFETIME + MAX_SKEW).total_seconds():
            raise DpopError(
                f"the proof is {age:.0f} s old", place="DPoP iat", todo="make a proof for each request; check the clock"
            )
        nonce, current = claims.get("nonce"), self.nonce
        if not isinstance(nonce, str) or nonce not in {current, self._nonce_before}:
            raise DpopNonceError(current)

    def _use_up(self, key: str, jti: str) -> None:
        now = self._clock.now()
        if now - self._turned >= _WINDOW:
            twice = now - self._turned >= 2 * _WINDOW
            self._seen_before = set() if twice else self._seen
            self._seen, self._turned = set(), now
        mark = hashlib.sha256(f"{key}.{jti}".encode()).digest()[:16]
        if mark in self._seen or mark in self._seen_before:
            raise DpopError("the proof was used before", place="DPoP jti", todo="make a proof for each request")
        if len(self._seen) >= MAX_SEEN:
            raise UnavailableError("more proofs than can be remembered", todo="try again in two minutes")
        self._seen.add(mark)

    def _new_nonce(self) -> str:
        return self._process + secrets.token_urlsafe(12)


def normal_url(url: str) -> tuple[str, str, int | None, str] | None:
    """``url`` without query and fragment, scheme and host in lower case, default port left out (RFC 9449, 4.3)."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    scheme = parts.scheme.lower()
    if port == {"https": 443, "http": 80}.get(scheme):
        port = None
    return scheme, (parts.hostname or "").lower(), port, parts.path or "/"
