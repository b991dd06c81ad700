"""Keys of the client's own: what they sign, and what others signed with theirs (RFC 7515, RFC 7638, RFC 9449)."""

import hashlib
import json
import re
import secrets
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from everproof.kernel.canonical import b64url, from_b64url
from everproof.kernel.errors import InputError

COORDINATE: Final = 32
_ES256: Final = ec.ECDSA(hashes.SHA256())
_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class Key:
    """A P-256 or Ed25519 key that signs."""

    def __init__(self, private: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> None:
        if isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name != "secp256r1":
            raise InputError("a key on another curve than P-256")
        self._private = private
        self.algorithm = "ES256" if isinstance(private, ec.EllipticCurvePrivateKey) else "EdDSA"
        self.jwk = _jwk(private.public_key())
        self._dpop = _segment({"alg": self.algorithm, "typ": "dpop+jwt", "jwk": self.jwk})

    def __repr__(self) -> str:
        return f"Key({self.algorithm}, {thumbprint(self.jwk)})"

    @classmethod
    def new(cls) -> "Key":
        """A fresh P-256 key that never leaves this process."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def load(cls, source: "Key | Path | str | bytes") -> "Key":
        """The key in a PEM file, or in PEM text.

        Raises:
            InputError: it cannot be read, or is a key of another kind.
        """
        if isinstance(source, Key):
            return source
        place = None
        if isinstance(source, Path) or (isinstance(source, str) and "-----BEGIN" not in source):
            place = str(source)
            try:
                source = Path(source).expanduser().read_bytes()
            except OSError as error:
                raise InputError(f"cannot be read: {error.strerror}", place=place) from error
        try:
            found = serialization.load_pem_private_key(source.encode() if isinstance(source, str) else source, None)
        except (ValueError, TypeError) as error:
            raise InputError("not a private key in PEM without a password", place=place) from error
        if not isinstance(found, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
            raise InputError("a key of another kind than P-256 or Ed25519", place=place)
        return cls(found)

    def assertion(self, client: str, audience: str) -> str:
        """What proves a client by its key, once, for a minute (RFC 7523)."""
        now = int(time.time())
        claims = {"iss": client, "sub": client, "aud": audience, "iat": now, "exp": now + 60, "jti": _id()}
        return self._sign(_segment({"alg": self.algorithm, "typ": "JWT"}), claims)

    def dpop(self, method: str, url: str, *, nonce: str = "", token: str = "", own_connection: bool = False) -> str:
        """A proof for one request; ``own_connection`` says that no other caller's requests come by this connection."""
        claims: dict[str, Any] = {"jti": _id(), "htm": method, "htu": url, "iat": int(time.time())}
        if nonce:
            claims["nonce"] = nonce
        if token:
            claims["ath"] = token_hash(token)
        if own_connection:
            claims["connection"] = "own"
        return self._sign(self._dpop, claims)

    def _sign(self, header: str, claims: dict[str, Any]) -> str:
        signed = f"{header}.{_segment(claims)}"
        if isinstance(self._private, ec.EllipticCurvePrivateKey):
            r, s = decode_dss_signature(self._private.sign(signed.encode(), _ES256))
            signature = r.to_bytes(COORDINATE) + s.to_bytes(COORDINATE)
        else:
            signature = self._private.sign(signed.encode())
        return f"{signed}.{b64url(signature)}"


def verified(proof: str) -> tuple[str, dict[str, Any]]:
    """The thumbprint of the key that signed a DPoP proof, and what it claims; nothing of it is judged yet.

    Raises:
        InputError: it is no proof, or its signature does not hold.
    """
    if _COMPACT.fullmatch(proof) is None:
        raise InputError("not a DPoP proof")
    signed, _, signature = proof.rpartition(".")
    first, _, second = signed.partition(".")
    header, claims = _read(first), _read(second)
    jwk = header.get("jwk")
    if header.get("typ") != "dpop+jwt" or not isinstance(jwk, dict) or {"crit", "b64", "zip"} & set(header):
        raise InputError("not a DPoP proof")
    if {"d", "k", "p", "q"} & set(jwk):
        raise InputError("the proof brings a private key")
    try:
        _verify(header.get("alg"), jwk, signed.encode(), from_b64url(signature))
    except (InvalidSignature, ValueError, TypeError, KeyError) as error:
        raise InputError("the signature of the proof does not hold") from error
    return thumbprint(jwk), claims


def thumbprint(jwk: dict[str, str]) -> str:
    """The key's name (RFC 7638)."""
    members = {name: jwk[name] for name in ("crv", "kty", "x", "y") if name in jwk}
    return b64url(hashlib.sha256(json.dumps(members, sort_keys=True, separators=(",", ":")).encode()).digest())


def token_hash(token: str) -> str:
    """How a proof names its token (RFC 9449, section 4.2)."""
    return b64url(hashlib.sha256(token.encode()).digest())


def origin(url: str) -> str:
    """``url`` of a server: https, a host, no path.

    Raises:
        InputError: it is anything else.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InputError("not an address", place=url) from error
    if parts.scheme != "https" or not parts.hostname or parts.path.strip("/") or parts.query or "@" in parts.netloc:
        raise InputError("not the address of a server", place=url, todo="give https://HOST or https://HOST:PORT")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"https://{host}" + (f":{port}" if port not in {None, 443} else "")


def _verify(algorithm: object, jwk: dict[str, Any], signed: bytes, signature: bytes) -> None:
    if algorithm == "ES256" and jwk["kty"] == "EC" and jwk["crv"] == "P-256" and len(signature) == 2 * COORDINATE:
        x, y = (from_b64url(jwk[name]) for name in ("x", "y"))
        if len(x) != COORDINATE or len(y) != COORDINATE:
            raise ValueError("a coordinate of another length")
        public = ec.EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), ec.SECP256R1()).public_key()
        r, s = int.from_bytes(signature[:COORDINATE]), int.from_bytes(signature[COORDINATE:])
        public.verify(encode_dss_signature(r, s), signed, _ES256)
    elif algorithm in {"EdDSA", "Ed25519"} and jwk["kty"] == "OKP" and jwk["crv"] == "Ed25519":
        ed25519.Ed25519PublicKey.from_public_bytes(from_b64url(jwk["x"])).verify(signature, signed)
    else:
        raise ValueError("an algorithm that is not taken")


def _read(segment: str) -> dict[str, Any]:
    try:
        found = json.loads(from_b64url(segment), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise InputError("not a DPoP proof") from error
    if not isinstance(found, dict):
        raise InputError("not a DPoP proof")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InputError("an object in the proof has the same key twice")
    return found


def _jwk(public: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) -> dict[str, str]:
    if isinstance(public, ed25519.Ed25519PublicKey):
        return {"crv": "Ed25519", "kty": "OKP", "x": b64url(public.public_bytes_raw())}
    numbers = public.public_numbers()
    x, y = (b64url(number.to_bytes(COORDINATE)) for number in (numbers.x, numbers.y))
    return {"crv": "P-256", "kty": "EC", "x": x, "y": y}


def _segment(part: dict[str, Any]) -> str:
    return b64url(json.dumps(part, separators=(",", ":")).encode())


def _id() -> str:
    return secrets.token_urlsafe(16)
