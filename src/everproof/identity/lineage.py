"""The lineage of a credential: what it came from, up to its root, and all that descends from it."""

from typing import Final

import msgspec

from everproof.identity import store
from everproof.identity.records import Credential
from everproof.kernel.errors import NotFoundError
from everproof.storage import Storage

MAX_DESCENDANTS: Final = 1_000
"""Shown at once; ending a credential ends all of them, shown or not."""


class Lineage(msgspec.Struct, frozen=True):
    """``ancestors`` from the root down to the credential itself; ``descendants`` with parents before children."""

    ancestors: tuple[Credential, ...]
    descendants: tuple[Credential, ...]


def lineage(storage: Storage, id_: str) -> Lineage:
    """The lineage of the credential, dead or alive.

    Raises:
        NotFoundError: there is no such credential.
    """
    ancestors: list[Credential] = []
    with storage.reading() as connection:
        wanted: str | None = id_
        while wanted is not None and (found := store.find_credential(connection, wanted)) is not None:
            ancestors.append(found)
            wanted = found.parent
        if not ancestors:
            raise NotFoundError(f"there is no credential {id_}")
        below = store.find_subtree(connection, [id_], limit=MAX_DESCENDANTS)
    return Lineage(tuple(reversed(ancestors)), tuple(one for one in below if one.id != id_))
