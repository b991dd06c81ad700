"""What clients are told: the id_token, the answer of userinfo, and that a session is over.

Signed with the algorithm that the client's line in the file names; what a token's own header says decides nothing.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from everproof.identity.access_tokens import AccessTokens, Grant, subject
from everproof.identity.jose import JoseError, compact, header_segment, read_jws, read_object, verify_signature
from everproof.identity.provider.clients import Client
from everproof.kernel.canonical import b64url
from everproof.kernel.clock import Clock
from everproof.kernel.ids import new_id
from everproof.kernel.words import Principal
from everproof.keys import SigningKeys, TokenAlgorithm

USERINFO: Final = "/oauth/userinfo"

LOGOUT_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
LOGOUT_LIFETIME: Final = timedelta(minutes=2)
"""As OpenID Connect Back-Channel Logout 1.0 recommends at most."""

_HALF_SHA256: Final = 16


class Told(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is told of a sign-in beside who it is of. ``sid`` is the client's name for the session."""

    nonce: str = ""
    auth_time: int
    acr: str
    amr: tuple[str, ...]
    sid: str


class ProviderTokens:
    """Signs what clients are told. ``issuer`` is this server's own address."""

    def __init__(self, signing: SigningKeys, tokens: AccessTokens, clock: Clock, *, issuer: str) -> None:
        self._signing = signing
        self._tokens = tokens
        self._clock = clock
        self._issuer = issuer
        self.userinfo = issuer + USERINFO

    def id_token(
        self, client: Client, principal: Principal, told: Told, scope: tuple[str, ...], access_token: str
    ) -> str:
        """An id_token (OpenID Connect Core 1.0, section 2)."""
        now = int(self._clock.now().timestamp())
        claims: dict[str, Any] = {
            "iss": self._issuer,
            "sub": subject(principal.ref),
            "aud": client.id,
            "exp": now + client.line.id_token_seconds,
            "iat": now,
            "auth_time": told.auth_time,
            "acr": told.acr,
            "amr": list(told.amr),
            "azp": client.id,
            "sid": told.sid,
            "at_hash": b64url(hashlib.sha256(access_token.encode()).digest()[:_HALF_SHA256]),
            **claims_of(client, principal, scope),
        }
        if told.nonce:
            claims["nonce"] = told.nonce
        return self._sign("JWT", claims, client.line.algorithm)

    def access_token(self, grant: Grant) -> str:
        """A token for userinfo and nothing else: its audience is that one address."""
        return self._tokens.mint(grant)

    def logout_token(self, client: Client, *, sub: str, sid: str) -> str:
        """A logout token (OpenID Connect Back-Channel Logout 1.0, section 2.4)."""
        now = self._clock.now()
        claims = {
            "iss": self._issuer,
            "sub": sub,
            "aud": client.id,
            "iat": int(now.timestamp()),
            "exp": int((now + LOGOUT_LIFETIME).timestamp()),
            "jti": new_id("evt"),
            "events": {LOGOUT_EVENT: {}},
            "sid": sid,
        }
        return self._sign("logout+jwt", claims, client.line.algorithm)

    def read_hint(self, hint: str) -> Mapping[str, Any]:
        """The claims of an id_token of ours, which may have expired: a hint of who somebody is, and no proof.

        Raises:
            JoseError: not an id_token of this server.
        """
        jws = read_jws(hint)
        key = self._signing.verification_key(jws.header.get("kid", ""))
        algorithm = jws.header["alg"]
        if jws.header.get("typ") != "JWT" or key is None or (algorithm != "ES256" and algorithm != "RS256"):  # noqa: PLR1714 - narrows the type
            raise JoseError("not an id_token of this server", place="id_token_hint")
        verify_signature(algorithm, key, jws.signing_input, jws.signature)
        claims = read_object(jws.payload, "id_token_hint")
        if claims.get("iss") != self._issuer or not isinstance(claims.get("aud"), str) or "sid" not in claims:
            raise JoseError("not an id_token of this server", place="id_token_hint")
        return claims

    def _sign(self, type_: str, claims: dict[str, Any], algorithm: TokenAlgorithm) -> str:
        key = self._signing.current(algorithm)
        header = header_segment({"alg": algorithm, "typ": type_, "kid": key.kid})
        return compact(header, claims, algorithm, key.private)


def claims_of(client: Client, principal: Principal, scope: tuple[str, ...]) -> dict[str, Any]:
    """What ``scope`` lets a client know of a person (OpenID Connect Core 1.0, section 5.4), and no more.

    Addresses are the organisation's word: nobody chooses their own, so they count as verified.
    """
    said = principal.attributes
    found: dict[str, Any] = {}
    if "profile" in scope:
        found["preferred_username"] = principal.ref.id
        if "name" in said:
            found["name"] = said["name"]
    if "email" in scope and "email" in said:
        found |= {"email": said["email"], "email_verified": True}
    if "groups" in scope:
        groups = sorted(parent.id for parent in principal.parents if parent.type == "Group")
        only = client.line.tells_groups
        found["groups"] = [one for one in groups if not only or one in only]
    return found


def seconds(moment: datetime) -> int:
    """Whole seconds since the epoch, as tokens say a time."""
    return int(moment.timestamp())
