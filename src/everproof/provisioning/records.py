"""What provisioning keeps: a person or a group as a provisioner describes it, and which record of ours that is."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

import msgspec

from everproof.kernel.errors import ConflictError
from everproof.kernel.words import NOTHING, Attributes, Ref

What: TypeAlias = Literal["User", "Group"]

SOURCE: Final = "scim:"
"""What the records of a provisioner have as their source, before its id."""


class Provisioned(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a provisioner keeps here. ``id`` is ours, opaque, and never another's.

    ``name`` is what the provisioner calls it among its kind (``userName``, ``displayName``), ``external_id`` its own id
    for it. ``ref`` is the record that it stands for, whose id stays whatever it is called later. ``document`` is all
    that was said of it.
    """

    id: str
    provisioner: str
    what: What
    name: str
    external_id: str | None
    ref: Ref
    version: int
    created: datetime
    changed: datetime
    document: Mapping[str, Any]

    @property
    def source(self) -> str:
        """What its record has as its source."""
        return SOURCE + self.provisioner


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """What a provisioner says of a person, in our words; ``document`` is all that it says, to be said back."""

    user_name: str
    external_id: str | None = None
    name: str = ""
    emails: tuple[str, ...] = ()
    attributes: Attributes = NOTHING
    manager: str | None = None
    """The id, or else the name, by which the provisioner knows who they answer to."""
    active: bool = True
    document: Mapping[str, Any] = NOTHING


class Team(msgspec.Struct, frozen=True, kw_only=True):
    """What a provisioner says of a group; ``members`` are ids of ours, None where they are to stay."""

    name: str
    external_id: str | None = None
    members: tuple[str, ...] | None = None
    document: Mapping[str, Any] = NOTHING


class OutdatedError(ConflictError):
    """It was changed since it was read."""

    code = "outdated"
