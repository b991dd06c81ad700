"""Texts that people write for other people to decide by: nothing in them hides, moves or looks like something else."""

import unicodedata
from typing import Final

from everproof.kernel.errors import InputError
from everproof.kernel.words import Ref

MAX_TEXT: Final = 500
MAX_ID: Final = 256
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"})


def plain(text: str, *, place: str) -> str:
    """``text`` without the spaces around it, if it can be shown as it is.

    Raises:
        InputError: it is too long, or has characters that are invisible, break the line or reorder what is around them.
    """
    if len(text) > MAX_TEXT:
        raise InputError(f"longer than {MAX_TEXT} characters", place=place)
    if any(unicodedata.category(character) in _HIDDEN for character in text):
        raise InputError(
            "has characters that are invisible, break the line or reorder what is around them", place=place
        )
    return unicodedata.normalize("NFC", text).strip()


def plain_ref(ref: Ref, *, place: str) -> Ref:
    """``ref``, if nobody can take its name for another's.

    Raises:
        InputError: it is empty, too long, or has other characters than printable ASCII.
    """
    for text, most in ((ref.type, 64), (ref.id, MAX_ID)):
        if not text or len(text) > most or not (text.isascii() and text.isprintable()) or '"' in text or "\\" in text:
            raise InputError(
                f"not a name that is accepted: {text[:40]!a}",
                place=place,
                todo=f"use printable ASCII, at most {MAX_ID} characters: other letters may look like these",
            )
    return ref
