"""How a provisioner departs from the standard. What it sends is put right before anything of ours reads it.

Each departure is one that its maker documents, in `everproof.integrations`: a function from what it sends to what the
standard would have it send. Whoever has none is held to the standard.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from everproof.kernel.words import Attributes

Body = dict[str, Any]


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """One maker's way. ``what`` is ``User`` or ``Group``.

    ``resource`` puts a whole resource right, ``operations`` those of a PATCH, ``filter`` a filter. ``describes``: an
    operation on a value that is not there adds the value that its path describes.
    """

    name: str
    resource: Callable[[str, Body], Body] = lambda _what, body: body
    operations: Callable[[str, list[Any]], list[Any]] = lambda _what, operations: operations
    filter: Callable[[str], str] = lambda text: text
    describes: bool = False


STANDARD: Final = Dialect(name="")

ATTRIBUTE: Final = "dialect"
"""The attribute of a service's record that names its dialect."""


def dialect_of(attributes: Attributes, known: Mapping[str, Dialect]) -> Dialect:
    """The dialect that a service's record names; the standard where it names none that is known."""
    named = attributes.get(ATTRIBUTE)
    return known.get(named, STANDARD) if isinstance(named, str) else STANDARD


def as_booleans(body: Any, names: frozenset[str]) -> Any:
    """``body`` with the text ``"True"`` and ``"False"`` as truth values where a member is called one of ``names``."""
    if isinstance(body, dict):
        return {
            name: truth(value) if name.lower() in names else as_booleans(value, names) for name, value in body.items()
        }
    return [as_booleans(one, names) for one in body] if isinstance(body, list) else body


def truth(value: Any) -> Any:
    """``value``, or the truth value that its text is."""
    return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value


TRUTHS: Final = frozenset({"active", "primary"})
"""The members of people that are truth values, in lower case."""
