"""UUIDv7 ids with a typed prefix, such as ``cred_0198c1f2a7b37c4e9d3f5a6b7c8d9e0f`` (RFC 9562, section 5.7)."""

import os
import re
import time
from typing import Final, Literal

Prefix = Literal[
    "cred", "dec", "ent", "key", "req", "enr", "join", "sess", "run", "evt", "job", "eff", "cont", "fac", "rcv", "scim",
    "inc", "kit",
]  # fmt: skip

_FORM: Final = re.compile(r"[a-z]{3,4}_[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}")
_VERSION_7: Final = 0x7 << 76
_VARIANT: Final = 0b10 << 62
_RANDOM_A: Final = 0xFFF << 64
_RANDOM_B: Final = (1 << 62) - 1
_CHANCE_BYTES: Final = 10
_AT_ONCE: Final = 256
"""Asking the system for each id costs more than all the rest of it, and gives the interpreter away meanwhile."""

_chances: list[bytes] = []
os.register_at_fork(after_in_child=_chances.clear)


def _chance() -> bytes:
    while True:
        try:
            return _chances.pop()
        except IndexError:  # another thread may have had the last one
            fresh = os.urandom(_CHANCE_BYTES * _AT_ONCE)
            _chances.extend(fresh[at : at + _CHANCE_BYTES] for at in range(0, len(fresh), _CHANCE_BYTES))


def new_id(prefix: Prefix, *, milliseconds: int | None = None) -> str:
    """A fresh id. Ids made in different milliseconds sort by time; ``milliseconds`` is since the Unix epoch."""
    if milliseconds is None:
        milliseconds = time.time_ns() // 1_000_000
    chance = int.from_bytes(_chance(), "big")
    value = milliseconds << 80 | _VERSION_7 | chance & _RANDOM_A | _VARIANT | chance & _RANDOM_B
    return f"{prefix}_{value:032x}"


def is_id(text: str, prefix: Prefix) -> bool:
    """Whether ``text`` has the form of an id with this prefix."""
    return text.startswith(f"{prefix}_") and _FORM.fullmatch(text) is not None
