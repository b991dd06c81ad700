"""What reaches beyond this server when a person joins, moves or leaves: others register it, and here it is done.

A *reach* knows what a person is outside, such as a member of an organisation at GitHub. It says what would be done
about a movement, from what is known here and without asking anyone; does one item of it; looks whether it holds; and
undoes it. Each of these may be called again after it has succeeded, and must bear that.
"""

from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypeAlias

import msgspec
from sqlalchemy import Connection

from everproof.kernel.words import NOTHING, Attributes, Ref
from everproof.storage import Transaction

Kind: TypeAlias = Literal["join", "move", "leave"]


class Movement(msgspec.Struct, frozen=True, kw_only=True):
    """A person comes, changes what they are, or goes. ``before`` and ``after`` are the groups, with those around them.

    Of a leaver, ``after`` is empty.
    """

    person: Ref
    kind: Kind
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


class Item(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing to be done. ``does`` and ``undoes`` are said to people; ``undoes`` is empty where nothing can.

    ``at`` names what it touches, once in all of a movement: ``github:acme``. ``arguments`` are for the reach alone.
    """

    reach: str
    at: str
    does: str
    undoes: str = ""
    arguments: Attributes = NOTHING


class Reach(Protocol):
    """What reaches one kind of thing outside."""

    @property
    def name(self) -> str:
        """What its items call it: lower case, such as ``github``."""
        ...

    def plan(self, connection: Connection, movement: Movement) -> Sequence[Item]:
        """What would be done about ``movement``, from what is on record here; it asks nobody and changes nothing."""
        ...

    async def apply(self, item: Item, *, key: str) -> Any:
        """Do it. ``key`` is the same at each attempt. What it gives, as JSON, is handed to `verify` and `undo`."""
        ...

    async def verify(self, item: Item, outcome: Any) -> bool:
        """Whether it holds."""
        ...

    async def undo(self, item: Item, outcome: Any, *, key: str) -> None:
        """Undo it; ``outcome`` is None where it was not applied, or nobody heard that it was."""
        ...


class AtOnce(Protocol):
    """What ends in the very commit in which a person is disabled: another room's own records of them."""

    @property
    def does(self) -> str:
        """What it ends, in the plural, such as ``pending requests``."""
        ...

    def count(self, connection: Connection, person: Ref) -> int:
        """How many of them there are."""
        ...

    def end(self, tx: Transaction, person: Ref) -> int:
        """End them; how many there were."""
        ...
