"""The bundles of the trust domains: as the policy bundle brings them, kept fresh from their endpoints.

An endpoint is asked over HTTPS that the Web's authorities vouch for (SPIFFE Federation, section 5.2.1, ``https_web``),
as often as the bundle asks for, within bounds. A bundle never goes back to an older sequence number; while the endpoint
cannot be asked, what is known of it lasts a day, and then nobody of the trust domain is believed.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

import structlog

from everproof.identity.certificate_trust import TrustDomainSource
from everproof.identity.jwks import Fetch
from everproof.identity.spiffe import SpiffeBundle, read_spiffe_bundle
from everproof.kernel.clock import Clock
from everproof.kernel.errors import Error, InputError

LASTS: Final = timedelta(hours=24)
"""How long a fetched bundle is used while its endpoint cannot be asked."""
RETRY: Final = timedelta(seconds=30)
"""Between two questions to an endpoint that did not answer well."""
LOOK: Final = timedelta(seconds=5)
"""Between two looks at what is due."""

_log: Final = structlog.get_logger("everproof.identity")


class _Fetched:
    """What is known from one endpoint."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.bundle: SpiffeBundle | None = None
        self.at: datetime | None = None
        self.due: datetime | None = None


class SpiffeBundles:
    """Who vouches for the workloads of which trust domain, now."""

    def __init__(self, fetch: Fetch, clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock
        self._domains: Mapping[str, TrustDomainSource] = {}
        self._fetched: dict[str, _Fetched] = {}
        self._task: asyncio.Task[None] | None = None
        self._changed: list[Callable[[], None]] = []

    def on_change(self, changed: Callable[[], None]) -> None:
        """Call ``changed`` after each change of what is trusted."""
        self._changed.append(changed)

    def trust(self, domains: Mapping[str, TrustDomainSource]) -> None:
        """Believe these trust domains and no others; what was fetched from an endpoint that stays is kept."""
        self._domains = domains
        self._fetched = {
            name: kept
            if (kept := self._fetched.get(name)) and kept.endpoint == one.endpoint
            else _Fetched(one.endpoint)
            for name, one in domains.items()
            if one.endpoint is not None
        }
        self._tell()

    def current(self, domain: str) -> SpiffeBundle | None:
        """The bundle of ``domain``; None where there is none that can be believed."""
        source = self._domains.get(domain)
        if source is None:
            return None
        fetched = self._fetched.get(domain)
        if fetched is None or fetched.bundle is None or fetched.at is None:
            return source.bundle
        return fetched.bundle if self._clock.now() - fetched.at <= LASTS else None

    async def start(self) -> None:
        """Keep the bundles fresh from now on."""
        self._task = asyncio.create_task(self._repeat())

    async def stop(self) -> None:
        """Ask nobody any more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def refresh(self) -> None:
        """Ask each endpoint that is due, one after the other."""
        for domain, fetched in list(self._fetched.items()):
            if fetched.due is None or self._clock.now() >= fetched.due:
                await self._ask(domain, fetched)

    async def _repeat(self) -> None:
        while True:
            await self.refresh()
            await asyncio.sleep(LOOK.total_seconds())

    async def _ask(self, domain: str, fetched: _Fetched) -> None:
        fetched.due = self._clock.now() + RETRY
        try:
            bundle = read_spiffe_bundle(await self._fetch.get(fetched.endpoint), domain, place=fetched.endpoint)
            if fetched.bundle is not None and bundle.sequence < fetched.bundle.sequence:
                raise InputError(
                    f"its sequence number went back from {fetched.bundle.sequence} to {bundle.sequence}",
                    place=fetched.endpoint,
                )
        except Error as error:
            _log.warning("bundle not refreshed", trust_domain=domain, detail=str(error))
            if fetched.at is not None and self._clock.now() - fetched.at > LASTS:
                self._tell()
            return
        known = fetched.bundle
        fetched.bundle, fetched.at = bundle, self._clock.now()
        fetched.due = fetched.at + bundle.refresh
        if known is None or known.authorities != bundle.authorities:
            self._tell()

    def _tell(self) -> None:
        for changed in self._changed:
            changed()
