"""How long a session lasts. A bundle's ``everproof.toml`` may say otherwise, within bounds.

It does so by a table ``[sessions]``, with the fields of `Limits`.
"""

from datetime import timedelta
from typing import Annotated, Final

import msgspec

from everproof.identity.sessions.records import Kind

ABSOLUTE_SECONDS: Final = 12 * 3600
"""A working day: NIST SP 800-63B asks for a new sign-in after it, at its second and its third level."""

IDLE_SECONDS: Final = 3600
"""As long as a token lives, so that no session of a terminal ends before its token does; for a browser it takes a key
that shows itself every few minutes, so that a copied cookie is soon worth nothing."""

IDLE_WITHOUT_KEY_SECONDS: Final = 15 * 60
"""A cookie alone is whoever has it. NIST SP 800-63B gives its third level as long."""

COOKIE_LIFETIME: Final = timedelta(minutes=10)
"""How long a cookie is good that a key renews: what a copy of it is worth."""

COOKIE_GRACE: Final = timedelta(seconds=30)
"""How long the one before stays good, for what was on its way when it was renewed."""

BIND_WITHIN: Final = timedelta(minutes=2)
"""How long after it began a browser's session may be bound to a key: the page that a sign-in leads to does it at once,
and later the key may be that of whoever copied the cookie."""


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The limits that a bundle sets, in seconds."""

    absolute_seconds: Annotated[int, msgspec.Meta(ge=300, le=7 * 24 * 3600)] = ABSOLUTE_SECONDS
    idle_seconds: Annotated[int, msgspec.Meta(ge=300, le=24 * 3600)] = IDLE_SECONDS
    idle_without_key_seconds: Annotated[int, msgspec.Meta(ge=60, le=3600)] = IDLE_WITHOUT_KEY_SECONDS

    @property
    def absolute(self) -> timedelta:
        """How long a session lasts whatever happens."""
        return timedelta(seconds=self.absolute_seconds)

    def idle(self, kind: Kind, key: str | None) -> timedelta:
        """How long a session lasts that nobody uses."""
        if kind == "browser" and key is None:
            return timedelta(seconds=min(self.idle_without_key_seconds, self.idle_seconds))
        return timedelta(seconds=self.idle_seconds)
