"""What a bundle's ``everproof.toml`` says: how doors treat a denial, and how many people approve an effect.

    [doors]
    git = "observe"   # let pass, and record would_deny

    [approvals]
    "token.revoke" = { people = 2, above = 10 }   # what touches more than 10 things, two people approve

    [sessions]
    idle_seconds = 1800   # how long sessions last: see `everproof.identity.sessions.limits`

A door that is not named enforces. A verb that is not named has approvals as the room says that knows it, and one that
is named has never fewer.
"""

from collections.abc import Mapping
from typing import Annotated, Final

import msgspec

from everproof.identity.sessions import Limits
from everproof.kernel.errors import InputError
from everproof.kernel.toml import parse_toml
from everproof.kernel.words import Mode
from everproof.work import Rule

FILE_NAME: Final = "everproof.toml"

Door = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9-]{0,63}$")]
DeedName = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9.-]{0,63}$")]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    doors: dict[Door, Mode] = {}
    approvals: dict[DeedName, Rule] = {}
    sessions: Limits = Limits()


def doors_of(files: Mapping[str, bytes]) -> Mapping[str, Mode]:
    """The doors that a bundle's files name, with their modes.

    Raises:
        InputError: ``everproof.toml`` cannot be read; with its field.
    """
    return _read(files).doors


def approvals_of(files: Mapping[str, bytes]) -> Mapping[str, Rule]:
    """The verbs of effects that a bundle's files name, with who has to approve them.

    Raises:
        InputError: as `doors_of`.
    """
    return _read(files).approvals


def sessions_of(files: Mapping[str, bytes]) -> Limits:
    """How long sessions last by a bundle's files.

    Raises:
        InputError: as `doors_of`.
    """
    return _read(files).sessions


def _read(files: Mapping[str, bytes]) -> _File:
    try:
        text = files.get(FILE_NAME, b"").decode()
    except UnicodeDecodeError as error:
        raise InputError("not UTF-8", place=FILE_NAME) from error
    return parse_toml(text, _File, place=FILE_NAME)


def enforces_more(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> bool:
    """Whether a door that observed would enforce."""
    modes = doors_of(after)
    return any(mode == "observe" != modes.get(door, "enforce") for door, mode in doors_of(before).items())
