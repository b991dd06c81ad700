"""One sealed value: AES-256-GCM under a random nonce, bound to a context (NIST SP 800-38D).

The form is ``0x01 ‖ nonce (12) ‖ ciphertext ‖ tag (16)``; the first byte leaves room for another cipher.
"""

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from everproof.kernel.errors import Error

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
FORM: Final = b"\x01"
_HEADER_BYTES: Final = len(FORM) + NONCE_BYTES
_LEAST_BYTES: Final = _HEADER_BYTES + 16

NONCES_AT_ONCE: Final = 512
"""One system call for this many: a call for each nonce would be a third of the cost of a seal."""

_nonces: list[bytes] = []
os.register_at_fork(after_in_child=_nonces.clear)  # parent and child must not use the same ones


class SealError(Error):
    """What should open does not: it was changed, or is somewhere it was not sealed for."""

    code = "seal-broken"
    status = 500


def fresh_nonce() -> bytes:
    """Twelve random bytes, each handed out once, in whichever thread asks."""
    try:
        return _nonces.pop()
    except IndexError:
        chance = os.urandom(NONCE_BYTES * NONCES_AT_ONCE)
        _nonces.extend(chance[at : at + NONCE_BYTES] for at in range(NONCE_BYTES, len(chance), NONCE_BYTES))
        return chance[:NONCE_BYTES]


def seal_with(cipher: AESGCM, plaintext: bytes, context: bytes) -> bytes:
    """``plaintext`` sealed; it opens only with the same key and the same ``context``."""
    nonce = fresh_nonce()
    return FORM + nonce + cipher.encrypt(nonce, plaintext, context)


def open_with(cipher: AESGCM, sealed: bytes, context: bytes) -> bytes:
    """What was sealed.

    Raises:
        InvalidTag: another key, another context, or a byte was changed.
    """
    if sealed[:1] != FORM or len(sealed) < _LEAST_BYTES:
        raise InvalidTag
    return cipher.decrypt(sealed[1:_HEADER_BYTES], sealed[_HEADER_BYTES:], context)
