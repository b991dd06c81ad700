"""Memberships at a platform: the words for what is, what should be, and what would be changed.

An *organisation* (a GitHub organisation, a GitLab group) has *places*: itself, its teams (at GitLab: subgroups) and
its repositories (projects). In each place an *account* holds a *role*. Places and accounts go by the platform's own
numbers: names change hands.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, TypeAlias

import msgspec

from everproof.kernel.canonical import encode

Kind: TypeAlias = Literal["organisation", "team", "repository"]


class Place(msgspec.Struct, frozen=True, order=True):
    """Where accounts hold roles. ``name`` is what the platform's API wants besides the id; it is checked against it."""

    kind: Kind
    id: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name or self.id}"


class Held(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A role that an account holds. ``login`` is its name now, for people. ``pending``: invited, and not there yet."""

    account: str
    role: str
    login: str = ""
    pending: bool = False


class Looked(msgspec.Struct, frozen=True):
    """What a platform says: in each place each account's role, and who is invited of whom we know no account."""

    held: Mapping[Place, Mapping[str, Held]]
    unknown: tuple[str, ...] = ()


class Change(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One role that becomes another; empty: none. ``person`` is ours, empty for a stranger.

    ``withheld`` says why it is not made, though it would have to be; ``pending`` that what ends is an invitation.
    """

    place: Place
    account: str
    before: str
    after: str
    login: str = ""
    person: str = ""
    pending: bool = False
    withheld: str = ""

    @property
    def removes(self) -> bool:
        """Whether an account loses its place."""
        return not self.after

    def reversed(self) -> "Change":
        """What would undo it."""
        return msgspec.structs.replace(self, before=self.after, after=self.before, pending=False)

    def __str__(self) -> str:
        who = f"{self.person or 'a stranger'} ({self.login or 'account'} {self.account})"
        if self.removes:
            what = f"{'withdraw the invitation of' if self.pending else 'remove'} {who}, {self.before}"
        else:
            what = f"make {who} {self.after}" + (f" instead of {self.before}" if self.before else "")
        return f"{self.place}: {what}"


class Organisation(Protocol):
    """A platform's API for one organisation. What it changes may be asked for again after it has been done."""

    @property
    def platform(self) -> str:
        """Which: ``github`` or ``gitlab``."""
        ...

    @property
    def roles(self) -> Mapping[Kind, Sequence[str]]:
        """The roles of each kind of place, the weakest first; the last one of the organisation owns it."""
        ...

    async def look(self, places: Sequence[Place], accounts: Sequence[str]) -> Looked:
        """Who is where, the first of ``places`` being the organisation. ``accounts`` are those that we know.

        Raises:
            Error: it cannot be seen, or a place's name is another's by now.
        """
        ...

    async def change(self, organisation: Place, change: Change) -> None:
        """Make one change.

        Raises:
            Error: it was not made.
        """
        ...


def digest_of(changes: Sequence[Change]) -> str:
    """What names a plan: another one has another."""
    return hashlib.sha256(encode(list(changes))).hexdigest()
