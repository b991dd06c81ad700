"""What stands in the tree for an entry: a hash that tells nothing of it, until its salt is shown with it.

``leaf data = SHA-256(domain ‖ salt ‖ canonical entry)``. What is hashed is called the opening.
"""

import hashlib
from typing import Final

from everproof.kernel.errors import InputError

DOMAIN: Final = b"everproof/entry/v1\n"
SALT_BYTES: Final = 32
COMMITMENT_BYTES: Final = 32


def commit(opening: bytes) -> bytes:
    """The commitment that ``opening`` opens."""
    return hashlib.sha256(opening).digest()


def entry_of(opening: bytes) -> bytes:
    """The canonical entry within an opening.

    Raises:
        InputError: it is no opening.
    """
    if not opening.startswith(DOMAIN) or len(opening) <= len(DOMAIN) + SALT_BYTES:
        raise InputError("not the opening of an entry's commitment")
    return opening[len(DOMAIN) + SALT_BYTES :]
