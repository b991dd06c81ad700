"""Reading filters and paths: bounded before they are parsed, so that a bomb costs no more than its length."""

from typing import Final

from scim2_models import InvalidPathException

from everproof.server.scim.bounds import MAX_EXPRESSION, MAX_NESTING, MAX_TERMS
from everproof.server.scim.errors import BadFilterError

_OPENING: Final = "(["
_CLOSING: Final = ")]"


def bounded_filter(text: str) -> str:
    """``text``, if it is short and flat enough to be read as a filter.

    Raises:
        BadFilterError: it is not, so nobody reads it.
    """
    if why := _too_much(text):
        raise BadFilterError(why)
    return text


def bounded_path(text: str) -> str:
    """``text``, if it is short and flat enough to be read as a path.

    Raises:
        InvalidPathException: it is not, so nobody reads it.
    """
    if why := _too_much(text):
        raise InvalidPathException(detail=why)
    return text


def _too_much(text: str) -> str:
    if len(text) > MAX_EXPRESSION:
        return f"it is longer than {MAX_EXPRESSION} characters"
    depth = deepest = 0
    words = 0
    quoted = escaped = False
    for character in text:
        if quoted:
            quoted = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            quoted = True
        elif character in _OPENING:
            depth += 1
            deepest = max(deepest, depth)
        elif character in _CLOSING:
            depth -= 1
        elif character == " ":
            words += 1
    if deepest > MAX_NESTING:
        return f"more than {MAX_NESTING} brackets are open at once"
    # Each comparison and each word between two has a blank before it or behind it.
    return f"it has more than {MAX_TERMS} terms" if words > 4 * MAX_TERMS else ""
