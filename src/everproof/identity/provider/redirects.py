"""Where a browser is sent back to: which addresses a client may name, and how an answer is put into one."""

from typing import Final
from urllib.parse import quote, urlsplit

from everproof.kernel.errors import InputError

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
"""Hosts that may be reached without TLS: nobody else's machine stands between (RFC 8252, section 7.3)."""


def redirect_uri(uri: str, *, place: str) -> str:
    """An address that answers may be sent to, as it was given.

    Raises:
        InputError: not absolute, with a user or a fragment, or without TLS to another machine.
    """
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError as error:
        raise InputError(f"not an address: {error}", place=place) from error
    odd = parts.username is not None or parts.password is not None or "#" in uri or "\\" in uri or port == 0
    if odd or not parts.hostname or not uri.isascii() or not uri.isprintable() or " " in uri or "*" in uri:
        raise InputError("must be an absolute address without user, fragment or wildcard", place=place)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
        raise InputError("must begin with https://", place=place, todo="http is for loopback addresses alone")
    return uri


def origin(uri: str) -> str:
    """The origin of an address that a client has registered."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}"


def with_query(uri: str, **parameters: str) -> str:
    """``uri`` with ``parameters`` in its query, those that are empty left out."""
    added = "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters.items() if value)
    if not added:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}{added}"
