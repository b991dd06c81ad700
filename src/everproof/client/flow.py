"""A conversation with the server without the sending: what is written once and driven by threads and by asyncio alike.

A flow yields what it wants done, a request or a pause, and is sent the answer. Whoever drives it does the sending and
holds the deadline: one for the whole flow, however many requests it takes.
"""

import asyncio
import contextlib
import ssl
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import msgspec

from everproof.kernel.errors import InputError, UnavailableError

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

MAX_ANSWER: Final = 8 << 20
"""Bytes. The largest honest answer, a batch of 500 denials with their explanations, is some 2 MB."""
CONNECTIONS: Final = 32
"""Of one client, kept open for the next question."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request to be sent."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""

    def __repr__(self) -> str:
        return f"Request({self.method} {self.url})"


class Answer(msgspec.Struct, frozen=True):
    """What came back; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"Answer({self.status})"


class Pause(msgspec.Struct, frozen=True):
    """Wait for so many seconds."""

    seconds: float


class LostError(UnavailableError):
    """The server could not be reached, or went away before it had answered."""

    code = "unreachable"


class LateError(UnavailableError):
    """There was no answer in time."""

    code = "late"


Flow: TypeAlias = Generator[Request | Pause, Answer | None, T]


def tls(ca: str | Path | ssl.SSLContext | None) -> ssl.SSLContext:
    """How the server is known: by the certificate authority in a PEM file or text, or by those of this machine.

    Raises:
        InputError: it cannot be read.
    """
    if isinstance(ca, ssl.SSLContext):
        return ca
    try:
        if ca is None:
            return ssl.create_default_context()
        if isinstance(ca, str) and "-----BEGIN" in ca:
            return ssl.create_default_context(cadata=ca)
        return ssl.create_default_context(cafile=Path(ca).expanduser())
    except (OSError, ssl.SSLError) as error:
        place = str(ca) if isinstance(ca, Path) else None
        raise InputError(f"no certificate authority: {error}", place=place, todo="give its PEM file") from error


class Driver:
    """Runs flows in the calling thread."""

    def __init__(self, context: ssl.SSLContext, seconds: float) -> None:
        import httpx

        self._httpx = httpx
        self._seconds = seconds
        limits = httpx.Limits(max_keepalive_connections=CONNECTIONS)
        self._http = httpx.Client(verify=context, trust_env=False, limits=limits, follow_redirects=False)

    def run(self, flow: Flow[T]) -> T:
        """What ``flow`` comes to.

        Raises:
            UnavailableError: it came to nothing in time.
        """
        deadline = time.monotonic() + self._seconds
        try:
            step = next(flow)
            while True:
                try:
                    answer = self._do(step, deadline)
                except UnavailableError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(answer)
        except StopIteration as done:
            value: T = done.value
            return value
        finally:
            flow.close()

    def stream(
        self, url: str, headers: Mapping[str, str], silence: float
    ) -> "contextlib.AbstractContextManager[httpx.Response]":
        """An answer that goes on, and breaks off when nothing comes for ``silence`` seconds."""
        return self._http.stream("GET", url, headers=dict(headers), timeout=silence)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _do(self, step: Request | Pause, deadline: float) -> Answer | None:
        left = deadline - time.monotonic()
        if isinstance(step, Pause):
            if step.seconds >= left:
                raise LateError("there is no time left to ask again")
            time.sleep(step.seconds)
            return None
        if left <= 0:
            raise LateError("there was no answer in time")
        try:
            sent = self._http.stream(
                step.method, step.url, headers=dict(step.headers), content=step.body or None, timeout=left
            )
            with sent as response:
                body = bytearray()
                for chunk in response.iter_raw():
                    _take(body, chunk)
                    if time.monotonic() > deadline:
                        raise LateError("there was no answer in time")
                return _answer(response, body)
        except (self._httpx.HTTPError, self._httpx.InvalidURL, OSError) as error:
            raise _trouble(error, step.url, late=isinstance(error, self._httpx.TimeoutException)) from error


class AsyncDriver:
    """Runs flows on the event loop."""

    def __init__(self, context: ssl.SSLContext, seconds: float) -> None:
        import httpx

        self._httpx = httpx
        self._seconds = seconds
        limits = httpx.Limits(max_keepalive_connections=CONNECTIONS)
        self._http = httpx.AsyncClient(verify=context, trust_env=False, limits=limits, follow_redirects=False)

    async def run(self, flow: Flow[T]) -> T:
        """What ``flow`` comes to.

        Raises:
            UnavailableError: it came to nothing in time.
        """
        deadline = time.monotonic() + self._seconds
        try:
            step = next(flow)
            while True:
                try:
                    answer = await self._do(step, deadline)
                except UnavailableError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(answer)
        except StopIteration as done:
            value: T = done.value
            return value
        finally:
            flow.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _do(self, step: Request | Pause, deadline: float) -> Answer | None:
        left = deadline - time.monotonic()
        if isinstance(step, Pause):
            if step.seconds >= left:
                raise LateError("there is no time left to ask again")
            await asyncio.sleep(step.seconds)
            return None
        if left <= 0:
            raise LateError("there was no answer in time")
        try:
            async with asyncio.timeout(left):
                sent = self._http.stream(
                    step.method, step.url, headers=dict(step.headers), content=step.body or None, timeout=left
                )
                async with sent as response:
                    body = bytearray()
                    async for chunk in response.aiter_raw():
                        _take(body, chunk)
                    return _answer(response, body)
        except (self._httpx.HTTPError, self._httpx.InvalidURL, OSError) as error:
            late = isinstance(error, TimeoutError | self._httpx.TimeoutException)
            raise _trouble(error, step.url, late=late) from error


def _take(body: bytearray, chunk: bytes) -> None:
    body += chunk
    if len(body) > MAX_ANSWER:
        raise UnavailableError(f"the answer is longer than {MAX_ANSWER} bytes")


def _answer(response: "httpx.Response", body: bytearray) -> Answer:
    headers: dict[str, str] = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status_code, headers, bytes(body))


def _trouble(error: Any, url: str, *, late: bool) -> UnavailableError:
    if late:
        return LateError("there was no answer in time", place=url)
    return LostError(f"the server cannot be reached: {error}", place=url, todo="see whether it runs: everproof doctor")
