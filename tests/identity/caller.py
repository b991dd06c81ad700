"""A client with a key of its own, which makes DPoP proofs and signs assertions."""

import hashlib
import json
import secrets
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from everproof.identity.dpop import Dpop
from everproof.kernel.canonical import b64url
from everproof.keys import PrivateKey, public_jwk, thumbprint
from tests.conftest import SettableClock

TOKEN_ENDPOINT = "https://everproof.example/token"


class Caller:
    """Holds a key; ``dpop`` is the server's side, asked for its nonce as a client would be told it."""

    def __init__(self, clock: SettableClock, dpop: Dpop | None = None, *, key: PrivateKey | None = None) -> None:
        self._clock = clock
        self._dpop = dpop
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        self.jwk = public_jwk(self.key.public_key())
        self.thumbprint = thumbprint(self.jwk)

    def sign(self, header: dict[str, Any], claims: dict[str, Any]) -> str:
        """A JWT. Members that are None are left out."""
        algorithm = "ES256" if isinstance(self.key, ec.EllipticCurvePrivateKey) else "EdDSA"
        parts = [
            b64url(json.dumps({name: one for name, one in part.items() if one is not None}).encode())
            for part in ({"alg": algorithm, **header}, claims)
        ]
        signed = ".".join(parts)
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            r, s = decode_dss_signature(self.key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
            signature = r.to_bytes(32) + s.to_bytes(32)
        else:
            assert isinstance(self.key, ed25519.Ed25519PrivateKey)
            signature = self.key.sign(signed.encode())
        return f"{signed}.{b64url(signature)}"

    def proof(
        self,
        method: str = "POST",
        url: Any = TOKEN_ENDPOINT,
        *,
        token: str | None = None,
        header: dict[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        """A DPoP proof for one request, with ``changes`` to its claims."""
        claims = {
            "jti": secrets.token_urlsafe(12),
            "htm": method,
            "htu": url,
            "iat": int(self._clock.now().timestamp()),
            "nonce": self._dpop.nonce if self._dpop else None,
            "ath": b64url(hashlib.sha256(token.encode()).digest()) if token else None,
        }
        return self.sign({"typ": "dpop+jwt", "jwk": self.jwk, **(header or {})}, {**claims, **changes})

    def assertion(self, client: str, *, audience: Any = "https://everproof.example", **changes: Any) -> str:
        """A client assertion."""
        now = int(self._clock.now().timestamp())
        claims = {
            "iss": client,
            "sub": client,
            "aud": audience,
            "iat": now,
            "exp": now + 60,
            "jti": secrets.token_urlsafe(12),
        }
        return self.sign({"typ": "JWT"}, {**claims, **changes})
