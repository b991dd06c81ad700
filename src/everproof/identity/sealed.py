"""Sealed credentials: a secret that one person keeps in an envelope, good once and only together with another's.

What is kept here is its hash. It proves its person without any other provider: whoever shows it is whom it was made
for, as far as an envelope can say.
"""

import base64
import hashlib
import re
import secrets
from datetime import datetime
from typing import Final

import msgspec

from everproof.identity.directory import Directory
from everproof.kernel.errors import UnauthenticatedError
from everproof.kernel.words import Proof, Ref

KIND: Final = "break-glass"
"""The kind of such a proof."""
SECRET_BYTES: Final = 20
"""160 bits: nobody finds one by trying, so its plain hash gives nothing away."""

_DOMAIN: Final = b"everproof/sealed/v1\n"
_FORM: Final = re.compile(r"(kit_[0-9a-f]{32}):([a-z0-9._@+-]{1,128}):([A-Za-z2-7]{32})")


class Half(msgspec.Struct, frozen=True):
    """What somebody has shown: of which kit, as whom, and the hash of its secret."""

    kit: str
    person: Ref
    hash: bytes

    def __repr__(self) -> str:
        return f"Half({self.kit}, {self.person})"


def make_half(kit: str, person: Ref) -> tuple[str, Half]:
    """A new half, as it is to be written down, and what is kept of it."""
    secret = base64.b32encode(secrets.token_bytes(SECRET_BYTES)).decode()
    parted = "-".join(secret[at : at + 4] for at in range(0, len(secret), 4))
    return f"{kit}:{person.id}:{parted}", Half(kit, person, _hash(kit, person, secret))


def read_half(text: str) -> Half:
    """What was typed from an envelope; dashes, spaces and capitals do not matter in its secret.

    Raises:
        UnauthenticatedError: it is none.
    """
    kit, _, rest = text.strip().partition(":")
    person, _, secret = rest.partition(":")
    match = _FORM.fullmatch(f"{kit}:{person}:{re.sub('[- ]', '', secret)}")
    if match is None:
        raise UnauthenticatedError("this is no half of a sealed credential", todo="type it as it stands: kit_…:name:…")
    ref = Ref("User", match[2])
    return Half(match[1], ref, _hash(match[1], ref, match[3].upper()))


def sealed_proof(directory: Directory, half: Half, *, at: datetime, key: str) -> Proof:
    """The proof of whoever showed a half that was found to be theirs, holding ``key``.

    Raises:
        UnauthenticatedError: they are on record no more, or disabled.
    """
    principal = directory.principal(half.person)
    if principal is None:
        raise UnauthenticatedError(f"{half.person} is disabled", todo="use another kit")
    return Proof(kind=KIND, principal=principal, at=at, key=key, claims={"kit": half.kit})


def _hash(kit: str, person: Ref, secret: str) -> bytes:
    return hashlib.sha256(b"\0".join((_DOMAIN, kit.encode(), person.id.encode(), secret.encode()))).digest()
