"""Conditions over claims: exact values, lists of them, and patterns only where they are asked for by name."""

import re
from typing import Any, Final

import msgspec

from everproof.kernel.errors import InputError


class Pattern(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``{ glob = "…" }``: ``*`` is any text without a slash, ``**`` any text; the whole claim must fit.

    ``{ absent = true }``: the claim must not be there.
    """

    glob: str | None = None
    absent: bool = False


Wanted = str | int | bool | tuple[str | int | bool, ...] | Pattern
"""A condition as it stands in TOML."""

_TOKENS: Final = re.compile(r"\*\*|\*|[^*]+")


class Condition(msgspec.Struct, frozen=True):
    """One condition. A claim that is a list fits if one of its members does; a missing claim never fits a value."""

    values: frozenset[str] = frozenset()
    pattern: re.Pattern[str] | None = None
    absent: bool = False
    caseless: bool = False

    @property
    def is_exact(self) -> bool:
        """Whether the claim must be there with one of a few known values."""
        return bool(self.values)

    def fits(self, claim: Any) -> bool:
        """Whether the claim, None where it is missing, is as wanted."""
        if claim is None or self.absent:
            return claim is None and self.absent
        if isinstance(claim, list):
            return any(self._one(text) for one in claim if (text := text_of(one)) is not None)
        text = text_of(claim)
        return text is not None and self._one(text)

    def _one(self, text: str) -> bool:
        if self.caseless:
            text = text.lower()
        return text in self.values if self.pattern is None else self.pattern.fullmatch(text) is not None

    def __str__(self) -> str:
        if self.absent:
            return "no value"
        if self.pattern is not None:
            return f"the pattern {self.pattern.pattern}"
        return " or ".join(repr(value) for value in sorted(self.values))


def condition(wanted: Wanted, *, place: str, caseless: bool = False) -> Condition:
    """``wanted``, ready to be asked.

    Raises:
        InputError: it wants nothing, or everything.
    """
    if isinstance(wanted, Pattern):
        if wanted.absent == (wanted.glob is not None):
            raise InputError("must say either glob or absent", place=place)
        if wanted.glob is None:
            return Condition(absent=True)
        if not wanted.glob.strip("*/"):
            raise InputError("a pattern that fits anything is no condition", place=place)
        return Condition(pattern=_glob(wanted.glob.lower() if caseless else wanted.glob), caseless=caseless)
    options = wanted if isinstance(wanted, tuple) else (wanted,)
    texts = frozenset(text for one in options if (text := text_of(one)) is not None)
    if not texts or "" in texts:
        raise InputError("must name at least one value, and no empty one", place=place)
    for text in texts:
        if "*" in text:
            raise InputError("a value with `*` is compared as it stands", place=place, todo='write { glob = "…" }')
    return Condition(values=frozenset(text.lower() for text in texts) if caseless else texts, caseless=caseless)


def text_of(value: Any) -> str | None:
    """A claim's value as text: ids and booleans come as strings from some issuers and bare from others."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else None


def _glob(text: str) -> re.Pattern[str]:
    forms = {"*": "[^/]*", "**": ".*"}
    return re.compile("".join(forms.get(part) or re.escape(part) for part in _TOKENS.findall(text)), re.DOTALL)
