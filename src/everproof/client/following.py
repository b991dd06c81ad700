"""Follows the server's changes in a thread of its own, and keeps what is remembered to what may still be believed.

How old the news are is told by our own clock alone: the server counts the time since its answer began, which is not
before we asked. News that lie in a buffer while this process is stopped, or that somebody on the way holds back, are
old when they are read.
"""

import contextlib
import os
import ssl
import threading
from typing import Any, Final

import msgspec

from everproof.client.answers import malformed
from everproof.client.cache import Cache, Change, steady
from everproof.client.flow import Answer, Driver
from everproof.client.session import Session
from everproof.kernel.errors import UnavailableError

CHANGES: Final = "/v1/changes"
SILENCE_SECONDS: Final = 3.0
"""Without a heartbeat for so long, the stream is dead."""
CONNECT_SECONDS: Final = 5.0
AGAIN_SECONDS: Final = (0.1, 0.5, 1.0, 2.0, 5.0)
"""Between two attempts to follow; the last of them again and again."""
MAX_LINE: Final = 256 * 1024
"""Bytes: a thousand credentials are some 40 kB."""


class _Told(msgspec.Struct, frozen=True):
    kind: str
    credentials: tuple[str, ...] = ()
    principals: tuple[tuple[str, str], ...] = ()


class _Heartbeat(msgspec.Struct, frozen=True):
    milliseconds: int


class Following:
    """The thread. It starts with the first question, and ends with the client."""

    def __init__(self, session: Session, cache: Cache, context: ssl.SSLContext) -> None:
        self._session = session
        self._cache = cache
        self._context = context
        self._position = ""
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._pid = 0

    def ensure(self) -> None:
        """Follow, if nobody does: in a child that was forked, the parent's thread is not there."""
        if self._pid == os.getpid() or self._stopped.is_set():
            return
        with self._starting:
            if self._pid != os.getpid():
                self._cache.distrust()
                self._thread = threading.Thread(target=self._run, name="everproof-changes", daemon=True)
                self._thread.start()
                self._pid = os.getpid()

    def stop(self) -> None:
        """End, and use nothing that was remembered any more."""
        self._stopped.set()
        self._cache.distrust()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(SILENCE_SECONDS)

    def _run(self) -> None:
        driver = Driver(self._context, CONNECT_SECONDS)
        failures = 0
        try:
            while not self._stopped.is_set():
                try:
                    self._follow(driver)
                    failures = 0
                except Exception:  # noqa: BLE001 - whatever it is, what is remembered grows too old, and is not used
                    pause = AGAIN_SECONDS[min(failures, len(AGAIN_SECONDS) - 1)]
                    failures += 1
                    self._stopped.wait(pause)
        finally:
            driver.close()
            self._cache.distrust()

    def _follow(self, driver: Driver) -> None:
        """Read one stream to its end.

        Raises:
            Error: it could not be had, or broke off.
        """
        path = f"{CHANGES}?after={self._position}" if self._position else CHANGES
        for _ in range(3):
            headers, sent = driver.run(self._session.headers("GET", CHANGES))
            asked = steady()
            with driver.stream(f"{self._session.server}{path}", headers, SILENCE_SECONDS) as response:
                answer = Answer(response.status_code, {k.lower(): v for k, v in response.headers.items()}, b"")
                again = self._session.heard(answer, sent)
                if answer.status == 200:  # noqa: PLR2004
                    if not answer.headers.get("content-type", "").startswith("text/event-stream"):
                        raise malformed("no stream of events")
                    self._read(response, asked)
                    return
            if not again:
                raise UnavailableError(f"the changes cannot be followed: the server answered {answer.status}")
        raise UnavailableError("the server wants a nonce, and takes none that it gave")

    def _read(self, response: Any, asked: float) -> None:
        event = id_ = data = b""
        rest = b""
        for chunk in response.iter_raw():
            if self._stopped.is_set():
                return
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > MAX_LINE:
                raise malformed("an event without an end")
            for line in lines:
                name, _, value = line.partition(b": ")
                if name == b"event":
                    event = value
                elif name == b"id":
                    id_ = value
                elif name == b"data":
                    data = value
                elif not line and data:
                    self._take(event, id_, data, asked)
                    event = id_ = data = b""

    def _take(self, event: bytes, id_: bytes, data: bytes, asked: float) -> None:
        if event == b"heartbeat":
            beat = msgspec.json.decode(data, type=_Heartbeat)
            # Of what happened before it no more is to come; it cannot be later than what our own clock says.
            self._cache.heard(min(asked + beat.milliseconds / 1000, steady()))
            return
        told: _Told | None = None
        with contextlib.suppress(msgspec.DecodeError):
            told = msgspec.json.decode(data, type=_Told)
        if told is not None and told.kind in {"credential", "principal"}:
            change = Change(principals=told.principals, credentials=told.credentials)
        else:
            change = Change(all=True)  # a change that this client does not know may concern anything
        self._cache.apply(change, tuple(self._session.own_credentials))
        self._position = id_.decode("ascii", "replace")
