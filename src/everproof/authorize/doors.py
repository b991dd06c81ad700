"""How a bundle wants its enforcement points to treat a denial: the table ``[doors]`` of its ``everproof.toml``.

    [doors]
    git = "observe"   # let pass, and record would_deny

A door that is not named enforces.
"""

from collections.abc import Mapping
from typing import Annotated, Final

import msgspec

from everproof.kernel.errors import InputError
from everproof.kernel.toml import parse_toml
from everproof.kernel.words import Mode

FILE_NAME: Final = "everproof.toml"

Door = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9-]{0,63}$")]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    doors: dict[Door, Mode] = {}


def doors_of(files: Mapping[str, bytes]) -> Mapping[str, Mode]:
    """The doors that a bundle's files name, with their modes.

    Raises:
        InputError: ``everproof.toml`` cannot be read; with its field.
    """
    try:
        text = files.get(FILE_NAME, b"").decode()
    except UnicodeDecodeError as error:
        raise InputError("not UTF-8", place=FILE_NAME) from error
    return parse_toml(text, _File, place=FILE_NAME).doors


def enforces_more(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> bool:
    """Whether a door that observed would enforce."""
    modes = doors_of(after)
    return any(mode == "observe" != modes.get(door, "enforce") for door, mode in doors_of(before).items())
