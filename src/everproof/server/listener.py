"""The sockets: HTTPS on the network and the same application on a unix socket, both by uvicorn's HTTP protocol."""

import asyncio
import contextlib
import os
import socket
import ssl
import struct
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any, Final

import structlog
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from everproof.kernel.errors import ConflictError

MAX_HEAD: Final = 64 * 1024
"""Bytes of a request line and its headers: a CI token with 200 groups is 16 kB."""
HEAD_SECONDS: Final = 10.0
"""How long a request's head may take to arrive, from its first byte or from the connection's start."""
HANDSHAKE_SECONDS: Final = 10.0
KEEP_ALIVE_SECONDS: Final = 75
"""Longer than the 60 s that proxies keep an idle connection, so that the proxy is the one to close it."""
SHUTDOWN_SECONDS: Final = 2.0
"""What a request under way is given to end; an idle TLS peer that never reads would hold us for 30 s."""
BACKLOG: Final = 2048

_log: Final = structlog.get_logger("everproof.listener")
_CREDENTIALS: Final = struct.Struct("3i")


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, with bounds on a request's head and the peer's credentials on the unix socket."""

    extensions: dict[str, dict[object, object]] | None = None
    reading_since: float | None = None
    head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Ask the kernel who is there, once for each connection."""
        super().connection_made(transport)
        self.reading_since = self.loop.time()
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family == socket.AF_UNIX:
            raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            self.extensions = {"peer": dict(zip(("pid", "uid", "gid"), _CREDENTIALS.unpack(raw), strict=True))}

    def data_received(self, data: bytes) -> None:
        """Read on; a head that is still not complete may only grow so long."""
        super().data_received(data)
        if self.reading_since is not None:
            self.head_bytes += len(data)
            if self.head_bytes > MAX_HEAD:
                self.transport.close()

    def on_message_begin(self) -> None:
        """Start the head's clock."""
        super().on_message_begin()
        self.reading_since = self.loop.time()
        if self.extensions is not None:
            self.scope["extensions"] = self.extensions

    def on_headers_complete(self) -> None:
        """Stop the head's clock: from here on the application's own time limit holds."""
        self.reading_since = None
        self.head_bytes = 0
        super().on_headers_complete()


class Listener:
    """Serves one application on its sockets until stopped."""

    def __init__(self, app: ASGIApp) -> None:
        self._config = uvicorn.Config(
            app,
            http=Protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
        self._config.load()
        self._state = ServerState()
        self._servers: list[asyncio.Server] = []
        self._ticking: asyncio.Task[None] | None = None
        self._socket_file: Path | None = None

    async def listen(self, host: str, port: int, context: ssl.SSLContext | None) -> int:
        """Listen on the network; gives the port, which is a free one where 0 was asked for.

        Raises:
            ConflictError: the address is taken or is not one of this machine's.
        """
        try:
            server = await asyncio.get_running_loop().create_server(
                self._protocol,
                host,
                port,
                ssl=context,
                backlog=BACKLOG,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if context else None,
                ssl_shutdown_timeout=SHUTDOWN_SECONDS if context else None,
            )
        except OSError as error:
            raise ConflictError(
                f"cannot listen on {host} port {port}: {error.strerror or error}",
                todo="stop what listens there, or give another port with --port or EVERPROOF_PORT",
            ) from error
        self._began(server)
        return int(server.sockets[0].getsockname()[1])

    async def listen_unix(self, file: Path, *, mode: int = 0o600, group: int | None = None) -> None:
        """Listen on a unix socket at ``file``; a file left by a server that was killed is replaced.

        With ``group``, it is given to that group, which may then pass through the folder it is in without reading it.

        Raises:
            ConflictError: the socket cannot be made there.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _bind(connection, file, mode, group)
        except OSError as error:
            connection.close()
            raise ConflictError(
                f"cannot make the unix socket: {error.strerror or error}",
                place=str(file),
                todo="choose a state folder with a shorter path: a socket's may have 107 bytes",
            ) from error
        self._began(
            await asyncio.get_running_loop().create_unix_server(self._protocol, sock=connection, backlog=BACKLOG)
        )
        self._socket_file = file

    async def stop(self) -> None:
        """Take no more connections, let requests under way end for at most ``SHUTDOWN_SECONDS``, close all."""
        for server in self._servers:
            server.close()
        if self._socket_file is not None:
            self._socket_file.unlink(missing_ok=True)
        for connection in list(self._state.connections):
            connection.shutdown()
        if self._state.tasks:
            await asyncio.wait(self._state.tasks, timeout=SHUTDOWN_SECONDS)
        for task in list(self._state.tasks):
            task.cancel()
        for connection in list(self._state.connections):
            connection.transport.abort()
        if self._ticking is not None:
            self._ticking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticking
            self._ticking = None

    def _protocol(self) -> Protocol:
        # The one value that the requests of a connection share: the tokens whose keys were shown on it.
        return Protocol(self._config, self._state, {"owned": set()})

    def _began(self, server: asyncio.Server) -> None:
        self._servers.append(server)
        if self._ticking is None:
            self._tick()
            self._ticking = asyncio.create_task(self._tick_each_second())

    async def _tick_each_second(self) -> None:
        while True:
            await asyncio.sleep(1)
            self._tick()

    def _tick(self) -> None:
        self._state.default_headers = [(b"date", formatdate(time.time(), usegmt=True).encode())]
        oldest = asyncio.get_running_loop().time() - HEAD_SECONDS
        for connection in list(self._state.connections):
            since: Any = getattr(connection, "reading_since", None)
            if since is not None and since < oldest:
                connection.transport.close()


def _bind(connection: socket.socket, file: Path, mode: int, group: int | None) -> None:
    file.unlink(missing_ok=True)
    connection.bind(str(file))
    if group is not None and os.geteuid() == 0:  # nobody else can give a file away
        os.chown(file.parent, -1, group)
        file.parent.chmod(0o710)
        os.chown(file, -1, group)
    file.chmod(mode)  # before it listens: until then nobody can connect
