"""A platform's jobs and who listens to them: tokens of a real issuer, and one trust file."""

import json
from typing import Any

import pytest

from everproof.identity.bindings import TrustBindings
from everproof.identity.external import ExternalToken, ExternalTokens
from everproof.identity.jose import JoseError
from everproof.identity.jwks import Fetch, IssuerKeys
from everproof.kernel.errors import InputError
from everproof.kernel.words import Attributes
from everproof.keys import public_jwk
from tests.conftest import SettableClock
from tests.identity.trust import AUDIENCE, load, trust_file
from tests.issuer import Issuer


class Served:
    """What an issuer publishes, as if it stood at ``url``: for platforms whose issuers have one address only."""

    def __init__(self, issuer: Issuer, url: str) -> None:
        self._issuer = issuer
        self._url = url

    async def get(self, url: str) -> bytes:
        if url == f"{self._url}/.well-known/openid-configuration":
            return json.dumps({"issuer": self._url, "jwks_uri": f"{self._url}/jwks"}).encode()
        keys = [
            {**public_jwk(key.public_key()), "kid": kid, "alg": "RS256", "use": "sig"}
            for kid, key in self._issuer.keys.items()
        ]
        return json.dumps({"keys": keys}).encode()


class Platform:
    """One platform: an honest job's claims, an honest binding, and what comes of changes to them."""

    def __init__(
        self,
        kind: str,
        issuer: Issuer,
        clock: SettableClock,
        claims: dict[str, Any],
        binding: str,
        *,
        url: str = "",
        fetch: Fetch | None = None,
        audience: str = AUDIENCE,
    ) -> None:
        self.kind, self.url, self.audience = kind, url or issuer.url, audience
        self._issuer, self._clock = issuer, clock
        self._claims, self._binding = claims, binding
        self.unknown: list[str] = []
        self.tokens = ExternalTokens(IssuerKeys(fetch or Served(issuer, self.url), clock), clock)
        self.tokens.on_unknown_claim(lambda _, claim: self.unknown.append(claim))
        self.trust()

    def trust(self, *conditions: str, binding: str | None = None) -> None:
        """Trust the honest binding with further conditions from now on."""
        self.tokens.trust(self.loaded(*conditions, binding=binding))

    def loaded(self, *conditions: str, binding: str | None = None, audience: str | None = None) -> TrustBindings:
        """The trust file, read."""
        lines = "\n".join((self._binding if binding is None else binding, *conditions))
        return load(trust_file(self.url, lines, kind=self.kind, audience=audience or self.audience))

    def token(self, **changes: Any) -> str:
        """A job's token; a change to None leaves the claim out."""
        now = int(self._clock.now().timestamp())
        times = {"aud": self.audience, "iat": now - 1, "exp": now + 300}
        return self._issuer.mint({"iss": self.url, **times, **self._claims, **changes})

    async def taken(self, **changes: Any) -> ExternalToken:
        """Who a job is."""
        return await self.tokens.verify(self.token(**changes))

    async def attributes(self, **changes: Any) -> Attributes:
        """What policy may ask about a job."""
        return (await self.taken(**changes)).proof.principal.attributes

    async def refused(self, match: str, **changes: Any) -> None:
        """The job is refused for the reason ``match``, and the honest one is not."""
        await self.taken()
        with pytest.raises(JoseError, match=match):
            await self.taken(**changes)

    def not_written(
        self, match: str, *conditions: str, binding: str | None = None, audience: str | None = None
    ) -> None:
        """No trust file may say this."""
        self.loaded()
        with pytest.raises(InputError, match=match):
            self.loaded(*conditions, binding=binding, audience=audience)

    def without(self, condition: str) -> str:
        """The honest binding without the lines that begin like this."""
        return "\n".join(line for line in self._binding.splitlines() if not line.startswith(condition))
