"""What is on record of a person's factors. What must stay secret stands sealed or hashed beside it, never in it."""

from datetime import datetime
from typing import Final, Literal, TypeAlias

import msgspec

from everproof.kernel.words import Ref

Kind: TypeAlias = Literal["passkey", "security-key", "totp", "recovery-codes"]
"""``passkey``: it verifies its user at each use. ``security-key``: it shows that somebody touched it."""

Method: TypeAlias = Literal["passkey", "security-key", "totp", "recovery-code"]
"""What a session says was shown."""

State: TypeAlias = Literal["pending", "live", "suspended"]
"""``pending``: its first code was not shown yet. ``suspended``: it may have been copied, and shows nothing any more."""

RecoveryState: TypeAlias = Literal["asked", "good", "used", "cancelled"]

STRONG: Final[frozenset[Kind]] = frozenset({"passkey", "security-key", "totp"})
"""What counts as a factor of one's own: who has recovery codes alone has lost their factor already."""

WEBAUTHN: Final[frozenset[Kind]] = frozenset({"passkey", "security-key"})

METHODS: Final[dict[Kind, Method]] = {
    "passkey": "passkey",
    "security-key": "security-key",
    "totp": "totp",
    "recovery-codes": "recovery-code",
}


class Passkey(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A WebAuthn credential: its id and COSE public key in base64url, and what its authenticator said of itself.

    ``lineage`` is the credential that stands for it in the lineage of all that it proves. ``root`` is the fingerprint
    of its maker's, where its make was attested.
    """

    credential: str
    lineage: str
    public_key: str
    aaguid: str = ""
    root: str = ""
    format: str = ""
    transports: tuple[str, ...] = ()
    backup_eligible: bool = False
    backed_up: bool = False

    @property
    def attested(self) -> bool:
        """Whether its maker vouches for what it is."""
        return bool(self.root)


class Factor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A factor of a person's. ``suspended_for`` is why it shows nothing any more."""

    id: str
    person: Ref
    kind: Kind
    state: State
    name: str
    created: datetime
    used: datetime | None = None
    suspended_for: str = ""
    passkey: Passkey | None = None


class Recovery(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A recovery: how a person without a factor comes to one again. ``good_from`` is when waiting alone makes it good.

    Waiting makes nothing good of which the person could not be ``told``. ``asked_by`` may be the person;
    ``vouched_by`` never has them in it.
    """

    id: str
    person: Ref
    state: RecoveryState
    asked_by: Ref
    asked: datetime
    good_from: datetime
    ends: datetime
    reason: str = ""
    vouched_by: tuple[Ref, ...] = ()
    job: str = ""
    told: bool = True

    def is_good(self, now: datetime) -> bool:
        """Whether it lets its person add a factor at ``now``."""
        waited = self.state == "asked" and self.told and now >= self.good_from
        return now < self.ends and (waited or self.state == "good")


class Attempts(msgspec.Struct, frozen=True):
    """Codes that did not hold, one after the other, and until when no other is looked at."""

    failures: int = 0
    until: datetime | None = None
