"""Public keys as others publish them: JWK and JWK sets (RFC 7517, RFC 7518 section 6, RFC 8037)."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from joserfc.errors import JoseError as JoserfcError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from everproof.identity.jose import Algorithm, JoseError, read_object
from everproof.kernel.canonical import from_b64url
from everproof.kernel.errors import InputError
from everproof.keys import PublicKey

MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 8192
"""Verification time grows with the square: a larger key is a way to keep this server busy."""
MIN_EXPONENT: Final = 65537
"""NIST SP 800-56B requires at least this; smaller ones have a history of forgeries."""
MAX_EXPONENT_BITS: Final = 33
MAX_KEYS: Final = 100

_SPELLINGS: Final[dict[str, Algorithm]] = {"RS256": "RS256", "ES256": "ES256", "EdDSA": "EdDSA", "Ed25519": "EdDSA"}
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_P256_BYTES: Final = 32
_CURVE: Final = ec.SECP256R1()


_ROCA: Final = {
    prime: frozenset(pow(65537, power, prime) for power in range(prime))
    for prime in (11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157)
}
"""Modulo each of these a product of two primes of the flawed generator is a power of 65537; of others, hardly ever
(Nemec and others, "The Return of Coppersmith's Attack", 2017)."""


class VerificationKey(msgspec.Struct, frozen=True):
    """A public key and the one algorithm it is for. ``kid`` is what its publisher calls it."""

    algorithm: Algorithm
    public: PublicKey
    kid: str | None = None


class KeySet:
    """The keys of a JWK set that can verify a signature; the others are left out, as RFC 7517 section 5 asks."""

    def __init__(self, keys: Iterable[VerificationKey]) -> None:
        self._keys = tuple(keys)

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, kid: str | None, algorithm: str) -> VerificationKey | None:
        """The one key by this name for this algorithm; two by one name are none. No name will do for a single key."""
        fitting = [key for key in self._keys if key.algorithm == algorithm and kid in {None, key.kid}]
        return fitting[0] if len(fitting) == 1 else None


def read_key_set(data: bytes) -> KeySet:
    """The usable keys of a JWK set.

    Raises:
        JoseError: not a JWK set.
    """
    keys = read_object(data, "jwks").get("keys")
    if not isinstance(keys, list) or len(keys) > MAX_KEYS:
        raise JoseError(f"not a set of at most {MAX_KEYS} keys", place="jwks.keys")
    found: list[VerificationKey] = []
    for jwk in keys:
        try:
            found.append(read_published_key(jwk))
        except JoseError:
            continue
    return KeySet(found)


def read_published_key(jwk: Any) -> VerificationKey:
    """A public key for signatures.

    Raises:
        JoseError: of another kind, for another use, with its private half, or weak.
    """
    if not isinstance(jwk, dict):
        raise JoseError("not a JWK", place="jwk")
    if not _PRIVATE.isdisjoint(jwk):
        raise JoseError("the key is published with its private half", place="jwk")
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        raise JoseError("the key is not for verifying signatures", place="jwk.use")
    algorithm, public = _import(jwk)
    if _SPELLINGS.get(str(jwk.get("alg", algorithm))) != algorithm:
        raise JoseError("the key is for an algorithm that is not used here", place="jwk.alg")
    kid = jwk.get("kid")
    if kid is not None and not isinstance(kid, str):
        raise JoseError("must be a string", place="jwk.kid")
    return VerificationKey(algorithm, public, kid)


def _import(jwk: dict[str, Any]) -> tuple[Algorithm, PublicKey]:
    public: object
    try:
        match jwk.get("kty"), jwk.get("crv"):
            case "RSA", None:
                RSAKey.validate_dict_key(jwk)
                public = RSAKey.binding.import_public_key({"n": jwk["n"], "e": jwk["e"]})
            case "EC", "P-256":
                public = ECKey.import_key(jwk).raw_value
            case "OKP", "Ed25519":
                public = OKPKey.import_key(jwk).raw_value
            case _:
                raise JoseError("a kind of key that is not used here", place="jwk.kty")
    except (JoserfcError, ValueError, TypeError, KeyError) as error:
        raise JoseError("the key is malformed", place="jwk") from error
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        exponent = numbers.e
        if all(numbers.n % prime in powers for prime, powers in _ROCA.items()):
            raise JoseError("an RSA key of a generator that is known to be broken (ROCA)", place="jwk")
        sound = MIN_EXPONENT <= exponent < 1 << MAX_EXPONENT_BITS and exponent % 2
        if not sound or not MIN_RSA_BITS <= public.key_size <= MAX_RSA_BITS:
            raise JoseError("an RSA key of this size or exponent is not accepted", place="jwk")
        return "RS256", public
    if isinstance(public, ec.EllipticCurvePublicKey):
        return "ES256", public
    assert isinstance(public, ed25519.Ed25519PublicKey)
    return "EdDSA", public


def read_proof_key(jwk: Mapping[str, Any]) -> VerificationKey:
    """A key that a proof brings along: P-256 or Ed25519, public, in its one spelling.

    Without the JOSE library: it is imported for every caller that is new.

    Raises:
        JoseError: anything else.
    """
    if not _PRIVATE.isdisjoint(jwk):
        raise JoseError("the proof carries a private key: that key is burnt", place="header.jwk")
    if jwk.get("use", "sig") != "sig" or "key_ops" in jwk or _SPELLINGS.get(str(jwk.get("alg", "ES256"))) is None:
        raise JoseError("the key is not for signatures", place="header.jwk")
    kind = jwk.get("kty"), jwk.get("crv")
    try:
        if kind == ("EC", "P-256"):
            x, y = from_b64url(jwk["x"]), from_b64url(jwk["y"])
            if len(x) == len(y) == _P256_BYTES:
                point = ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, b"\x04" + x + y)
                return VerificationKey("ES256", point)
        elif kind == ("OKP", "Ed25519"):
            return VerificationKey("EdDSA", ed25519.Ed25519PublicKey.from_public_bytes(from_b64url(jwk["x"])))
    except (InputError, ValueError, KeyError, TypeError) as error:
        raise JoseError("the key is malformed", place="header.jwk") from error
    raise JoseError("the key is neither P-256 nor Ed25519", place="header.jwk")
