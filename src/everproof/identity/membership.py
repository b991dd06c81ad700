"""Who is in a group, changed for many at once; and groups that are no more.

A group of ten thousand comes and goes in one commit, so what would be asked of each is asked of hundreds together.
"""

from collections.abc import Callable, Sequence

import msgspec

from everproof.identity import store
from everproof.identity.directory import GROUPS, PRINCIPALS
from everproof.identity.names import group_id
from everproof.identity.records import PrincipalRecord
from everproof.identity.roster import MAX_GROUPS
from everproof.kernel.canonical import encode
from everproof.kernel.errors import InputError
from everproof.kernel.words import Ref
from everproof.storage import Transaction


def join_group(tx: Transaction, group: str, who: Sequence[Ref]) -> int:
    """Let all of ``who`` be in ``group``; how many were not.

    Raises:
        InputError: not the name of a group, or somebody would be in too many.
    """
    group_id(group)
    return _regroup(tx, who, lambda groups: groups | {group})


def part_group(tx: Transaction, group: str, who: Sequence[Ref]) -> int:
    """Let none of ``who`` be in ``group``; how many were."""
    return _regroup(tx, who, lambda groups: groups - {group})


def remove_group(tx: Transaction, group: str) -> None:
    """Let there be no such group: nobody is in it any more, nor any other group."""
    for other in list(store.load_groups(tx.connection)):
        if group in other.groups:
            kept = msgspec.structs.replace(other, groups=tuple(one for one in other.groups if one != group))
            store.put_group(tx, kept)
            tx.publish(GROUPS, kept.id, encode(kept))
    part_group(tx, group, [one.ref for one in store.load_principals(tx.connection) if group in one.groups])
    store.remove_group(tx, group)
    tx.publish(GROUPS, group, b"")


def _regroup(tx: Transaction, who: Sequence[Ref], change: Callable[[set[str]], set[str]]) -> int:
    changed: list[PrincipalRecord] = []
    for record in store.find_principals(tx.connection, who):
        groups = tuple(sorted(change(set(record.groups))))
        if len(groups) > MAX_GROUPS:
            raise InputError(f"{record.ref} would be in more than {MAX_GROUPS} groups", place="groups")
        if groups != record.groups:
            changed.append(msgspec.structs.replace(record, groups=groups))
    store.rewrite_principals(tx, changed)
    for record in changed:
        tx.publish(PRINCIPALS, str(record.ref), encode(record))
    return len(changed)
