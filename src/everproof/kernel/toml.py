"""Reading TOML into typed structs, with the file and the field in every error."""

import tomllib
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from everproof.kernel.errors import InputError

T = TypeVar("T")


def read_toml(path: Path, type_: type[T]) -> T:
    """The contents of ``path`` as ``type_``, strictly: an unknown field is an error.

    Raises:
        InputError: unreadable, not TOML, or not of this shape; with its place.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", place=str(path)) from error
    return parse_toml(text, type_, place=str(path))


def parse_toml(text: str, type_: type[T], *, place: str) -> T:
    """TOML ``text`` as ``type_``; ``place`` names it in errors, as in ``read_toml``."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"not TOML: {error}", place=place) from error
    try:
        return msgspec.convert(document, type_, strict=True, dec_hook=_convert)
    except msgspec.ValidationError as error:
        what, _, field = str(error).partition(" - at `$")
        field = field.strip("`.")
        raise InputError(what, place=f"{place}: {field}" if field else place) from error


def _convert(type_: type[Any], value: Any) -> Any:
    if type_ is Path and isinstance(value, str) and value:
        return Path(value).expanduser()
    raise ValueError("not a path")
