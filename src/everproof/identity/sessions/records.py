"""What a session is: somebody who has signed in, at a browser or a terminal, and what they have shown since."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

import msgspec

from everproof.kernel.words import Ref

SESSION: Final = "session"
"""The kind of the credential that a session is, and of the proof that its cookie makes."""

Kind: TypeAlias = Literal["browser", "cli"]

SECOND_FACTORS: Final = frozenset({"passkey", "security-key", "totp", "recovery-code", "ssh-security-key", "provider"})
"""The methods that count as a factor beyond the first. ``provider``: the sign-on provider vouches for one by `amr`."""


class Beginning(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How somebody has signed in. ``provider`` is ``ssh-key``, ``passkey``, or the name of a sign-on provider.

    ``authenticated`` is when they have shown who they are, which at a provider may be long ago (``auth_time``), and
    ``factors`` when each method was shown. ``key`` is the thumbprint of the key that the session is bound to.
    """

    principal: Ref
    kind: Kind
    provider: str
    authenticated: datetime
    acr: str = ""
    amr: tuple[str, ...] = ()
    factors: Mapping[str, datetime] = {}
    parent: str | None = None
    key: str | None = None
    provider_subject: str = ""
    provider_session: str = ""
    address: str = ""
    agent: str = ""


class Session(Beginning, frozen=True, kw_only=True, omit_defaults=True):
    """A session, which is a credential: ``id`` is its place in the lineage.

    It ends at ``expires`` whatever happens, and at ``idle_until`` unless it is used before. ``seen`` is when it was
    used, to within `SEEN_EVERY`. ``strength`` says of a method how it was shown, such as ``user_verified``.
    """

    id: str
    created: datetime
    seen: datetime
    expires: datetime
    idle_until: datetime
    strength: Mapping[str, Mapping[str, Any]] = {}

    def is_over(self, now: datetime) -> bool:
        """Whether it has ended by itself."""
        return now >= self.idle_until or now >= self.expires

    @property
    def second_factor(self) -> str | None:
        """The method of the second factor that was shown last."""
        shown = [(at, method) for method, at in self.factors.items() if method in SECOND_FACTORS]
        return max(shown)[1] if shown else None


class Cookie(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept of a browser's cookie: the hash of its secret, and until when it is good where a key renews it.

    The one before stays good until ``previous_until``, for requests that were on their way when it was renewed.
    """

    hash: bytes
    until: datetime | None = None
    previous: bytes = b""
    previous_until: datetime | None = None


class Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """A session as it is stored and told to other processes."""

    session: Session
    cookie: Cookie | None = None

    def __repr__(self) -> str:
        return f"Kept({self.session.id})"


SEEN_EVERY: Final = timedelta(seconds=30)
"""How often the use of a session is written down: a write for each request would cost more than the request."""
