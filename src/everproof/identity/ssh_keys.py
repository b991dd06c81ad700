"""SSH public keys: their wire form, their name, and the JWK that is the same key (RFC 4253, RFC 5656, RFC 8709).

Pure, and strict: one key has one spelling, so it has one fingerprint.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import Final, TypeAlias

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from everproof.kernel.canonical import b64url, from_b64url
from everproof.kernel.errors import InputError
from everproof.keys import thumbprint

MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 16_384
"""OpenSSH's own bounds; verification time grows with the square."""
MAX_EXPONENT_BITS: Final = 33
MAX_BLOB: Final = 8_192
MAX_LINE: Final = 12_000
"""A public key of 16,384 bits in base64, and a comment."""

ED25519: Final = "ssh-ed25519"
RSA: Final = "ssh-rsa"
SK_ED25519: Final = "sk-ssh-ed25519@openssh.com"
SK_ECDSA: Final = "sk-ecdsa-sha2-nistp256@openssh.com"
APPLICATION: Final = "ssh:"
"""What the name of an SSH key's relying party begins with: a security key's credential for a web site is none."""

CURVES: Final[Mapping[str, tuple[str, type[ec.EllipticCurve]]]] = {
    "ecdsa-sha2-nistp256": ("nistp256", ec.SECP256R1),
    "ecdsa-sha2-nistp384": ("nistp384", ec.SECP384R1),
    "ecdsa-sha2-nistp521": ("nistp521", ec.SECP521R1),
    SK_ECDSA: ("nistp256", ec.SECP256R1),
}

PublicKey: TypeAlias = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey


class SshKeyError(InputError):
    """Not an SSH public key that is accepted here."""

    code = "bad-ssh-key"


class Wire:
    """Reads SSH's wire form from the front (RFC 4251, section 5).

    Raises:
        SshKeyError: from every method, where the bytes end too early or have another form.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, length: int) -> bytes:
        """The next ``length`` bytes."""
        end = self._at + length
        if end > len(self._data):
            raise SshKeyError("ends in the middle of a field")
        found = self._data[self._at : end]
        self._at = end
        return found

    def uint32(self) -> int:
        """The next four bytes as a number."""
        return int.from_bytes(self.take(4))

    def string(self) -> bytes:
        """The next string."""
        return self.take(self.uint32())

    def text(self) -> str:
        """The next string, of printable ASCII."""
        found = self.string()
        if not all(0x20 < byte < 0x7F for byte in found):  # noqa: PLR2004 - the printable range
            raise SshKeyError("has a name that is not printable ASCII")
        return found.decode("ascii")

    def mpint(self) -> int:
        """The next number: positive, and without needless zeros in front."""
        found = self.string()
        value = int.from_bytes(found)
        if not value or found != value.to_bytes(value.bit_length() // 8 + 1):
            raise SshKeyError("has a number that is not positive, or not in its one spelling")
        return value

    def end(self) -> None:
        """Nothing may be left."""
        if self._at != len(self._data):
            raise SshKeyError("has bytes after its end")


class SshPublicKey(msgspec.Struct, frozen=True):
    """A public key. ``application`` is the relying party of a security key's (``sk-``) credential, else empty."""

    algorithm: str
    public: PublicKey
    blob: bytes
    application: str = ""

    @property
    def fingerprint(self) -> str:
        """The key's name, ``SHA256:…``, as ssh-keygen prints it."""
        return fingerprint(self.blob)

    @property
    def line(self) -> str:
        """The key as one line of a ``.pub`` file, without comment."""
        return f"{self.algorithm} {base64.b64encode(self.blob).decode()}"

    @property
    def jwk(self) -> dict[str, str] | None:
        """The same key as a JWK, if tokens can be bound to such a key: P-256 or Ed25519, not in a security key."""
        if isinstance(self.public, ed25519.Ed25519PublicKey) and not self.application:
            return {"kty": "OKP", "crv": "Ed25519", "x": b64url(self.public.public_bytes_raw())}
        if self.algorithm == "ecdsa-sha2-nistp256" and isinstance(self.public, ec.EllipticCurvePublicKey):
            point = self.public.public_numbers()
            return {"kty": "EC", "crv": "P-256", "x": b64url(point.x.to_bytes(32)), "y": b64url(point.y.to_bytes(32))}
        return None

    @property
    def thumbprint(self) -> str | None:
        """The name of the same key among JWKs (RFC 7638)."""
        return thumbprint(jwk) if (jwk := self.jwk) is not None else None


def fingerprint(blob: bytes) -> str:
    """The name of the key whose wire form is ``blob``."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def read_blob(blob: bytes) -> SshPublicKey:
    """The key in SSH's wire form.

    Raises:
        SshKeyError: malformed, of a kind that is not accepted, or weak.
    """
    if len(blob) > MAX_BLOB:
        raise SshKeyError(f"has more than {MAX_BLOB} bytes")
    wire = Wire(blob)
    algorithm = wire.text()
    application = ""
    public: PublicKey
    try:
        if algorithm in (ED25519, SK_ED25519):
            public = ed25519.Ed25519PublicKey.from_public_bytes(wire.string())
        elif algorithm in CURVES:
            public = _point(wire, algorithm)
        elif algorithm == RSA:
            public = _rsa(wire)
        else:
            raise _unsupported(algorithm)
    except ValueError as error:
        raise SshKeyError("is not a point of its curve, or no key at all") from error
    if algorithm in (SK_ED25519, SK_ECDSA):
        application = wire.text()
        if not application.startswith(APPLICATION):
            raise SshKeyError("is a security key's credential for something else than SSH", place="application")
    wire.end()
    return SshPublicKey(algorithm, public, blob, application)


def read_line(line: str) -> SshPublicKey:
    """The key in a line of a ``.pub`` file: type, base64, and perhaps a comment, which is ignored.

    Raises:
        SshKeyError: as `read_blob`; or options stand before the key, or there is more than one line.
    """
    parts = line.strip().split(None, 2)
    if len(line) > MAX_LINE or "\n" in line.strip() or len(parts) < 2:  # noqa: PLR2004 - type and key
        raise SshKeyError("is not one line with a type and a key", todo="give the contents of a .pub file")
    try:
        blob = base64.b64decode(parts[1], validate=True)
    except binascii.Error as error:
        raise SshKeyError("is not a type followed by base64", todo="give the contents of a .pub file") from error
    if base64.b64encode(blob).decode() != parts[1]:
        raise SshKeyError("has base64 in a spelling that is not canonical")
    key = read_blob(blob)
    if key.algorithm != parts[0]:
        raise SshKeyError("has another type inside than it says")
    return key


def fingerprint_of_line(line: str) -> str:
    """The name of the key in a line of a ``.pub`` file."""
    return read_line(line).fingerprint


def blob_of_jwk(jwk: Mapping[str, str]) -> bytes:
    """The wire form of the key of a JWK, P-256 or Ed25519: a job's key for tokens is its SSH key too.

    Raises:
        InputError: another kind of key, or malformed.
    """
    kind = jwk.get("kty"), jwk.get("crv")
    if kind == ("OKP", "Ed25519"):
        blob = _string(ED25519.encode()) + _string(from_b64url(jwk.get("x", "")))
    elif kind == ("EC", "P-256"):
        point = b"\x04" + from_b64url(jwk.get("x", "")) + from_b64url(jwk.get("y", ""))
        blob = _string(b"ecdsa-sha2-nistp256") + _string(b"nistp256") + _string(point)
    elif kind == ("RSA", None):
        numbers = (int.from_bytes(from_b64url(jwk.get(name, ""))) for name in ("e", "n"))
        blob = _string(RSA.encode()) + b"".join(_string(n.to_bytes(n.bit_length() // 8 + 1)) for n in numbers)
    else:
        raise SshKeyError("is of a kind that SSH does not have")
    return read_blob(blob).blob


def ssh_fingerprint_of_jwk(jwk: Mapping[str, str]) -> str:
    """The SSH name of the key of a JWK."""
    return fingerprint(blob_of_jwk(jwk))


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4) + data


def _point(wire: Wire, algorithm: str) -> ec.EllipticCurvePublicKey:
    name, curve = CURVES[algorithm]
    if wire.text() != name:
        raise SshKeyError("names another curve than its type")
    point = wire.string()
    if not point.startswith(b"\x04"):
        raise SshKeyError("has a point that is not uncompressed")
    return ec.EllipticCurvePublicKey.from_encoded_point(curve(), point)


def _rsa(wire: Wire) -> rsa.RSAPublicKey:
    exponent, modulus = wire.mpint(), wire.mpint()
    if not MIN_RSA_BITS <= modulus.bit_length() <= MAX_RSA_BITS:
        raise SshKeyError(
            f"is an RSA key of {modulus.bit_length()} bits",
            todo=f"use at least {MIN_RSA_BITS}; better: ssh-keygen -t ed25519",
        )
    if not 3 <= exponent < 1 << MAX_EXPONENT_BITS or not exponent % 2 or not modulus % 2:  # noqa: PLR2004 - smallest
        raise SshKeyError("is an RSA key with an exponent that no one makes")
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


def _unsupported(algorithm: str) -> SshKeyError:
    if algorithm.endswith("-cert-v01@openssh.com"):
        return SshKeyError("is an SSH certificate", todo="sign with the key itself, which must be on record")
    if algorithm == "ssh-dss":
        return SshKeyError("is a DSA key, which is broken", todo="ssh-keygen -t ed25519")
    return SshKeyError("is of a type that is not accepted", todo="ssh-keygen -t ed25519")
