"""Principals that are held: nothing is issued to them and nothing is allowed them, whatever they prove.

It holds for those who are on record and for those who are not, such as a pipeline's job, and takes nothing away: with
the release, what they held before and has not ended is theirs again.
"""

from collections.abc import Iterator
from typing import Final

from everproof.identity.held_store import load_held, put_held, remove_held
from everproof.kernel.errors import NotFoundError
from everproof.kernel.words import Ref
from everproof.storage import Storage, Transaction

TOPIC: Final = "identity.held"
_HELD: Final = b"held"
_RELEASED: Final = b"released"


class Holding:
    """Who is held, in memory."""

    def __init__(self, storage: Storage) -> None:
        with storage.reading() as connection:
            self._held = set(load_held(connection))
        storage.subscribe(TOPIC, self._hear, at_once=True)

    def __contains__(self, ref: object) -> bool:
        return bool(self._held) and ref in self._held

    def __iter__(self) -> Iterator[Ref]:
        return iter(sorted(self._held))

    def _hear(self, key: str, body: bytes) -> None:
        type_, _, id_ = key.partition(":")
        (self._held.add if body == _HELD else self._held.discard)(Ref(type_, id_))


def hold(tx: Transaction, ref: Ref, reason: str) -> bool:
    """Let nothing be issued to ``ref`` and nothing be allowed it, until it is released; False: it is held already."""
    if not put_held(tx, ref, reason):
        return False
    tx.publish(TOPIC, f"{ref.type}:{ref.id}", _HELD)
    return True


def release(tx: Transaction, ref: Ref) -> None:
    """Undo `hold`.

    Raises:
        NotFoundError: it is not held.
    """
    if not remove_held(tx, ref):
        raise NotFoundError(f"{ref} is not contained")
    tx.publish(TOPIC, f"{ref.type}:{ref.id}", _RELEASED)
