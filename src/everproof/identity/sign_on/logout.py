"""Signing out: at the provider, which tells us (OpenID Connect Back-Channel Logout 1.0), and here, going on there.

A logout token only ever ends sessions, and what it ends is recorded; no policy stands before it.
"""

import hashlib
from datetime import datetime
from typing import Any, Final

import msgspec

from everproof.identity.claims import require_times
from everproof.identity.jose import JoseError
from everproof.identity.jwks import IssuerKeys
from everproof.identity.sign_on.attempts import LIFETIME
from everproof.identity.sign_on.files import Provider
from everproof.identity.sign_on.id_token import MAX_AGE, verified_claims
from everproof.identity.sign_on.kinds import MAX_SUBJECT
from everproof.kernel.canonical import encode
from everproof.kernel.clock import MAX_SKEW

EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
TYPES: Final = frozenset({None, "JWT", "logout+jwt"})
MAX_JTI: Final = 512
REMEMBERED: Final = LIFETIME + MAX_AGE + MAX_SKEW * 2
"""As long as a sign-on that was on its way can still arrive."""


class LogoutToken(msgspec.Struct, frozen=True, kw_only=True):
    """A verified logout token: who has signed out, which session, or both. To be spent under ``id``."""

    provider: Provider
    id: bytes
    expires: datetime
    sub: str = ""
    sid: str = ""


async def verify_logout(keys: IssuerKeys, token: str, provider: Provider, *, now: datetime) -> LogoutToken:
    """What a logout token says (section 2.6).

    Raises:
        JoseError: it does not hold, or is another kind of token.
        OutboundError: the provider's keys cannot be had.
    """
    claims, _ = await verified_claims(keys, token, provider, TYPES)
    _, expires = require_times(claims, now, max_age=MAX_AGE)
    events = claims.get("events")
    if type(events) is not dict or type(events.get(EVENT)) is not dict:
        raise JoseError("a token for another purpose", place="claims.events")
    if "nonce" in claims:  # it would be an ID token
        raise JoseError("must not be there", place="claims.nonce")
    jti = _text(claims, "jti", MAX_JTI)
    sub, sid = _text(claims, "sub", MAX_SUBJECT), _text(claims, "sid", MAX_JTI)
    if not jti or not (sub or sid):
        raise JoseError("must name itself, and whoever has signed out", place="claims.jti" if not jti else "claims.sub")
    id_ = hashlib.sha256(encode(["logout", provider.issuer, jti])).digest()
    return LogoutToken(provider=provider, id=id_, expires=expires, sub=sub, sid=sid)


def names_of(issuer: str, *, sub: str, sid: str) -> tuple[bytes, ...]:
    """What a subject and a session of an issuer are remembered under."""
    return tuple(
        hashlib.sha256(encode(["signed out", issuer, claim, value])).digest()
        for claim, value in (("sub", sub), ("sid", sid))
        if value
    )


def _text(claims: dict[str, Any], name: str, most: int) -> str:
    value = claims.get(name, "")
    if type(value) is not str or len(value) > most or not value.isprintable():
        raise JoseError("must be a short text", place=f"claims.{name}")
    return value
