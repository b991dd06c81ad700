"""A closed-loop load: callers on keep-alive connections, each sending bytes made beforehand and reading the answer.

It runs in the benchmark's own process, pinned to one core; the server is a process of its own, pinned to the other.
"""

import asyncio
import os
import ssl
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple, cast

CLOCK_TICKS: Final = os.sysconf("SC_CLK_TCK")
TIMEOUT_SECONDS: Final = 60.0
"""Of a whole run: a benchmark finishes or fails."""


class Run(NamedTuple):
    """What a run took. ``cpu`` is the server's, user and system, in seconds; ``bad`` counts answers without the mark."""

    answers: int
    bad: int
    seconds: float
    cpu: float
    sample: bytes

    @property
    def cpu_microseconds(self) -> float:
        return self.cpu / self.answers * 1e6

    @property
    def rate(self) -> float:
        return self.answers / self.seconds


class Caller(asyncio.Protocol):
    """One connection: sends, waits for the whole answer, sends the next."""

    def __init__(self, requests: Iterator[bytes], mark: bytes, done: asyncio.Future[None]) -> None:
        self._requests = requests
        self._mark = mark
        self._done = done
        self._buffer = b""
        self._transport: asyncio.WriteTransport | None = None
        self.answers = 0
        self.bad = 0
        self.sample = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's own is no subclass of it
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        at = self._buffer.find(b"content-length: ") + 16
        length = int(self._buffer[at : self._buffer.find(b"\r", at)])
        if len(self._buffer) < end + 4 + length:
            return
        self.answers += 1
        if not self._buffer.startswith(b"HTTP/1.1 200") or self._mark not in self._buffer:
            self.bad += 1
            self.sample = self._buffer
        elif not self.sample:
            self.sample = self._buffer
        self._buffer = b""
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(exc or ConnectionResetError("the server closed the connection"))

    def _send(self) -> None:
        assert self._transport is not None
        request = next(self._requests, None)
        if request is not None:
            self._transport.write(request)
        elif not self._done.done():
            self._done.set_result(None)
            self._transport.close()


def request_bytes(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """A whole request."""
    lines = [f"{method} {path} HTTP/1.1", "host: localhost", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


async def run(
    port: int, requests: Sequence[bytes], *, pid: int, callers: int, mark: bytes, context: ssl.SSLContext | None
) -> Run:
    """Send all ``requests`` with ``callers`` at once; every answer must be 200 and contain ``mark``."""
    loop = asyncio.get_running_loop()
    shared = iter(requests)
    started, before = time.perf_counter(), cpu_seconds(pid)
    protocols: list[Caller] = []
    futures: list[asyncio.Future[None]] = []
    for _ in range(callers):
        done: asyncio.Future[None] = loop.create_future()
        _, caller = await loop.create_connection(
            lambda done=done: Caller(shared, mark, done),  # type: ignore[misc]
            "127.0.0.1",
            port,
            ssl=context,
            server_hostname="localhost" if context else None,
        )
        protocols.append(caller)
        futures.append(done)
    async with asyncio.timeout(TIMEOUT_SECONDS):
        await asyncio.gather(*futures)
    seconds, cpu = time.perf_counter() - started, cpu_seconds(pid) - before
    bad = [one for one in protocols if one.bad]
    sample = (bad or protocols)[0].sample
    return Run(sum(one.answers for one in protocols), sum(one.bad for one in bad), seconds, cpu, sample)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its threads, from /proc (proc(5), stat fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def pin(pid: int, core: int) -> None:
    """Keep ``pid`` on ``core``, where this machine has it."""
    cores = sorted(os.sched_getaffinity(0) | {0})
    os.sched_setaffinity(pid, {core if core < (os.cpu_count() or 1) else cores[0]})


def chunks(requests: Sequence[bytes], size: int) -> Iterator[list[bytes]]:
    """``requests`` in lists of ``size``."""
    waiting = iter(requests)
    while part := list(islice(waiting, size)):
        yield part
