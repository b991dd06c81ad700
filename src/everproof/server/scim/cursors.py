"""Cursors: where a client goes on, sealed, and good for the same question of the same client (RFC 9865)."""

from datetime import datetime, timedelta
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from everproof.kernel.canonical import b64url, encode, from_b64url
from everproof.kernel.clock import Clock
from everproof.kernel.errors import InputError
from everproof.keys import SigningKeys
from everproof.keys.envelope import open_with, seal_with
from everproof.server.scim.bounds import CURSOR_SECONDS
from everproof.server.scim.errors import ScimError

PURPOSE: Final = "everproof/scim/cursors/v1"


class _Place(msgspec.Struct, frozen=True):
    after: str
    until: datetime
    count: int


class Cursors:
    """Makes and reads cursors; all servers of one database have the same key."""

    def __init__(self, signing: SigningKeys, clock: Clock) -> None:
        self._cipher = AESGCM(signing.derived(PURPOSE))
        self._clock = clock

    def made(self, after: str, count: int, question: str) -> str:
        """The cursor to go on after the resource ``after`` with, in pages of ``count``."""
        place = _Place(after, self._clock.now() + timedelta(seconds=CURSOR_SECONDS), count)
        return b64url(seal_with(self._cipher, encode(place), question.encode()))

    def read(self, cursor: str, count: int, question: str) -> str:
        """The resource after which to go on; empty at the first page.

        Raises:
            ScimError: it is no cursor of this question, is over, or its pages had another size.
        """
        if not cursor:
            return ""
        try:
            opened = open_with(self._cipher, from_b64url(cursor), question.encode())
            place = msgspec.json.decode(opened, type=_Place)
        except (InputError, InvalidTag, msgspec.DecodeError) as error:
            raise ScimError("no cursor of this question", scim_type="invalidCursor", place="cursor") from error
        if place.until <= self._clock.now():
            raise ScimError("the cursor is over", scim_type="expiredCursor", place="cursor", todo="begin anew")
        if place.count != count:
            raise ScimError(f"the pages were of {place.count}", scim_type="invalidCount", place="count")
        return place.after
