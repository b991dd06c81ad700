"""What stands on record of requests, the answers to them, and grants."""

import hashlib
from datetime import datetime
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from everproof.kernel.canonical import encode
from everproof.kernel.words import NOTHING, Attributes, Ref

State: TypeAlias = Literal["requested", "approved", "granted", "expired", "revoked", "refused", "cancelled", "lapsed"]
"""``approved``: by some, and not yet by as many as it takes. ``lapsed``: not answered in time."""
OPEN: Final = ("requested", "approved")

_DOMAIN: Final = b"everproof/access-request/v1\n"

Action_ = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z-]{0,31}:[a-z][a-z-]{0,31}$")]
Seconds = Annotated[int, msgspec.Meta(ge=60, le=7 * 86_400)]


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What somebody asks for. ``attributes`` and ``parents`` are the resource's, as a denial names them.

    They tell whether a grant would help, and nothing else: what is granted is for the resource by its name.
    """

    action: Action_
    resource: Ref
    seconds: Seconds
    reason: str = ""
    attributes: Attributes = NOTHING
    parents: tuple[Ref, ...] = ()


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a request that never changes, and that an approval is for. ``created`` is in milliseconds."""

    id: str
    requester: Ref
    action: str
    resource: Ref
    seconds: int
    reason: str
    needs: int
    owners: tuple[Ref, ...]
    notify: tuple[Ref, ...]
    created: int
    answer_by: int

    @property
    def digest(self) -> str:
        """What names exactly this request."""
        return hashlib.sha256(_DOMAIN + encode(self)).hexdigest()


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One person's answer. ``context`` is what policy saw of them; it is asked again by it when it comes to count."""

    by: Ref
    at: datetime
    digest: str
    method: str = ""
    factor_age: int | None = None
    message: str = ""
    credential: str | None = None
    context: bytes = b"{}"


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """An approval as it is shown. ``factor_age``: seconds, when it was given."""

    by: Ref
    at: datetime
    method: str
    factor_age: int | None
    message: str


class GrantRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A grant; ``id`` is that of its credential. Of break-glass, ``request`` is that of its kit.

    ``policies`` are those that granted it where no people did.
    """

    id: str
    request: str
    principal: Ref
    actions: tuple[str, ...]
    resource: Ref
    began: datetime
    expires: datetime
    approvers: tuple[Ref, ...] = ()
    policies: tuple[str, ...] = ()
    break_glass: bool = False
    ended: datetime | None = None
    how: Literal["", "expired", "revoked"] = ""
    by: Ref | None = None
    reason: str = ""

    def state(self, now: datetime) -> Literal["granted", "expired", "revoked"]:
        """Where it is at ``now``, as far as this record knows."""
        if self.how:
            return self.how
        return "granted" if now < self.expires else "expired"


class RequestRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it stands. ``digest`` names exactly what was asked for, and an approval has to name it.

    ``decided`` says when it was granted, refused or taken back, ``by`` by whom (of a grant, whoever came last), and
    ``message`` what they said. ``needs`` is how many people it takes.
    """

    id: str
    requester: Ref
    action: str
    resource: Ref
    seconds: int
    reason: str
    needs: int
    owners: tuple[Ref, ...]
    created: datetime
    answer_by: datetime
    digest: str
    state: State
    approvals: tuple[Shown, ...] = ()
    decided: datetime | None = None
    by: Ref | None = None
    method: str = ""
    message: str = ""
    grant: GrantRecord | None = None

    @property
    def is_open(self) -> bool:
        """Whether it waits for answers."""
        return self.state in OPEN
