"""The ledger as static files (C2SP tlog-tiles): for strangers, who need no leave to check that nothing was changed."""

import asyncio
from typing import Final

from everproof.kernel.errors import NotFoundError
from everproof.ledger import LedgerView
from everproof.server.http import Reply, Route

IMMUTABLE: Final = "public, max-age=31536000, immutable"
FRESH: Final = "public, max-age=5"
"""The checkpoint changes every ten seconds at most."""


class Tlog:
    """Checkpoint and tiles."""

    def __init__(self, ledger: LedgerView) -> None:
        self._ledger = ledger

    def routes(self) -> list[Route]:
        """What is served."""
        text, tile = "text/plain; charset=utf-8", "application/octet-stream"
        return [
            Route("GET", "/checkpoint", self.checkpoint, door="ledger", media=text, needs_proof=False, problems=(404,)),
            Route("GET", "/tile/{path:path}", self.tile, door="ledger", media=tile, needs_proof=False, problems=(404,)),
        ]

    async def checkpoint(self) -> Reply:
        """The last signed checkpoint, a C2SP signed note."""
        return await self._serve("checkpoint")

    async def tile(self, path: str) -> Reply:
        """One tile: `<L>/<N>[.p/<W>]` with hashes of level L, or `entries/<N>[.p/<W>]` with the leaves' commitments."""
        return await self._serve(f"tile/{path}")

    async def _serve(self, path: str) -> Reply:
        found = await asyncio.to_thread(self._ledger.tlog_resource, path)
        if found is None:
            raise NotFoundError("the log has no such file", todo="see https://c2sp.org/tlog-tiles for the names")
        caching = IMMUTABLE if found.immutable else FRESH
        return Reply(found.body, media=found.content_type, headers={"cache-control": caching})
