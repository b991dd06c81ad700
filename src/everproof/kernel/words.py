"""The eight words of the house, the same from the wire to the ledger.

A *proof* makes a *principal*; the principal asks for an *action* on a *resource*; *facts* are gathered; a *decision* is
made and recorded as an *entry*; only then does it have an *effect*.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

Attributes = Mapping[str, Any]
"""Values that Cedar knows: bool, int, str, lists of them, records of them; no floats, no nulls."""

NOTHING: Attributes = {}


class Ref(msgspec.Struct, frozen=True, order=True):
    """The name of one entity: a Cedar type and an id, such as ``User`` and ``alice``."""

    type: str
    id: str

    def __str__(self) -> str:
        return f'{self.type}::"{self.id}"'


MAIN_SPACE: Final = Ref("Space", "main")
"""Where everything belongs that belongs to no other part of the organisation."""


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks. Attributes and parents are what was proven or is on record, never what the caller says of itself."""

    ref: Ref
    attributes: Attributes = NOTHING
    parents: tuple[Ref, ...] = ()


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for."""

    ref: Ref
    attributes: Attributes = NOTHING
    parents: tuple[Ref, ...] = ()


class Action(msgspec.Struct, frozen=True):
    """What is to be done, in the form ``noun:verb``, such as ``git:push``."""

    name: str


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """Why a principal is believed to be who it says, made only by the identity room.

    ``kind`` names the method (``access-token``, ``ci-token``, ``ssh-signature``, ...). ``credential`` is the id of the
    issued credential that was presented, or that this proof will become the parent of. ``key`` is the thumbprint of the
    key whose possession was shown. ``vouched_by`` is who asked on the principal's behalf (a policy enforcement point).
    """

    kind: str
    principal: Principal
    at: datetime
    credential: str | None = None
    key: str | None = None
    expires: datetime | None = None
    claims: Attributes = NOTHING
    vouched_by: Ref | None = None


class Fact(msgspec.Struct, frozen=True):
    """One thing known about a request, with when it was true and who says so. A fact that cannot be had is absent."""

    name: str
    value: Any
    at: datetime
    source: str


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What policy answered. ``reasons`` are ids of the policies that determined it; any error makes it a denial."""

    allowed: bool
    bundle: str
    reasons: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """Something to be done in the world because of a decision: a registered verb and its arguments."""

    verb: str
    subject: Ref
    arguments: Attributes = NOTHING


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One record of the ledger. ``about`` names whose key encrypts the body: erasing that person destroys the key."""

    id: str
    at: datetime
    kind: str
    about: Ref
    body: msgspec.Raw
    space: str = MAIN_SPACE.id
    version: int = 1


Mode = Literal["enforce", "observe"]
"""How an enforcement point treats a denial: refuse, or let pass and record ``would_deny``."""
