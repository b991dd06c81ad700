"""The keys of issuers: found by discovery, kept for a while, used longer while the issuer is down.

Only the discovery document of an issuer that a trust binding names is ever asked for keys; what a token says about
where its keys are (``jku``, ``x5u``) is not read at all.
"""

import asyncio
from datetime import datetime, timedelta
from typing import Final, Protocol

from everproof.identity.jose import JoseError, read_object
from everproof.identity.jwk import KeySet, VerificationKey, read_key_set
from everproof.identity.outbound import OutboundError, https_url
from everproof.kernel.clock import Clock
from everproof.kernel.errors import InputError

DISCOVERY: Final = "/.well-known/openid-configuration"

FRESH: Final = timedelta(minutes=10)
"""How long keys are used without asking again: what an issuer withdraws is dead here after this."""
STALE: Final = timedelta(hours=24)
"""How long the last known keys are used while the issuer cannot be asked; then it is trusted no more."""
COOLDOWN: Final = timedelta(seconds=30)
"""Between two questions to one issuer: an invented ``kid`` costs the issuer nothing."""


class Fetch(Protocol):
    """Gets a body over HTTPS."""

    async def get(self, url: str) -> bytes:
        """The body at ``url``."""
        ...


class _Known:
    """What is known of one issuer."""

    def __init__(self) -> None:
        self.keys: KeySet | None = None
        self.fetched: datetime | None = None
        self.asked: datetime | None = None
        self.failure: OutboundError | None = None
        self.task: asyncio.Task[None] | None = None


class IssuerKeys:
    """The keys of every trusted issuer, in memory."""

    def __init__(self, fetch: Fetch, clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock
        self._issuers: dict[str, _Known] = {}

    def cached(self, issuer: str, kid: str | None, algorithm: str) -> VerificationKey | None:
        """The key, if it is known and fresh: without waiting."""
        known = self._issuers.get(issuer)
        if known is None or known.keys is None or known.fetched is None or self._clock.now() - known.fetched > FRESH:
            return None
        return known.keys.find(kid, algorithm)

    async def key(self, issuer: str, kid: str | None, algorithm: str) -> VerificationKey:
        """The key that ``issuer`` calls ``kid``, asking the issuer where that may help.

        Raises:
            JoseError: the issuer has no such key.
            OutboundError: it cannot be asked, and what is known of it is too old.
        """
        if (key := self.cached(issuer, kid, algorithm)) is not None:
            return key
        known = self._issuers.setdefault(issuer, _Known())
        if known.asked is None or self._clock.now() - known.asked >= COOLDOWN or known.task is not None:
            await self._refresh(issuer, known)
        if known.keys is None or known.fetched is None or self._clock.now() - known.fetched > STALE:
            raise known.failure or OutboundError("its keys are not known", place=issuer)
        if (key := known.keys.find(kid, algorithm)) is not None:
            return key
        raise JoseError(f"{issuer} has no {algorithm} key by the name that the token gives", place="header.kid")

    def forget(self, kept: frozenset[str]) -> None:
        """Forget every issuer but ``kept``: those that are trusted now."""
        for issuer in self._issuers.keys() - kept:
            del self._issuers[issuer]

    async def _refresh(self, issuer: str, known: _Known) -> None:
        """Ask once, for all who wait; one of them going away does not take the answer from the others."""
        if known.task is None:
            known.asked = self._clock.now()
            known.task = asyncio.create_task(self._ask(issuer, known))
        await asyncio.shield(known.task)

    async def _ask(self, issuer: str, known: _Known) -> None:
        try:
            known.keys = await self._discover(issuer)
            known.fetched = self._clock.now()
            known.failure = None
        except OutboundError as error:
            known.failure = error
        except (JoseError, InputError) as error:
            known.failure = OutboundError(f"its keys cannot be read: {error}", place=issuer)
        finally:
            known.task = None

    async def _discover(self, issuer: str) -> KeySet:
        url = issuer.rstrip("/") + DISCOVERY
        document = read_object(await self._fetch.get(url), url)
        if document.get("issuer") != issuer:
            raise OutboundError("its discovery document is of another issuer", place=url)
        keys = document.get("jwks_uri")
        if not isinstance(keys, str):
            raise OutboundError("its discovery document names no keys", place=url)
        https_url(keys, place=f"{url}: jwks_uri")
        return read_key_set(await self._fetch.get(keys))
