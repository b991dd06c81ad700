"""How sure a sign-in is, in the words that clients know: `acr`, `amr` (RFC 8176) and `auth_time`.

``phr`` is OpenID's word for a factor that cannot be phished (Extended Authentication Profile ACR Values 1.0); ``mfa``
is any second factor; ``1`` is what every sign-in is.
"""

from datetime import datetime
from typing import Final

from everproof.identity.sessions import Session

PHISHING_RESISTANT: Final = "phr"
MULTI_FACTOR: Final = "mfa"
SINGLE: Final = "1"
LEVELS: Final = (SINGLE, MULTI_FACTOR, PHISHING_RESISTANT)
"""From the least to the most."""

_RESISTANT: Final = frozenset({"passkey", "security-key", "ssh-security-key"})
_AMR: Final = {
    "passkey": ("hwk", "user"),
    "security-key": ("hwk",),
    "ssh-security-key": ("hwk",),
    "ssh-key": ("swk",),
    "totp": ("otp",),
    "recovery-code": ("otp",),
}
_SECOND: Final = _RESISTANT | {"totp", "recovery-code", "provider"}


def level(session: Session) -> str:
    """The level of a session, by what was shown in it."""
    if not _RESISTANT.isdisjoint(session.factors):
        return PHISHING_RESISTANT
    return SINGLE if _SECOND.isdisjoint(session.factors) else MULTI_FACTOR


def reaches(session: Session, wanted: tuple[str, ...]) -> bool:
    """Whether the session is at one of the levels that a client wants, or above; one of another's is not met."""
    if not wanted:
        return True
    least = min((LEVELS.index(one) for one in wanted if one in LEVELS), default=len(LEVELS))
    return LEVELS.index(level(session)) >= least


def methods(session: Session) -> list[str]:
    """How the session's person was authenticated: what the sign-on provider said, and what was shown here."""
    found = dict.fromkeys(session.amr)
    for method in sorted(session.factors):
        found.update(dict.fromkeys(_AMR.get(method, ())))
    if level(session) != SINGLE:
        found["mfa"] = None
    return list(found)


def auth_time(session: Session) -> datetime:
    """When the session's person last showed who they are: by signing in, or with a factor later on."""
    return max((session.authenticated, *(at for method, at in session.factors.items() if method != "provider")))
