"""Refused authentications, in the ledger: whoever tries keys, tokens or codes leaves a trace, and cannot fill the disk.

The first refusal of a kind from an address is recorded at once. More of the same within a minute are counted, and their
number is recorded when the minute is over. Kinds beyond the bound of a minute are counted together.
"""

import asyncio
from datetime import timedelta
from typing import Final, TypeAlias

import msgspec
import structlog

from everproof.kernel.canonical import encode
from everproof.kernel.clock import Clock
from everproof.kernel.errors import Error, UnauthenticatedError
from everproof.kernel.ids import new_id
from everproof.kernel.words import MAIN_SPACE, Entry
from everproof.ledger import Ledger

EVENT_KIND: Final = "event"
"""The kind of entries about what was not decided upon."""
EVENT: Final = "authentication-refused"
WINDOW: Final = timedelta(minutes=1)
MAX_KINDS: Final = 100
"""Told apart within a window: so many entries at once, and so many more at its end."""
MAX_REASON: Final = 300

_OTHERS: Final = ("", "", "")
_log: Final = structlog.get_logger("everproof.attempts")

Kind: TypeAlias = tuple[str, str, str]
"""A route, an error's code, and the address that it came from."""


class Attempts:
    """Records refused authentications."""

    def __init__(self, ledger: Ledger, clock: Clock, *, window: timedelta = WINDOW) -> None:
        self._ledger = ledger
        self._clock = clock
        self._window = window
        self._more: dict[Kind, int] = {}
        self._closing: asyncio.TimerHandle | None = None
        self._recording: set[asyncio.Task[None]] = set()

    def note(self, route: str, address: str, error: Error) -> None:
        """Note that a request was answered with ``error``. Only what was shown and did not hold is an attempt."""
        if (refusal := _refusal(error)) is None:
            return
        kind = (route, refusal.code, address)
        if kind not in self._more and len(self._more) >= MAX_KINDS:
            kind = _OTHERS
        if kind in self._more:
            self._more[kind] += 1
            return
        self._more[kind] = 0
        self._record(kind, refusal.message, 1)
        if self._closing is None:
            self._closing = asyncio.get_running_loop().call_later(self._window.total_seconds(), self.close)

    def close(self) -> None:
        """End the window: record how many more there were of each kind."""
        if self._closing is not None:
            self._closing.cancel()
        counted, self._more, self._closing = self._more, {}, None
        for kind, more in counted.items():
            if more:
                self._record(kind, "more of the same", more)

    async def stop(self) -> None:
        """End the window, and wait for what is being recorded."""
        self.close()
        await asyncio.gather(*self._recording)

    def _record(self, kind: Kind, reason: str, count: int) -> None:
        route, code, address = kind
        said = {"event": EVENT, "route": route, "code": code, "reason": reason[:MAX_REASON], "count": count}
        body = msgspec.Raw(encode({**said, "address": address} if address else said))
        entry = Entry(id=new_id("ent"), at=self._clock.now(), kind=EVENT_KIND, about=MAIN_SPACE, body=body)
        task = asyncio.get_running_loop().create_task(self._keep(entry))
        self._recording.add(task)
        task.add_done_callback(self._recording.discard)

    async def _keep(self, entry: Entry) -> None:
        try:
            await self._ledger.record(entry)
        except Error as error:
            _log.warning("a refused authentication was not recorded", detail=error.message)


def _refusal(error: Error) -> UnauthenticatedError | None:
    """The refused proof behind an answer: a door may have put it into its protocol's words."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UnauthenticatedError):
            return None if cause.is_question else cause
        cause = cause.__cause__
    return None
