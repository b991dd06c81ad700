"""Recovery codes: ten, shown once, each good once. They are random, so a salted hash of each is enough."""

import hashlib
import secrets
from typing import Final

COUNT: Final = 10
GROUPS: Final = 4
GROUP: Final = 4
ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's: nothing in it looks like anything else in it. Sixteen of 32 signs are 80 bits."""

_READ_AS: Final = str.maketrans({"O": "0", "I": "1", "L": "1", "-": None, " ": None})


def new_codes() -> tuple[str, ...]:
    """Fresh codes, as they are shown."""
    made: set[str] = set()
    while len(made) < COUNT:
        made.add("-".join("".join(secrets.choice(ALPHABET) for _ in range(GROUP)) for _ in range(GROUPS)))
    return tuple(sorted(made))


def hash_of(code: str, *, factor: str) -> bytes:
    """What a code of ``factor`` is kept as, however it was typed."""
    plain = code.upper().translate(_READ_AS)
    return hashlib.sha256(f"everproof recovery code\0{factor}\0{plain}".encode()).digest()
