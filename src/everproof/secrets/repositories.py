"""What a platform of repositories does for us: makes a token as narrow as it was asked for, and ends it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal, Protocol, TypeAlias

import msgspec

from everproof.kernel.errors import UnavailableError

Level: TypeAlias = Literal["read", "write"]


TokenText: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[\x21-\x7e]{1,4096}\Z")]
"""A token as a platform may send it: one word, so that it says nothing else to git or to a header."""


class HostError(UnavailableError):
    """A platform made no token, or did not say that it has ended one."""

    code = "repository-host"
    status = 502


class NotMadeError(HostError):
    """The platform said no: there is no token whose end would have to be seen to."""


class Access(msgspec.Struct, frozen=True):
    """What a token is to reach: one repository, by its number, and what it may do there (``contents: read``)."""

    host: str
    repository: str
    permissions: Mapping[str, Level]

    @property
    def writes(self) -> bool:
        """Whether it may change anything."""
        return any(level != "read" for level in self.permissions.values())

    @property
    def words(self) -> tuple[str, ...]:
        """The permissions as policy and records have them: ``contents:read``."""
        return tuple(sorted(f"{name}:{level}" for name, level in self.permissions.items()))


class Minted(msgspec.Struct, frozen=True, kw_only=True):
    """A platform's answer. ``dies`` is when the platform itself ends the token.

    ``excess`` says what the token may do beyond what was asked: then it is ended at once, and nobody gets it.
    """

    token: str
    id: str = ""
    dies: datetime
    excess: str = ""

    def __repr__(self) -> str:
        return f"Minted({self.id})"


class RepositoryHost(Protocol):
    """One platform. ``issuer`` is that of the tokens of its jobs; ``username`` goes before a token in a git URL."""

    name: str
    issuer: str
    username: str

    def check(self, access: Access) -> None:
        """Check that such a token can be asked for.

        Raises:
            InputError: there is no such permission, or no such number.
        """
        ...

    def last_end(self, ends: datetime) -> datetime:
        """When, at the latest, the platform ends by itself a token that is made now and is to end at ``ends``."""
        ...

    async def mint(self, access: Access, *, name: str, ends: datetime) -> Minted:
        """A token that may do what ``access`` says. ``name`` is what the platform calls it, where it calls it anything.

        Raises:
            NotMadeError: the platform made none.
            HostError: it may have made one, and its answer cannot be read.
            OutboundError: it could not be asked.
        """
        ...

    async def revoke(self, access: Access, *, name: str, id: str, token: str) -> bool:  # noqa: A002 - the platform's word
        """End a token; that it has ended already is as good. ``id`` and ``token`` are empty where the answer was lost.

        False: without its value the platform ends none, and nobody has it.

        Raises:
            HostError: the platform did not say that it has ended.
            OutboundError: it could not be asked.
        """
        ...
