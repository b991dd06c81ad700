"""SSH signatures over anything: what git and `ssh-keygen -Y sign` make (OpenSSH's PROTOCOL.sshsig). Pure.

A signature says for what purpose it was made, its namespace: one that was made for a commit is good for nothing else.
It brings its own key along, so whoever verifies one must then look up whose key that is.
"""

import base64
import binascii
import hashlib
from typing import Final, NoReturn

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm

from everproof.identity.ssh_keys import (
    RSA,
    SK_ECDSA,
    SK_ED25519,
    SshKeyError,
    SshPublicKey,
    Wire,
    read_blob,
)
from everproof.kernel.errors import InputError

BEGIN: Final = b"-----BEGIN SSH SIGNATURE-----\n"
END: Final = b"\n-----END SSH SIGNATURE-----"
MAX_ARMOURED: Final = 16_384
"""Bytes; a signature by the largest RSA key has 6,000."""

_MAGIC: Final = b"SSHSIG"
_VERSION: Final = 1
_HASHES: Final = {"sha256": hashlib.sha256, "sha512": hashlib.sha512}
_RSA_HASHES: Final[dict[str, HashAlgorithm]] = {"rsa-sha2-256": SHA256(), "rsa-sha2-512": SHA512()}
_ECDSA_HASHES: Final[dict[str, HashAlgorithm]] = {
    "ecdsa-sha2-nistp256": SHA256(),
    "ecdsa-sha2-nistp384": SHA384(),
    "ecdsa-sha2-nistp521": SHA512(),
}
_USER_PRESENT: Final = 0x01
_USER_VERIFIED: Final = 0x04
_ED25519_BYTES: Final = 64


class SshSignatureError(InputError):
    """Not an SSH signature, not of this message, or not for this purpose."""

    code = "bad-ssh-signature"


class SignatureInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A signature that holds: which key made it (``public_key`` in wire form), and what a security key says.

    The last three are None for a key that is not in a security key; ``counter`` only ever grows for a genuine one.
    """

    public_key: bytes
    fingerprint: str
    algorithm: str
    user_present: bool | None = None
    user_verified: bool | None = None
    counter: int | None = None


def verify(armoured: bytes, message: bytes, namespace: str) -> SignatureInfo:
    """Check that ``armoured`` is a signature of ``message`` made for ``namespace``, and say by which key.

    Raises:
        SshSignatureError: it is not; with what is wrong.
    """
    try:
        return _verify(_dearmour(armoured), message, namespace)
    except SshKeyError as error:
        raise SshSignatureError(f"the signature or its key {error.message}", todo=error.todo) from error


def _verify(blob: bytes, message: bytes, namespace: str) -> SignatureInfo:
    wire = Wire(blob)
    if wire.take(len(_MAGIC)) != _MAGIC or wire.uint32() != _VERSION:
        raise SshSignatureError("not an SSH signature of version 1")
    key = read_blob(wire.string())
    made_for, reserved, hash_name, signature = wire.string(), wire.string(), wire.text(), wire.string()
    wire.end()
    if made_for != namespace.encode() or not made_for:
        name = made_for[:64].decode("ascii", "replace")
        raise SshSignatureError(f"the signature was made for {name!r}, not for {namespace!r}", place="namespace")
    if hash_name not in _HASHES:
        raise SshSignatureError("the signature is of a hash that is not accepted", place="hash_algorithm")
    digest = _HASHES[hash_name](message).digest()
    # What is signed holds "reserved" too, so that a later meaning of it cannot be taken away from a signature.
    signed = _MAGIC + b"".join(map(_string, (made_for, reserved, hash_name.encode(), digest)))
    return _check(key, Wire(signature), signed)


def _check(key: SshPublicKey, wire: Wire, signed: bytes) -> SignatureInfo:
    algorithm, value = wire.text(), wire.string()
    allowed = tuple(_RSA_HASHES) if key.algorithm == RSA else (key.algorithm,)
    if algorithm not in allowed:
        raise SshSignatureError(
            "the signature is of an algorithm that is not its key's, or is not accepted",
            todo="sign with a current ssh-keygen; SHA-1 signatures (ssh-rsa) are refused",
        )
    info = SignatureInfo(public_key=key.blob, fingerprint=key.fingerprint, algorithm=algorithm)
    if key.algorithm in (SK_ED25519, SK_ECDSA):
        flags, counter = wire.take(1), wire.take(4)
        # A security key signs this in place of the message (WebAuthn's authenticator data, without extensions).
        signed = hashlib.sha256(key.application.encode()).digest() + flags + counter + hashlib.sha256(signed).digest()
        if not flags[0] & _USER_PRESENT:
            raise SshSignatureError("nobody touched the security key", todo="use a key that asks for touch")
        info = msgspec.structs.replace(
            info, user_present=True, user_verified=bool(flags[0] & _USER_VERIFIED), counter=int.from_bytes(counter)
        )
    wire.end()
    try:
        _check_value(key, algorithm, value, signed)
    except InvalidSignature:
        _bad()
    return info


def _check_value(key: SshPublicKey, algorithm: str, value: bytes, signed: bytes) -> None:
    public = key.public
    if isinstance(public, ed25519.Ed25519PublicKey):
        if len(value) != _ED25519_BYTES:
            _bad()
        public.verify(value, signed)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        numbers = Wire(value)
        r, s = numbers.mpint(), numbers.mpint()
        numbers.end()
        public.verify(encode_dss_signature(r, s), signed, ec.ECDSA(_ECDSA_HASHES.get(algorithm, SHA256())))
    else:
        assert isinstance(public, rsa.RSAPublicKey)
        size = (public.key_size + 7) // 8
        if len(value) > size:
            _bad()
        # Some agents leave out zeros in front (RFC 8332 says "without padding"; OpenSSH accepts both).
        public.verify(value.rjust(size, b"\0"), signed, PKCS1v15(), _RSA_HASHES[algorithm])


def _dearmour(armoured: bytes) -> bytes:
    if len(armoured) > MAX_ARMOURED:
        raise SshSignatureError(f"an SSH signature has at most {MAX_ARMOURED} bytes, this has {len(armoured)}")
    body = armoured.removesuffix(b"\n")
    if not body.startswith(BEGIN) or not body.endswith(END):
        raise SshSignatureError("not an armoured SSH signature, with nothing before and nothing after it")
    try:
        text = body[len(BEGIN) : -len(END)].replace(b"\n", b"")
        blob = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise SshSignatureError("what is between the lines of the armour is not base64") from error
    if base64.b64encode(blob) != text:
        raise SshSignatureError("base64 in a spelling that is not canonical")
    return blob


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4) + data


def _bad() -> NoReturn:
    raise SshSignatureError("the signature does not hold for this message") from None
