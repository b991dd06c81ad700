"""Signed notes (C2SP signed-note), with Ed25519 signatures and witnesses' cosignatures (C2SP tlog-cosignature, v1)."""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from typing import Final, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from everproof.kernel.errors import InputError, RefusedError

MAX_NOTE_BYTES: Final = 1 << 18
"""Room for sixteen of the largest signatures in use (5 kB each) and then some."""

MAX_SIGNATURES: Final = 64

ED25519: Final = 0x01
COSIGNATURE_V1: Final = 0x04
Kind = Literal[0x01, 0x04]

_KEY_BYTES: Final = 32
_ID_BYTES: Final = 4
_SIGNATURE_BYTES: Final = 64
_TIMESTAMP_BYTES: Final = 8
_MAX_TIMESTAMP: Final = (1 << 63) - 1
_LINE: Final = re.compile("\u2014 ([^ ]+) ([A-Za-z0-9+/]+={0,2})")
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")
_VKEY: Final = re.compile(r"([^+]+)\+([0-9a-fA-F]{8})\+([A-Za-z0-9+/]+={0,2})")


class NoteError(InputError):
    """What should be a signed note, or a key for one, is not."""

    code = "bad-note"


class SignatureError(RefusedError):
    """No key that is trusted signed this, or its signature does not hold."""

    code = "signature-refused"


class Verifier(msgspec.Struct, frozen=True):
    """A public key that is trusted to sign notes under its name. Its text form is a *vkey*."""

    name: str
    key: bytes
    kind: Kind = ED25519

    @property
    def id(self) -> bytes:
        """The four bytes that name the key in a signature line."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.key).digest()[:_ID_BYTES]

    def __str__(self) -> str:
        encoded = base64.b64encode(bytes([self.kind]) + self.key).decode()
        return f"{self.name}+{self.id.hex()}+{encoded}"


class Signature(msgspec.Struct, frozen=True):
    """One signature line: whose, and the bytes after the key's id."""

    name: str
    key_id: bytes
    data: bytes

    def line(self) -> str:
        """The line as it stands in a note."""
        return f"\u2014 {self.name} {base64.b64encode(self.key_id + self.data).decode()}\n"


class Note(msgspec.Struct, frozen=True):
    """A text, which ends in a newline, and who signed it; nothing of it is trusted before `verify_note`."""

    text: str
    signatures: tuple[Signature, ...]

    def encode(self) -> bytes:
        """The note's bytes."""
        return (self.text + "\n" + "".join(signature.line() for signature in self.signatures)).encode()


class Signed(msgspec.Struct, frozen=True):
    """A signature that holds; ``timestamp`` is the cosigner's time in seconds since the Unix epoch."""

    by: Verifier
    timestamp: int | None = None


class NoteSigner:
    """Signs notes under a name."""

    def __init__(self, name: str, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.verifier = make_verifier(name, private.public_key())

    def sign(self, text: str) -> bytes:
        """The note of ``text``, signed. Ed25519 has no chance in it: the same text gives the same note."""
        signature = Signature(self.verifier.name, self.verifier.id, self._private.sign(text.encode()))
        return Note(text, (signature,)).encode()


class Cosigner:
    """Cosigns others' checkpoints under a name (C2SP tlog-cosignature, v1). Its key is used for nothing else."""

    def __init__(self, name: str, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.verifier = make_verifier(name, private.public_key(), COSIGNATURE_V1)

    def cosign(self, text: str, *, timestamp: int) -> Signature:
        """The cosignature of a checkpoint's text, as of ``timestamp``, in seconds since the Unix epoch."""
        signed = self._private.sign(_cosigned(text, timestamp).encode())
        data = timestamp.to_bytes(_TIMESTAMP_BYTES) + signed
        return Signature(self.verifier.name, self.verifier.id, data)


def make_verifier(name: str, key: Ed25519PublicKey, kind: Kind = ED25519) -> Verifier:
    """The verifier of this name and key.

    Raises:
        NoteError: a name has spaces or a plus, or is empty.
    """
    _require_name(name)
    return Verifier(name, key.public_bytes_raw(), kind)


def parse_vkey(text: str) -> Verifier:
    """The verifier of a vkey, ``name+id+key``.

    Raises:
        NoteError: it is none, or its id is not its key's.
    """
    match = _VKEY.fullmatch(text.strip())
    if match is None:
        raise NoteError("not a verifier key", todo="it has the form name+0123abcd+base64")
    name, key_id, encoded = match.groups()
    _require_name(name)
    key = decode_base64(encoded)
    if len(key) != 1 + _KEY_BYTES or key[0] not in (ED25519, COSIGNATURE_V1):
        raise NoteError("not an Ed25519 verifier key")
    verifier = Verifier(name, key[1:], ED25519 if key[0] == ED25519 else COSIGNATURE_V1)
    if verifier.id != bytes.fromhex(key_id):
        raise NoteError("the verifier key's id is not the id of its key: it was mistyped or changed")
    return verifier


def parse_note(data: bytes) -> Note:
    """The parts of a signed note, unverified.

    Raises:
        NoteError: not a signed note in every detail.
    """
    if len(data) > MAX_NOTE_BYTES:
        raise NoteError("the note is larger than any honest one")
    try:
        whole = data.decode()
    except UnicodeDecodeError as error:
        raise NoteError("the note is not UTF-8") from error
    if _CONTROL.search(whole) is not None:
        raise NoteError("the note has a control character")
    text, gap, rest = whole.rpartition("\n\n")
    if not gap or not rest.endswith("\n"):
        raise NoteError("the note has no signatures")
    lines = rest[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteError(f"the note has more than {MAX_SIGNATURES} signatures")
    return Note(text + "\n", tuple(_parse_line(line) for line in lines))


def verify_note(note: Note, verifiers: Iterable[Verifier]) -> tuple[Signed, ...]:
    """Which of ``verifiers`` signed the note, each once. Signatures of others say nothing and are passed over.

    Raises:
        SignatureError: none did, or a signature that says it is of one of them does not hold.
    """
    known = {(verifier.name, verifier.id): verifier for verifier in verifiers}
    held: dict[Verifier, Signed] = {}
    for signature in note.signatures:
        verifier = known.get((signature.name, signature.key_id))
        if verifier is not None:
            held.setdefault(verifier, _verify(verifier, note.text, signature.data))
    if not held:
        raise SignatureError("the note is not signed by a trusted key")
    return tuple(held.values())


def decode_base64(text: str) -> bytes:
    """The bytes of standard base64 (RFC 4648, section 4), in its one canonical spelling.

    Raises:
        NoteError: it is not.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoteError("not base64") from error
    if base64.b64encode(data).decode() != text:
        raise NoteError("base64 in another spelling than its one canonical one")
    return data


def _parse_line(line: str) -> Signature:
    match = _LINE.fullmatch(line)
    if match is None:
        raise NoteError("not a signature line")
    name, encoded = match.groups()
    _require_name(name)
    data = decode_base64(encoded)
    if len(data) <= _ID_BYTES:
        raise NoteError("the signature is empty")
    return Signature(name, data[:_ID_BYTES], data[_ID_BYTES:])


def _require_name(name: str) -> None:
    if not name or "+" in name or any(character.isspace() for character in name) or _CONTROL.search(name):
        raise NoteError(f"{name!r} is not the name of a key: it must have neither spaces nor a plus")


def _verify(verifier: Verifier, text: str, signature: bytes) -> Signed:
    timestamp = None
    message = text
    if verifier.kind == COSIGNATURE_V1:
        timestamp = int.from_bytes(signature[:_TIMESTAMP_BYTES], "big")
        signature = signature[_TIMESTAMP_BYTES:]
        message = _cosigned(text, timestamp)
    if len(signature) != _SIGNATURE_BYTES or (timestamp or 0) > _MAX_TIMESTAMP:
        raise SignatureError(f"the signature of {verifier.name} is malformed")
    try:
        Ed25519PublicKey.from_public_bytes(verifier.key).verify(signature, message.encode())
    except InvalidSignature:
        raise SignatureError(f"the signature of {verifier.name} does not hold") from None
    return Signed(verifier, timestamp)


def _cosigned(text: str, timestamp: int) -> str:
    return f"cosignature/v1\ntime {timestamp}\n{text}"
