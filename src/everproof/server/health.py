"""Liveness and readiness: the first says that the process answers, the second whether it should be asked."""

from collections.abc import Callable, Mapping

import msgspec

from everproof.server.http import Reply, Route

Check = Callable[[], str | None]
"""Why a part cannot do its work now, for an operator; None while it can."""


class Live(msgspec.Struct, frozen=True):
    """The process answers."""

    live: bool = True


class Readiness(msgspec.Struct, frozen=True):
    """Whether requests can be decided and recorded; ``reasons`` says by part why not.

    ``warnings`` are what somebody should look at, though every request is still served.
    """

    ready: bool
    reasons: dict[str, str]
    warnings: dict[str, str] = {}


class Health:
    """The two health endpoints."""

    def __init__(self, checks: Mapping[str, Check], *, warnings: Mapping[str, Check] | None = None) -> None:
        self._checks = checks
        self._warnings = warnings or {}

    def routes(self) -> list[Route]:
        """What is served."""
        return [
            Route("GET", "/healthz", self.live, door="health", needs_proof=False),
            Route("GET", "/readyz", self.ready, door="health", answer=Readiness, needs_proof=False),
        ]

    async def live(self) -> Live:
        """Say that the process answers."""
        return Live()

    async def ready(self) -> Reply:
        """Say whether requests can be decided and recorded, and if not, why: 503 with the reasons."""
        reasons, warnings = (
            {name: reason for name, check in checks.items() if (reason := check())}
            for checks in (self._checks, self._warnings)
        )
        answer = Readiness(ready=not reasons, reasons=reasons, warnings=warnings)
        return Reply.of(answer, status=503 if reasons else 200)
