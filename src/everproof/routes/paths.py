"""Request targets with one reading. What two servers could read as two paths is refused, never normalised.

A path that is put right before it is decided upon reaches the service as it was: `/public/%2e%2e/admin` would be
decided as one thing and served as another. So there is no step that puts anything right.
"""

import re
import unicodedata
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec

from everproof.kernel.errors import RefusedError

MAX_TARGET: Final = 8192
"""Characters of a path with its query: what RFC 9110 (section 4.1) wants supported at least."""
MAX_SEGMENTS: Final = 64

_PATH: Final = re.compile(r"/[A-Za-z0-9\-._~!$&'()*+,=:@%/]*")
_QUERY: Final = re.compile(r"[\x21\x22\x24-\x7e]*")
_ESCAPE: Final = re.compile(r"%(..?)?", re.DOTALL)
_HEX: Final = re.compile(r"[0-9A-Fa-f]{2}")
_PLAIN: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
"""What needs no escape (RFC 3986, section 2.3): escaped, it is another spelling of the same path."""
_TOLD_APART: Final = {
    0x2F: "an escaped slash",
    0x5C: "an escaped backslash, which some servers read as a slash",
    0x25: "an escaped percent sign, which some servers undo twice",
    0x3B: "an escaped semicolon, behind which some servers see parameters",
    0x3F: "an escaped question mark",
    0x23: "an escaped number sign",
}
_MEANT: Final = {
    ";": "parameters behind a semicolon, which some servers cut off",
    "\\": "a backslash, which some servers read as a slash",
    "#": "a fragment, which belongs to no request",
    " ": "a space",
    "\0": "a zero byte, at which some servers stop to read",
}
_OVERRIDES: Final = frozenset({"_method", "x-http-method-override", "_httpmethod"})
"""Fields of a query by which frameworks let a request be another method than it is."""


class AmbiguousPathError(RefusedError):
    """A request target that two servers may read as two."""

    code = "ambiguous-path"

    def __init__(self, message: str) -> None:
        super().__init__(message, place="path", todo="ask for the path in its plain form")


class Target(msgspec.Struct, frozen=True):
    """A path that has one reading: decoded, and as its segments. ``/a/`` has the segments ``a`` and nothing."""

    path: str
    segments: tuple[str, ...]


def read_target(target: str) -> Target:
    """The path of a request target in origin form (RFC 9112, section 3.2.1), read in time linear in its length.

    Raises:
        AmbiguousPathError: it has more than one reading, or none.
    """
    if len(target) > MAX_TARGET:
        raise AmbiguousPathError(f"the path and its query are longer than {MAX_TARGET} characters")
    raw, mark, query = target.partition("?")
    if _PATH.fullmatch(raw) is None:
        raise AmbiguousPathError(f"the path has {_strange(raw)}")
    if mark:
        _require_plain_query(query)
    segments = raw[1:].split("/")
    if len(segments) > MAX_SEGMENTS:
        raise AmbiguousPathError(f"the path has more than {MAX_SEGMENTS} segments")
    if "" in segments[:-1]:
        raise AmbiguousPathError("the path has two slashes in a row, which some servers read as one")
    if "%" in raw:
        segments = [_decoded(segment) if "%" in segment else segment for segment in segments]
    for segment in segments:
        if segment and segment[0] in ". " and not segment.strip(". "):
            raise AmbiguousPathError("the path has a segment of dots alone, which leads elsewhere")
    return Target("/" + "/".join(segments), tuple(segments))


def loosened(segment: str) -> str:
    """``segment`` as a server reads it that looks neither at case nor at dots and spaces at the end."""
    return segment.rstrip(". ").casefold()


def _decoded(segment: str) -> str:
    for match in _ESCAPE.finditer(segment):
        digits = match[1] or ""
        if _HEX.fullmatch(digits) is None:
            raise AmbiguousPathError("the path has a percent sign that is no escape")
        byte = int(digits, 16)
        if byte < 0x20 or byte == 0x7F:  # noqa: PLR2004 - ASCII's control characters
            raise AmbiguousPathError("the path has an escaped control character")
        if byte in _PLAIN:
            raise AmbiguousPathError(f"the path has {chr(byte)!r} escaped, which needs no escape")
        if byte in _TOLD_APART:
            raise AmbiguousPathError(f"the path has {_TOLD_APART[byte]}")
    try:
        text = unquote_to_bytes(segment).decode()
    except UnicodeDecodeError as error:
        raise AmbiguousPathError("the path has escapes that are not UTF-8") from error
    if not text.isascii() and not (text.isprintable() and unicodedata.is_normalized("NFKC", text)):
        raise AmbiguousPathError("the path has characters that are invisible or have another, plainer form")
    return text


def _require_plain_query(query: str) -> None:
    if _QUERY.fullmatch(query) is None:
        raise AmbiguousPathError("the query has characters that belong in no request")
    lower = query.lower()
    if "method" in lower or "%" in lower:
        for field in lower.replace(";", "&").split("&"):
            name = unquote_to_bytes(field.partition("=")[0].replace("+", " ")).decode("latin-1").strip()
            if name in _OVERRIDES:
                raise AmbiguousPathError(f"the query's {name!r} makes some servers see another method")


def _strange(raw: str) -> str:
    if not raw.startswith("/"):
        return "another form than a path on this host"
    found = next((character for character in raw if _PATH.fullmatch("/" + character) is None), "")
    if found in _MEANT:
        return _MEANT[found]
    return "a control character" if found < " " else "a character that must be escaped"
