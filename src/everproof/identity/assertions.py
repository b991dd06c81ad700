"""Assertions to services: who makes this request, signed by us, for one service, for a minute (RFC 7519).

A service behind a gateway checks it with the keys at `/jwks.json` and needs to trust no network. One for each principal
and route is kept for some seconds, so that a busy caller does not cost a signature a request.
"""

from datetime import datetime, timedelta
from typing import Final

import msgspec

from everproof.identity.access_tokens import subject
from everproof.identity.jose import compact, header_segment
from everproof.kernel.clock import Clock
from everproof.kernel.words import Principal, Proof
from everproof.keys import SigningKeys

TYPE: Final = "everproof-assertion+jwt"
"""So that it is taken for no access token, nor for one that a cloud would take (RFC 8725, section 3.11)."""
LIFETIME: Final = timedelta(seconds=60)
KEPT: Final = timedelta(seconds=10)
"""How long one is given again: a sixth of its life, so that what a service is given is good for 50 s at least."""
MAX_KEPT: Final = 10_000


class _Kept(msgspec.Struct, frozen=True):
    text: str
    principal: Principal
    until: datetime


class Assertions:
    """Makes assertions."""

    def __init__(self, signing: SigningKeys, clock: Clock, *, issuer: str) -> None:
        self._signing = signing
        self._clock = clock
        self._issuer = issuer
        self._kept: dict[tuple[str | None, str, str, str], _Kept] = {}
        self._headers: dict[str, str] = {}

    def make(self, proof: Proof, *, audience: str, route: str) -> str:
        """That ``proof``'s principal was allowed what ``route`` is, for the service at ``audience`` to read.

        Only for a principal that was just allowed: what is kept is not held against revocations again.
        """
        now = self._clock.now()
        key = self._signing.current("ES256")
        name = proof.credential, audience, route, key.kid
        kept = self._kept.get(name)
        if kept is not None and kept.principal is proof.principal and now < kept.until:
            return kept.text
        ends = now + LIFETIME
        if proof.expires is not None and proof.expires < ends:
            ends = proof.expires
        ref = proof.principal.ref
        claims = {
            "iss": self._issuer,
            "sub": subject(ref),
            "aud": audience,
            "iat": int(now.timestamp()),
            "exp": int(ends.timestamp()),
            "auth_time": int(proof.at.timestamp()),
            "principal": {"type": ref.type, "id": ref.id},
            "groups": groups_of(proof.principal),
            "route": route,
            "credential": proof.credential,
        }
        text = compact(self._header(key.kid), claims, "ES256", key.private)
        if len(self._kept) >= MAX_KEPT:
            self._kept.clear()
        self._kept[name] = _Kept(text, proof.principal, min(now + KEPT, ends))
        return text

    def _header(self, kid: str) -> str:
        header = self._headers.get(kid)
        if header is None:
            header = self._headers[kid] = header_segment({"alg": "ES256", "typ": TYPE, "kid": kid})
        return header


def groups_of(principal: Principal) -> list[str]:
    """The ids of the groups that a principal is in."""
    return [parent.id for parent in principal.parents if parent.type == "Group"]
