"""The ID token of a sign-on (OpenID Connect Core 1.0, section 3.1.3.7), believed only if all of it holds."""

import hashlib
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from everproof.identity.claims import require_times
from everproof.identity.jose import MAX_INTEGER, JoseError, read_jws, read_object, verify_signature
from everproof.identity.jwks import IssuerKeys
from everproof.identity.sign_on.attempts import Attempt
from everproof.identity.sign_on.files import Provider
from everproof.identity.sign_on.kinds import named_subject
from everproof.kernel.canonical import b64url
from everproof.kernel.clock import MAX_SKEW

MAX_BYTES: Final = 64 * 1024
"""Two hundred groups by their ids are 8 kB; a token of megabytes is nobody's."""
MAX_AGE: Final = timedelta(minutes=5)
"""It comes straight from the token endpoint, made a moment ago."""
TYPES: Final = frozenset({None, "JWT"})
"""A logout token is a ``logout+jwt``, an access token an ``at+jwt``: neither signs anybody on."""
TOLD: Final = frozenset({"name", "preferred_username", "email", "email_verified"})
"""What is heard from the userinfo endpoint, beside groups: it is not signed, so nothing that names or dates anybody."""
MAX_AMR: Final = 16
MAX_WORD: Final = 256

_HALF: Final = {"EdDSA": hashlib.sha512}


class Assertion(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider has said of somebody, verified. ``subject`` is theirs for ever; ``sub`` as the token has it.

    ``groups`` None: it did not say. ``authenticated`` None: it did not say when.
    """

    provider: Provider
    subject: str
    sub: str
    claims: Mapping[str, Any]
    issued: datetime
    authenticated: datetime | None = None
    acr: str = ""
    amr: tuple[str, ...] = ()
    sid: str = ""
    groups: tuple[str, ...] | None = None
    raw: str = ""
    """The token itself, which the provider wants to see again when the person signs out there."""

    @property
    def second_factor(self) -> datetime | None:
        """When a second factor was shown to the provider, if it says so in a way that the file takes for it."""
        mfa = self.provider.table.mfa
        if self.authenticated is None or (self.acr not in mfa.acr and set(mfa.amr).isdisjoint(self.amr)):
            return None
        return self.authenticated

    def __repr__(self) -> str:
        return f"Assertion({self.provider.name}, {self.subject!a})"


class IdTokens:
    """Verifies ID tokens with the providers' keys."""

    def __init__(self, keys: IssuerKeys) -> None:
        self._keys = keys

    async def verify(
        self, token: str, provider: Provider, attempt: Attempt, *, code: str, access_token: str, now: datetime
    ) -> Assertion:
        """What ``token`` says, in answer to ``attempt``.

        Raises:
            JoseError: it does not hold, or is not the answer to this.
            OutboundError: the provider's keys cannot be had.
        """
        claims, algorithm = await verified_claims(self._keys, token, provider, TYPES)
        issued, _ = require_times(claims, now, max_age=MAX_AGE)
        if "events" in claims:
            raise JoseError("a token for another purpose", place="claims.events")
        nonce = claims.get("nonce")
        if type(nonce) is not str or not secrets.compare_digest(nonce.encode(), attempt.nonce.encode()):
            raise JoseError("not made for this sign-on", place="claims.nonce")
        for name, value in (("at_hash", access_token), ("c_hash", code)):
            if name in claims and (not value or claims[name] != _half_hash(value, algorithm)):
                raise JoseError("goes with something else than it came with", place=f"claims.{name}")
        provider.kind.check_claims(provider.table, claims)
        table = provider.table
        return Assertion(
            provider=provider,
            subject=provider.kind.subject(claims),
            sub=named_subject(claims),
            claims=claims,
            issued=issued,
            authenticated=_authenticated(claims, attempt, now),
            acr=_word(claims, "acr"),
            amr=_words(claims, "amr"),
            sid=_word(claims, "sid"),
            groups=None if table.groups is None else provider.kind.groups(claims, table.groups.claim),
            raw=token,
        )


def completed(said: Assertion, told: Mapping[str, Any]) -> Assertion:
    """``said`` with what the userinfo endpoint tells beside it. What the ID token says, nothing changes.

    Raises:
        JoseError: it tells of somebody else (OpenID Connect Core 1.0, section 5.3.2).
    """
    if told.get("sub") != said.sub:
        raise JoseError("the userinfo endpoint tells of somebody else", place="userinfo.sub")
    groups = said.provider.table.groups
    wanted = TOLD if groups is None else TOLD | {groups.claim}
    claims = {**{name: told[name] for name in wanted & told.keys()}, **said.claims}
    found = None if groups is None else said.provider.kind.groups(claims, groups.claim)
    return msgspec.structs.replace(said, claims=claims, groups=found)


async def verified_claims(
    keys: IssuerKeys, token: str, provider: Provider, types: frozenset[str | None]
) -> tuple[dict[str, Any], str]:
    """The claims of a token that ``provider`` has signed for this client and for nobody else, and the algorithm.

    Raises:
        JoseError, OutboundError: as `IdTokens.verify`.
    """
    jws = read_jws(token, max_bytes=MAX_BYTES)
    if jws.header.get("typ") not in types:
        raise JoseError("a token for another purpose", place="header.typ")
    algorithm = jws.header["alg"]
    if algorithm not in provider.table.algorithms:
        raise JoseError("an algorithm that is not allowed for this provider", place="header.alg")
    claims = read_object(jws.payload, "claims")
    # Before the signature, so that another issuer's token asks nobody for keys.
    if claims.get("iss") != provider.issuer:
        raise JoseError("a token of another issuer", place="claims.iss")
    key = await keys.key(provider.issuer, jws.header.get("kid"), algorithm)
    verify_signature(key.algorithm, key.public, jws.signing_input, jws.signature)
    if claims.get("aud") not in (provider.client_id, [provider.client_id]):
        raise JoseError("a token for another client, or for others too", place="claims.aud")
    if "azp" in claims and claims["azp"] != provider.client_id:
        raise JoseError("a token that another client asked for", place="claims.azp")
    return claims, algorithm


def _half_hash(value: str, algorithm: str) -> str:
    digest = _HALF.get(algorithm, hashlib.sha256)(value.encode()).digest()
    return b64url(digest[: len(digest) // 2])


def _authenticated(claims: Mapping[str, Any], attempt: Attempt, now: datetime) -> datetime | None:
    value = claims.get("auth_time")
    if value is None:
        if attempt.max_age is not None:
            raise JoseError("does not say when the person was authenticated", place="claims.auth_time")
        return None
    if type(value) is not int or not 0 < value <= MAX_INTEGER:
        raise JoseError("must be a time in whole seconds", place="claims.auth_time")
    try:
        at = datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise JoseError("a time beyond the calendar", place="claims.auth_time") from error
    if at - now > MAX_SKEW:
        raise JoseError("authenticated in the future", place="claims.auth_time", todo="compare the clocks")
    if attempt.max_age is not None and at < attempt.at - timedelta(seconds=attempt.max_age) - MAX_SKEW:
        raise JoseError("the person was authenticated too long ago", place="claims.auth_time", todo="sign on again")
    return min(at, now)


def _word(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name, "")
    if type(value) is not str or len(value) > MAX_WORD or not value.isprintable():
        raise JoseError("must be a short word", place=f"claims.{name}")
    return value


def _words(claims: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = claims.get(name, [])
    if type(value) is not list or len(value) > MAX_AMR:
        raise JoseError("must be a short list", place=f"claims.{name}")
    return tuple(_word({name: one}, name) for one in value)
