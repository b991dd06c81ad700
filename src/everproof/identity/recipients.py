"""Whom a notice reaches: a person by their own addresses, a group by all who are in it, by whatever way."""

from collections.abc import Iterator

from everproof.identity.directory import Directory
from everproof.identity.records import PrincipalRecord
from everproof.kernel.errors import NotFoundError
from everproof.kernel.words import Ref
from everproof.work.notices import Recipient


def recipients(directory: Directory, ref: Ref) -> Iterator[Recipient]:
    """The people that ``ref`` stands for, without those who are disabled."""
    if ref.type == "User":
        try:
            record = directory.record(ref)
        except NotFoundError:
            return
        if record.disabled is None:
            yield _recipient(record)
    elif ref.type == "Group":
        for record in directory.records():
            if record.ref.type != "User" or record.disabled is not None:
                continue
            if ref.id in directory.ancestors(record.groups):
                yield _recipient(record)


def _recipient(record: PrincipalRecord) -> Recipient:
    return Recipient(ref=record.ref, name=record.name, addresses=record.emails)
