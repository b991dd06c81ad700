"""Coming back to a request after its person has signed in or consented, without keeping the request meanwhile.

What is sent along says when the request was first seen, and in which session it was consented to, under a MAC over the
request: ``prompt=login`` asks for a sign-in later than that, and a consent is for one request alone where it is asked
for anew.
"""

import hmac
from datetime import datetime, timedelta
from typing import Final

import msgspec

from everproof.kernel.canonical import b64url, encode
from everproof.kernel.clock import MAX_SKEW, Clock, from_milliseconds, milliseconds

PARAMETER: Final = "seen"
LIFETIME: Final = timedelta(minutes=30)
"""How long somebody may take to sign in; a request that is older is seen for the first time once more."""
MAX_DIGITS: Final = 15
"""Of milliseconds: the year 31687."""


class Seen(msgspec.Struct, frozen=True):
    """When a request was first seen, and whether its person has consented to it since."""

    at: datetime
    consented: bool = False


class Resuming:
    """Marks requests. ``key`` is one that all processes of a server share."""

    def __init__(self, clock: Clock, key: bytes) -> None:
        self._clock = clock
        self._key = key

    def mark(self, query: str, seen: Seen | None = None, *, consented: str = "") -> str:
        """``query`` with when it was first seen, which is now unless it was seen before.

        ``consented`` is the session in which its person has just consented to it.
        """
        at = str(milliseconds(seen.at if seen is not None else self._clock.now()))
        return f"{query}&{PARAMETER}={at}.{self._mac(query, at, consented)}"

    def seen(self, query: str, mark: str, *, session: str = "") -> Seen | None:
        """When the request was first seen; None where that was not long ago, or nobody knows."""
        at, _, mac = mark.partition(".")
        if not (at.isascii() and at.isdigit() and len(at) <= MAX_DIGITS):
            return None
        moment = from_milliseconds(int(at))
        if not moment - MAX_SKEW <= self._clock.now() < moment + LIFETIME:
            return None
        for consented in ("", session):
            if hmac.compare_digest(mac.encode(), self._mac(query, at, consented).encode()):
                return Seen(moment, consented != "")
        return None

    def _mac(self, query: str, at: str, consented: str) -> str:
        return b64url(hmac.digest(self._key, encode(["seen", query, at, consented]), "sha256"))
