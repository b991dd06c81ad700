"""Page tokens of searches: where to go on, sealed, and good for the same question of the same caller alone.

What was examined last may be somebody whom the caller is not told of, so a token is not only opaque by agreement.
"""

from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from everproof.kernel.canonical import b64url, encode, from_b64url
from everproof.kernel.errors import InputError
from everproof.keys import SigningKeys
from everproof.keys.envelope import KEY_BYTES, open_with, seal_with

_PURPOSE: Final = b"everproof authzen page token v1"


class PageTokens:
    """Seals and opens page tokens; all servers of one database have the same key."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    @classmethod
    def of(cls, signing: SigningKeys) -> "PageTokens":
        """With a key that is derived from the one that never changes."""
        private = signing.current("Ed25519").private
        assert isinstance(private, Ed25519PrivateKey)
        derived = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=_PURPOSE)
        return cls(derived.derive(private.private_bytes_raw()))

    def seal(self, after: str, question: msgspec.Struct) -> str:
        """The token to go on after ``after`` with."""
        return b64url(seal_with(self._cipher, after.encode(), encode(question)))

    def open(self, token: str, question: msgspec.Struct) -> str:
        """Where to go on.

        Raises:
            InputError: it is no token of ours, or one of another question or caller.
        """
        try:
            return open_with(self._cipher, from_b64url(token), encode(question)).decode()
        except (InputError, InvalidTag) as error:
            todo = "ask again without a token: it is good for the very same question of the same caller"
            raise InputError("no token of this search", place="body: page.token", todo=todo) from error
