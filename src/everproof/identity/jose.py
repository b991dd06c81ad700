"""Compact JWS, read strictly: one spelling, no doubled names, no depth, no algorithm but three (RFC 7515, RFC 8725).

Signatures are checked with the cryptography library directly: on the path of every request that costs half of what a
JOSE library does. The vectors in the tests hold this to joserfc's answers.
"""

import json
import re
from functools import lru_cache
from typing import Any, Final, Literal, NoReturn

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from everproof.identity.oauth import InvalidTokenError
from everproof.kernel.canonical import b64url, from_b64url
from everproof.kernel.errors import InputError
from everproof.keys import PrivateKey, PublicKey

Algorithm = Literal["RS256", "ES256", "EdDSA"]

MAX_TOKEN_BYTES: Final = 16 * 1024
"""Five times the largest token that a CI system is known to issue."""
MAX_DEPTH: Final = 8
"""Of nested objects and arrays; known tokens have three."""
MAX_KNOWN_HEADER: Final = 512
"""Characters of a header that is remembered."""
MAX_INTEGER: Final = 2**53 - 1
"""Beyond it two JSON readers may see two numbers (RFC 8259, section 6)."""

_P256_BYTES: Final = 32
_COMPACT: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)\.([A-Za-z0-9_-]+)")

_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode
_ES256: Final = ec.ECDSA(SHA256())
_PKCS1: Final = PKCS1v15()
_SHA256: Final = SHA256()


class JoseError(InvalidTokenError):
    """Not a token that this server reads, or not signed by whom it should be."""

    code = "bad-token"


class Jws(msgspec.Struct, frozen=True):
    """A compact JWS taken apart. Nothing in it is to be believed before its signature was verified."""

    header: dict[str, Any]
    payload: bytes
    signing_input: bytes
    signature: bytes

    def __repr__(self) -> str:
        return f"Jws({self.header.get('alg')}, {len(self.payload)} bytes)"


def split_compact(token: str, *, max_bytes: int = MAX_TOKEN_BYTES) -> tuple[str, str, str]:
    """The three segments.

    Raises:
        JoseError: too large, or not three segments of base64url.
    """
    if len(token) > max_bytes:
        raise JoseError(f"a token has at most {max_bytes} bytes, this has {len(token)}")
    match = _COMPACT.fullmatch(token)
    if match is None:
        raise JoseError("not a signed token in compact form: three parts of base64url between dots")
    return match[1], match[2], match[3]


def read_jws(token: str, *, max_bytes: int = MAX_TOKEN_BYTES) -> Jws:
    """``token`` taken apart, its signature not verified.

    Raises:
        JoseError: not in the one form that is read.
    """
    header, payload, signature = split_compact(token, max_bytes=max_bytes)
    return Jws(
        header=_known_header(header) if len(header) <= MAX_KNOWN_HEADER else read_header(header),
        payload=segment_bytes(payload),
        signing_input=token[: len(header) + 1 + len(payload)].encode(),
        signature=segment_bytes(signature),
    )


@lru_cache(maxsize=256)
def _known_header(segment: str) -> dict[str, Any]:
    """An issuer's tokens have one header for each of its keys. What is returned is shared: nobody changes it."""
    return read_header(segment)


def read_header(segment: str) -> dict[str, Any]:
    """The protected header in ``segment``.

    Raises:
        JoseError: malformed, or with extensions that must be understood and are not (RFC 7515, section 4.1.11).
    """
    header = read_object(segment_bytes(segment), "header")
    if not isinstance(header.get("alg"), str):
        raise JoseError("the header names no algorithm", place="header.alg")
    if header["alg"] == "Ed25519":  # the same thing under the name that replaces the other (RFC 9864)
        header["alg"] = "EdDSA"
    for name in ("crit", "b64", "zip"):
        if name in header:
            raise JoseError("an extension of the header that is not understood", place=f"header.{name}")
    for name in ("kid", "typ"):
        if not isinstance(header.get(name, ""), str):
            raise JoseError("must be a string", place=f"header.{name}")
    return header


def segment_bytes(segment: str) -> bytes:
    """The bytes of base64url characters, in their one canonical spelling.

    Raises:
        JoseError: an impossible length, or unused bits that are not zero.
    """
    try:
        return from_b64url(segment)
    except InputError as error:
        raise JoseError("base64url in a spelling that is not canonical") from error


def read_object(data: bytes, place: str) -> dict[str, Any]:
    """A JSON object without doubled names, shallow, its integers safe.

    Raises:
        JoseError: anything else; ``place`` names it.
    """
    try:
        value = _decode(data)
        if _encode(value) != data:  # equal bytes prove that no name was doubled, at a quarter of the cost
            json.loads(data, object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError) as error:
        raise JoseError("not JSON, or JSON that two readers would read differently", place=place) from error
    if type(value) is not dict:
        raise JoseError("not a JSON object", place=place)
    if data.count(b"{") + data.count(b"[") > MAX_DEPTH:
        _require_shallow(value, place)
    return value


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name is there twice")
    return members


def _require_shallow(value: Any, place: str) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise JoseError(f"nested deeper than {MAX_DEPTH} levels", place=place)


def verify_signature(algorithm: Algorithm, key: PublicKey, signing_input: bytes, signature: bytes) -> None:
    """Check ``signature`` over ``signing_input``; the algorithm is the key's, never the token's word alone.

    Raises:
        JoseError: it does not hold.
    """
    try:
        if algorithm == "ES256" and isinstance(key, ec.EllipticCurvePublicKey):
            if len(signature) != 2 * _P256_BYTES:
                _bad()
            r, s = int.from_bytes(signature[:_P256_BYTES]), int.from_bytes(signature[_P256_BYTES:])
            key.verify(encode_dss_signature(r, s), signing_input, _ES256)
        elif algorithm == "RS256" and isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, signing_input, _PKCS1, _SHA256)
        elif algorithm == "EdDSA" and isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, signing_input)
        else:
            raise JoseError("the key is not of this algorithm")
    except InvalidSignature:
        _bad()


def sign(algorithm: Algorithm, key: PrivateKey, signing_input: bytes) -> str:
    """The signature as a segment."""
    if algorithm == "ES256":
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        r, s = decode_dss_signature(key.sign(signing_input, _ES256))
        return b64url(r.to_bytes(_P256_BYTES) + s.to_bytes(_P256_BYTES))
    if algorithm == "RS256":
        assert isinstance(key, rsa.RSAPrivateKey)
        return b64url(key.sign(signing_input, _PKCS1, _SHA256))
    assert isinstance(key, ed25519.Ed25519PrivateKey)
    return b64url(key.sign(signing_input))


def header_segment(header: dict[str, Any]) -> str:
    """``header`` as a segment."""
    return b64url(_encode(header))


def compact(header: str, claims: dict[str, Any], algorithm: Algorithm, key: PrivateKey) -> str:
    """A signed token: ``header`` is a segment that names ``algorithm``."""
    signing_input = f"{header}.{b64url(_encode(claims))}"
    return f"{signing_input}.{sign(algorithm, key, signing_input.encode())}"


def _bad() -> NoReturn:
    raise JoseError("the signature does not hold") from None
