"""HTTP/1.1 on one connection: uvicorn's protocol with bounds of our own, and the shortest way for the usual answer.

The usual answer is whole: a head and one body. It is written at once, without a look at each header for what ours
cannot hold, and without a timer for each request: one tick a second looks after all connections (measured: a third of
what a request costs outside the rooms).
"""

import _ssl
import asyncio
import socket
import ssl
import struct
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote

import httptools
from starlette.types import Message
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from everproof.identity.certificates import presented
from everproof.kernel.errors import Error
from everproof.server.http.problem import problem_reply

MAX_HEAD: Final = 64 * 1024
"""Bytes of a request line and its headers: a CI token with 200 groups is 16 kB."""
HEAD_SECONDS: Final = 10.0
"""How long a request's head may take to arrive, from its first byte or from the connection's start."""
REQUEST_SECONDS: Final = 30.0
"""How long a request may take in all: the application's own bound comes first, where it sets one."""
KEEP_ALIVE_SECONDS: Final = 75.0
"""Longer than the 60 s that proxies keep an idle connection, so that the proxy is the one to close it."""

CERTIFIED_SECONDS: Final = 3600.0
"""How long a connection goes by one showing of a certificate's key: then the key is shown anew, on a new connection."""
REFUSED_SECONDS: Final = 2.0
REFUSED_BYTES: Final = 1 << 20
"""How long, and how much, a peer that was refused may go on sending for nothing: so it reads why, and not a reset."""

_CREDENTIALS: Final = struct.Struct("3i")
_LOOKED_AT: Final = frozenset({b"host", b"expect", b"transfer-encoding"})
_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}


class MalformedError(Error):
    """What came is not a request that every reader would read alike (RFC 9112)."""

    code = "malformed-request"


class HeadTooLargeError(Error):
    """The request line and headers are longer than anything honest."""

    code = "head-too-large"
    status = 431

    def __init__(self) -> None:
        super().__init__(
            f"the head of the request has more than {MAX_HEAD} bytes", todo="send fewer or shorter headers"
        )


class Exchange(RequestResponseCycle):
    """One request and its answer."""

    waiting: Message | None = None
    """The head of an answer, until its body is there."""

    async def send(self, message: Any) -> None:
        """Write a whole answer at once; whatever comes in parts goes uvicorn's way."""
        if message["type"] == "http.response.start" and not self.response_started and self.waiting is None:
            self.waiting = message
            return
        start, self.waiting = self.waiting, None
        if start is None or message.get("more_body") or self.scope["method"] == "HEAD":
            if start is not None:
                await super().send(start)  # type: ignore[arg-type]
            await super().send(message)
            return
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        self.response_started = True
        self.waiting_for_100_continue = False
        parts = [STATUS_LINE[start["status"]]]
        for name, value in (*self.default_headers, *start["headers"]):
            parts += (name, b": ", value, b"\r\n")
            if name == b"connection" and value == b"close":
                self.keep_alive = False
        parts.append(b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n")
        parts.append(message.get("body", b""))
        self.transport.write(b"".join(parts))
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


class Protocol(HttpToolsProtocol):
    """One connection. ``tick`` is called for each once a second."""

    extensions: dict[str, Any] | None = None
    task: asyncio.Task[None] | None = None
    head_bytes = 0
    reading_since: float | None = None
    working_since: float | None = None
    cycle: RequestResponseCycle | None  # type: ignore[assignment]
    idle_since: float | None = None
    hosts = 0
    refused_since: float | None = None
    certified_until: float | None = None
    is_last = False
    """Whether the connection is closed after the next answer."""

    def __init__(self, config: Config, state: ServerState) -> None:
        # The one value that the requests of a connection share: the tokens whose keys were shown on it.
        super().__init__(config, state, {"owned": set()}, asyncio.get_running_loop())

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Ask the kernel who is there, once for each connection."""
        super().connection_made(transport)
        self.reading_since = self.loop.time()
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family == socket.AF_UNIX:
            raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            self.extensions = {"peer": dict(zip(("pid", "uid", "gid"), _CREDENTIALS.unpack(raw), strict=True))}
        elif (tls := transport.get_extra_info("ssl_object")) is not None and (chain := _chain(tls)):
            self.extensions = {"certificate": presented(chain, datetime.now(UTC))}
            self.certified_until = self.reading_since + CERTIFIED_SECONDS

    def data_received(self, data: bytes) -> None:
        """Read on; a head that is still not complete may only grow so long."""
        if self.refused_since is not None:
            self.head_bytes += len(data)
            if self.head_bytes > REFUSED_BYTES:
                self.transport.close()
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            reason = error.__context__
            self._refuse(reason if isinstance(reason, Error) else MalformedError("its address cannot be read"))
        except httptools.HttpParserError as error:
            self._refuse(MalformedError(str(error), todo="send it as RFC 9112 has it; nothing of it was done"))
        except httptools.HttpParserUpgrade:
            pass  # nothing is upgraded here: it is answered as it stands
        if self.reading_since is not None:
            self.head_bytes += len(data)
            if self.head_bytes > MAX_HEAD:
                self._refuse(HeadTooLargeError())

    def on_message_begin(self) -> None:
        """Start the head's clock."""
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self.hosts = 0
        self.idle_since = None
        self.reading_since = self.loop.time()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. What the parser lets pass, and another reader might frame otherwise, is refused."""
        name = name.lower()
        self.headers.append((name, value))
        if name not in _LOOKED_AT:
            return
        if name == b"host":
            self.hosts += 1
        elif name == b"transfer-encoding":
            if value.lower() != b"chunked" or self.parser.get_http_version() != "1.1":
                raise MalformedError("a transfer coding other than chunked, once, in HTTP/1.1", place="header")
        elif value.lower() == b"100-continue":
            self.expect_100_continue = True

    def on_headers_complete(self) -> None:
        """Stop the head's clock, and begin to work."""
        now = self.loop.time()
        self.reading_since = None
        self.head_bytes = 0
        parser = self.parser
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        version = parser.get_http_version()
        if self.hosts != 1 and (self.hosts or version != "1.0"):
            raise MalformedError("a request names its host once", place="header host")
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": "",
            "method": parser.get_method().decode("ascii"),
            "path": unquote(path) if "%" in path else path,
            "raw_path": url.path,
            "target": self.url,
            "query_string": url.query or b"",
            "headers": self.headers,
            "state": self.app_state,
        }
        if self.extensions is not None:
            scope["extensions"] = self.extensions
        before = self.cycle
        self.scope = scope  # type: ignore[assignment]
        self.cycle = Exchange(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and parser.should_keep_alive() and not self.is_last,
            on_response=self.on_response_complete,
        )
        if before is None or before.response_complete:
            self.working_since = now
            self._start_asgi_task(self.cycle, self.app)
        else:  # a request that came before the last one was answered waits its turn
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_response_complete(self) -> None:
        """Go on with what waits, or wait for more."""
        self.server_state.total_requests += 1
        self.working_since = None
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self.working_since = self.loop.time()
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self.idle_since = self.loop.time()

    def tick(self, now: float) -> None:
        """Close the connection, where its peer or its request is too slow."""
        if self.working_since is not None and now - self.working_since > REQUEST_SECONDS:
            if self.task is not None:
                self.task.cancel()
            self.transport.abort()
        elif (
            (self.refused_since is not None and now - self.refused_since > REFUSED_SECONDS)
            or (self.reading_since is not None and now - self.reading_since > HEAD_SECONDS)
            or (self.idle_since is not None and now - self.idle_since > KEEP_ALIVE_SECONDS)
        ):
            self.transport.close()
        elif self.certified_until is not None and now > self.certified_until:
            self.is_last = True
            if self.idle_since is not None:
                self.transport.close()

    def _refuse(self, error: Error) -> None:
        """Answer, and take no more."""
        self.refused_since = self.loop.time()
        self.reading_since = None
        cycle = self.cycle
        may_answer = (
            cycle is None
            or cycle.response_complete
            or (cycle.more_body and not cycle.response_started and not self.pipeline)
        )
        if may_answer:  # else it would be taken for the answer to the request before
            reply = problem_reply(error)
            head = [STATUS_LINE[reply.status], b"content-type: ", reply.media.encode()]
            head.append(b"\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(reply.body))
            self.transport.write(b"".join((*head, reply.body)))
        if not may_answer or error.status != HeadTooLargeError.status:
            self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self.task = self.loop.create_task(cycle.run_asgi(app))
        self.tasks.add(self.task)
        self.task.add_done_callback(self.tasks.discard)


def _chain(tls: ssl.SSLObject) -> tuple[bytes, ...]:
    """What the peer presented in the handshake, leaf first, in DER; empty where it presented nothing."""
    if tls.getpeercert(binary_form=True) is None:
        return ()
    # Public from Python 3.13 on, where it returns bytes; before, the same thing stands one object further in.
    ask = getattr(tls, "get_unverified_chain", None) or tls._sslobj.get_unverified_chain  # type: ignore[attr-defined] # noqa: SLF001
    return tuple(one if isinstance(one, bytes) else one.public_bytes(_ssl.ENCODING_DER) for one in ask() or ())
