"""Keeps an eye on the credential of a step that runs: goes on with it in time, and says when it is over.

It asks with the step's own credential, on a connection of its own; the server answers when there is something to tell.
"""

import os
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from everproof.cli.step.prove import Job
from everproof.cli.step.wire import Key
from everproof.kernel.errors import Error, NotFoundError, RefusedError, UnauthenticatedError

WAIT_SECONDS: Final = 15
"""How long the server may take to answer that nothing has happened."""
FIRST_LOOK_SECONDS: Final = 0.2
"""A command that ends sooner is not worth a connection."""
AGAIN_SECONDS: Final = 0.5
RENEW_FROM: Final = 2 / 3
"""Of a credential's life: the last third is for trying again."""


class Watch:
    """One watch, from when the command was started. ``over`` names why the step must stop, once it must."""

    def __init__(self, job: Job, key: Key, begun: dict[str, Any], *, grace: float, lifetime: int) -> None:
        self.over = ""
        self._job, self._key = job, key
        self._wire = job.wire.again()
        self._run = begun["id"]
        self._grace, self._lifetime = grace, lifetime
        self._seen = time.monotonic()
        self._token = ""
        self._expires = self._renewal = 0.0
        self._take(begun)
        self._done = threading.Event()
        self._asking = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def expires(self) -> float:
        """When the credential ends, by the monotonic clock."""
        return self._expires

    def start(self, keep: Callable[[dict[str, Any]], None], wake: int) -> None:
        """Begin. ``keep`` is given each new credential; a byte is written to ``wake`` when it is over."""
        self._thread = threading.Thread(target=self._watch, args=(keep, wake), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask for nothing more. A renewal that is under way is waited for: its credential must end too."""
        self._done.set()
        self._asking.acquire()

    def _watch(self, keep: Callable[[dict[str, Any]], None], wake: int) -> None:
        self._done.wait(FIRST_LOOK_SECONDS)
        while not self._done.is_set() and not self.over:
            try:
                self._look()
                if time.monotonic() >= self._renewal:
                    self._renew(keep)
            except (UnauthenticatedError, NotFoundError):
                self.over = "expired" if time.monotonic() >= self._expires else "revoked"
            except Error:
                if time.monotonic() - self._seen > self._grace:
                    self.over = "unreachable"
                self._done.wait(AGAIN_SECONDS)
        if self.over and not self._done.is_set():
            os.write(wake, b"!")

    def _look(self) -> None:
        wait = max(0, min(WAIT_SECONDS, int(self._renewal - time.monotonic())))
        path = f"/v1/runs/{self._run}/watch?seconds={wait}"
        seconds = min(wait + 5.0, max(1.0, self._grace))
        if not self._wire.request("GET", path, self._key, token=self._token, seconds=seconds)["live"]:
            self.over = "revoked"
        self._seen = time.monotonic()

    def _renew(self, keep: Callable[[dict[str, Any]], None]) -> None:
        body = {"lifetime_seconds": self._lifetime} if self._lifetime else {}
        with self._asking:
            if self._done.is_set() or self.over:
                return
            try:
                begun = self._job.request("POST", f"/v1/runs/{self._run}/renew", body=body)
            except (RefusedError, UnauthenticatedError):
                # Policy gives it no more, or nothing proves the job any more: it has what is left.
                self._renewal = self._expires
                return
            keep(begun)
            self._take(begun)

    def _take(self, begun: dict[str, Any]) -> None:
        now = time.monotonic()
        self._token = begun["access_token"]
        self._expires = now + begun["expires_in"]
        self._renewal = now + begun["expires_in"] * RENEW_FROM
