"""A closed-loop load: callers on keep-alive connections, each sending bytes made beforehand and reading the answer.

It runs in the benchmark's own process, pinned to one core; the server is a process of its own, pinned to the other.
"""

import asyncio
import os
import ssl
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Self, cast

CLOCK_TICKS: Final = os.sysconf("SC_CLK_TCK")
TIMEOUT_SECONDS: Final = 60.0
"""Of one run: a benchmark finishes or fails."""


class Run(NamedTuple):
    """What a run took. ``cpu`` is the server's, user and system, in seconds."""

    answers: int
    seconds: float
    cpu: float

    @property
    def cpu_microseconds(self) -> float:
        return self.cpu / self.answers * 1e6

    @property
    def rate(self) -> float:
        return self.answers / self.seconds


class Caller(asyncio.Protocol):
    """One connection: sends, waits for the whole answer, sends the next."""

    def __init__(self) -> None:
        self._buffer = b""
        self._requests: Iterator[bytes] = iter(())
        self._mark = b""
        self._done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._answers = 0
        self._transport: asyncio.WriteTransport | None = None

    def send(self, requests: Iterator[bytes], mark: bytes) -> "asyncio.Future[int]":
        """Send what is left of ``requests``, shared with other callers; the number of answers, all with ``mark``."""
        self._requests, self._mark, self._answers = requests, mark, 0
        self._done = asyncio.get_running_loop().create_future()
        self._next()
        return self._done

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's own is no subclass of it

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        at = self._buffer.find(b"content-length: ") + 16
        length = int(self._buffer[at : self._buffer.find(b"\r", at)])
        if len(self._buffer) < end + 4 + length:
            return
        answer, self._buffer = self._buffer, b""
        if not answer.startswith(b"HTTP/1.1 200") or self._mark not in answer:
            self._fail(AssertionError(answer.decode()))
            return
        self._answers += 1
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc or ConnectionResetError("the server closed the connection"))

    def _next(self) -> None:
        assert self._transport is not None
        request = next(self._requests, None)
        if request is not None:
            self._transport.write(request)
        elif not self._done.done():
            self._done.set_result(self._answers)

    def _fail(self, error: Exception) -> None:
        if not self._done.done():
            self._done.set_exception(error)


class Load:
    """Callers that are connected."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.callers: list[Caller] = []

    @classmethod
    async def connect(cls, port: int, pid: int, callers: int, context: ssl.SSLContext) -> Self:
        """``callers`` connections to the server ``pid``."""
        load = cls(pid)
        async with asyncio.timeout(TIMEOUT_SECONDS):
            for _ in range(callers):
                _, caller = await asyncio.get_running_loop().create_connection(
                    Caller, "127.0.0.1", port, ssl=context, server_hostname="localhost"
                )
                load.callers.append(caller)
        return load

    async def open(self, requests: Sequence[bytes], mark: bytes) -> None:
        """Send each caller's first request."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            pairs = zip(self.callers, requests, strict=True)
            await asyncio.gather(*[caller.send(iter([request]), mark) for caller, request in pairs])

    async def send(self, requests: Sequence[bytes], mark: bytes) -> Run:
        """Send all ``requests``; every answer must be 200 and contain ``mark``, or the run fails."""
        shared = iter(requests)
        started, before = time.perf_counter(), cpu_seconds(self._pid)
        async with asyncio.timeout(TIMEOUT_SECONDS):
            answers = sum(await asyncio.gather(*[caller.send(shared, mark) for caller in self.callers]))
        assert answers == len(requests)
        return Run(answers, time.perf_counter() - started, cpu_seconds(self._pid) - before)

    def close(self) -> None:
        for caller in self.callers:
            caller.close()


def request_bytes(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """A whole request."""
    lines = [f"{method} {path} HTTP/1.1", "host: localhost", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its threads, from /proc (proc(5), stat fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS
