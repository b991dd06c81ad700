"""What stands on record of a containment."""

from datetime import datetime

import msgspec

from everproof.kernel.words import Ref


class ContainmentRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A containment as it stands, ``finished`` when there was nothing left.

    ``credentials`` counts those that have their receipt by now, ``errands`` what other rooms were asked to end outside.
    """

    id: str
    target: Ref
    reason: str
    by: Ref
    begun: datetime
    finished: datetime | None
    credentials: int
    errands: int


class Ended(msgspec.Struct, frozen=True):
    """The receipt of one credential that containment ended, as its ledger entry says it."""

    containment: str
    credential: str
    kind: str
    principal: Ref
    parent: str | None
    expires: datetime
    by: Ref
    reason: str
