"""The lineage of a credential: what it came from, up to its root, and all that descends from it; and its drawing."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

import msgspec

from everproof.identity import credential_store
from everproof.identity.records import FOREVER, Credential
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
        while wanted is not None and (found := credential_store.find_credential(connection, wanted)) is not None:
            ancestors.append(found)
            wanted = found.parent
        if not ancestors:
            raise NotFoundError(f"there is no credential {id_}")
        below = credential_store.find_subtree(connection, id_, limit=MAX_DESCENDANTS + 1)
    return Lineage(tuple(reversed(ancestors)), tuple(one for one in below if one.id != id_))


def draw(found: Lineage, now: datetime) -> list[str]:
    """The tree as lines, from the root down, with an arrow at the credential that was asked for."""
    lines = [_step(depth) + _told(one, now) for depth, one in enumerate(found.ancestors)]
    lines[-1] += "  \N{LEFTWARDS ARROW}"
    lines.extend(_below(found, now))
    if len(found.descendants) == MAX_DESCENDANTS:
        lines.append(f"(no more than {MAX_DESCENDANTS} are shown)")
    return lines


def _below(found: Lineage, now: datetime) -> Iterator[str]:
    children: dict[str | None, list[Credential]] = {}
    for one in found.descendants:
        children.setdefault(one.parent, []).append(one)
    depth = len(found.ancestors)
    waiting = [("   " * (depth - 1), children.get(found.ancestors[-1].id, []))]
    while waiting:
        indent, line = waiting.pop()
        if not line:
            continue
        one, *rest = line
        waiting.append((indent, rest))
        yield indent + ("├─ " if rest else "└─ ") + _told(one, now)
        waiting.append((indent + ("│  " if rest else "   "), children.get(one.id, [])))


def _step(depth: int) -> str:
    return "   " * (depth - 1) + "└─ " if depth else ""


def _told(one: Credential, now: datetime) -> str:
    parts = [f"{one.kind} {one.id}", str(one.principal)]
    if one.audience is not None:
        parts.append(f"for {one.audience}")
    if one.scope:
        parts.append(f"scope {' '.join(one.scope)}")
    if one.key is not None:
        parts.append(f"key {one.key}")
    parts.extend(f"{name} {value}" for name, value in one.source.items())
    if one.revoked_at is not None:
        parts.append(f"revoked {_time(one.revoked_at)}: {one.revoked_reason}")
    elif one.expires < FOREVER:
        parts.append(f"{'expired' if one.expires <= now else 'until'} {_time(one.expires)}")
    # Names in tokens are other people's choice: none of them moves the cursor of whoever looks.
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in ", ".join(parts))


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
