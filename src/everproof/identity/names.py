"""Names that nobody can mistake for another: of principals, groups, addresses and people."""

import re
import unicodedata
from typing import Final

from everproof.kernel.errors import InputError

MAX_NAME: Final = 128
MAX_EMAIL: Final = 254
"""RFC 5321 gives a path 256 with its brackets."""

_ID: Final = re.compile(r"[a-z0-9](?:[a-z0-9._@+-]{0,126}[a-z0-9])?")
"""ASCII in lower case alone: no two of these look alike on a screen."""
_GROUP: Final = re.compile(r"[a-z0-9](?:[a-z0-9._/+-]{0,126}[a-z0-9])?")
_EMAIL: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")


def principal_id(text: str, *, place: str = "id") -> str:
    """``text``, if it can be the id of a principal.

    Raises:
        InputError: it has other characters than lower-case ASCII letters, digits and ``._@+-``, or too many.
    """
    return _matching(_ID, text, place, "lower-case letters a-z, digits and . _ @ + -, at most 128")


def group_id(text: str, *, place: str = "group") -> str:
    """``text``, if it can be the id of a group.

    Raises:
        InputError: as `principal_id`; with ``/`` for what groups by path, without ``@``.
    """
    return _matching(_GROUP, text, place, "lower-case letters a-z, digits and . _ / + -, at most 128")


def email_address(text: str, *, place: str = "email") -> str:
    """``text``, if it can be an address that someone commits as.

    Raises:
        InputError: it is no plain ASCII address.
    """
    if len(text) > MAX_EMAIL or _EMAIL.fullmatch(text) is None:
        raise InputError("not an e-mail address in plain ASCII", place=place)
    return text


def shown_name(text: str, *, place: str = "name") -> str:
    """``text``, if it can be shown as a person's name: any script, but nothing invisible and nothing that reorders.

    Raises:
        InputError: it has control, format or unassigned characters, or more than one spelling.
    """
    if len(text) > MAX_NAME:
        raise InputError(f"longer than {MAX_NAME} characters", place=place)
    if any(unicodedata.category(character) in {"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"} for character in text):
        raise InputError("has characters that are invisible or reorder what is around them", place=place)
    if unicodedata.normalize("NFC", text) != text or text.strip() != text:
        raise InputError("has spaces around it, or is not in composed form (NFC)", place=place)
    return text


def _matching(form: re.Pattern[str], text: str, place: str, allowed: str) -> str:
    if form.fullmatch(text) is None:
        raise InputError(f"not a name that is accepted: {text[:40]!a}", place=place, todo=f"use {allowed}")
    return text
