"""Templates over claims, such as ``github/{repository_id}/{environment}``: what a principal is named by.

Two tokens that differ in a claim of the template never get the same name: in every value but a last one, the characters
that the template itself uses are written as ``%XX``.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from everproof.identity.conditions import text_of
from everproof.identity.jose import JoseError
from everproof.kernel.errors import InputError

MAX_LENGTH: Final = 512
"""Of an id that a template makes: it stands in every entry and token."""

_PARTS: Final = re.compile(r"\{([A-Za-z0-9_.:/-]+)\}|([^{}]+)")


class Template(msgspec.Struct, frozen=True):
    """A template taken apart: text and the names of claims, in turn."""

    parts: tuple[tuple[str, str], ...]
    reserved: frozenset[str]

    @property
    def claims(self) -> tuple[str, ...]:
        """The claims it needs."""
        return tuple(claim for _, claim in self.parts if claim)

    @property
    def prefix(self) -> str:
        """The text it begins with."""
        return self.parts[0][0]

    def fill(self, claims: Mapping[str, Any]) -> str:
        """The text for these claims.

        Raises:
            JoseError: a claim is missing, empty or not a plain value.
        """
        made = []
        last = len(self.parts) - 1
        for at, (text, claim) in enumerate(self.parts):
            made.append(text)
            if claim:
                value = text_of(claims.get(claim))
                if not value:
                    raise JoseError("a claim that the trust binding needs is missing", place=f"claims.{claim}")
                made.append(value if at == last else self._escape(value))
        name = "".join(made)
        if len(name) > MAX_LENGTH or not name.isprintable():
            raise JoseError("its claims make a name that is too long or not printable", place="claims")
        return name

    def _escape(self, value: str) -> str:
        if self.reserved.isdisjoint(value):
            return value
        return "".join(f"%{ord(char):02X}" if char in self.reserved else char for char in value)


def template(text: str, *, place: str) -> Template:
    """``text`` taken apart.

    Raises:
        InputError: a brace is left open, or two claims stand side by side.
    """
    parts: list[tuple[str, str]] = []
    literal, end = "", 0
    for match in _PARTS.finditer(text):
        if match.start() != end:
            break
        end = match.end()
        if match[2]:
            literal = match[2]
            continue
        if parts and not literal:
            raise InputError("two claims side by side could be mistaken for each other", place=place)
        parts.append((literal, match[1]))
        literal = ""
    if end != len(text) or not text:
        raise InputError("not a template: text, and names of claims in braces", place=place)
    if literal:
        parts.append((literal, ""))
    return Template(tuple(parts), frozenset("%").union(*(text for text, _ in parts[1:])))
