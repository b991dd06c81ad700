"""The public half of a key as a JWK (RFC 7517), and its thumbprint (RFC 7638)."""

import hashlib
from collections.abc import Mapping
from typing import Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from everproof.kernel.canonical import b64url, encode, from_b64url
from everproof.kernel.errors import InputError

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
PublicKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey

_REQUIRED: Final = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n"), "OKP": ("crv", "kty", "x")}
_P256_BYTES: Final = 32


def public_jwk(key: PublicKey) -> dict[str, str]:
    """The members that make the key, and no others."""
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        return {"kty": "RSA", "n": _integer(numbers.n), "e": _integer(numbers.e)}
    if isinstance(key, ec.EllipticCurvePublicKey):
        point = key.public_numbers()
        x, y = (b64url(value.to_bytes(_P256_BYTES, "big")) for value in (point.x, point.y))
        return {"kty": "EC", "crv": "P-256", "x": x, "y": y}
    return {"kty": "OKP", "crv": "Ed25519", "x": b64url(key.public_bytes(Encoding.Raw, PublicFormat.Raw))}


def public_key(jwk: Mapping[str, str]) -> PublicKey:
    """The key that ``public_jwk`` described."""
    if jwk["kty"] == "RSA":
        return rsa.RSAPublicNumbers(_number(jwk["e"]), _number(jwk["n"])).public_key()
    if jwk["kty"] == "EC":
        return ec.EllipticCurvePublicNumbers(_number(jwk["x"]), _number(jwk["y"]), ec.SECP256R1()).public_key()
    return ed25519.Ed25519PublicKey.from_public_bytes(from_b64url(jwk["x"]))


def thumbprint(jwk: Mapping[str, object]) -> str:
    """The RFC 7638 SHA-256 thumbprint, as base64url: the same for every spelling of the key.

    Raises:
        InputError: no asymmetric key type, or a member that its type requires is missing.
    """
    required = _REQUIRED.get(str(jwk.get("kty")))
    if required is None:
        raise InputError("not a public key of type EC, RSA or OKP", place="jwk.kty")
    members = {name: jwk.get(name) for name in required}
    for name, value in members.items():
        if not isinstance(value, str):
            raise InputError("a member that the key needs is missing", place=f"jwk.{name}")
    return b64url(hashlib.sha256(encode(members)).digest())


def _integer(value: int) -> str:
    return b64url(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def _number(text: str) -> int:
    return int.from_bytes(from_b64url(text), "big")
