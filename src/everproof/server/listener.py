"""The sockets: HTTPS on the network and the same application on a unix socket, both by uvicorn's HTTP protocol."""

import asyncio
import contextlib
import os
import socket
import ssl
import time
from email.utils import formatdate
from pathlib import Path
from typing import Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.server import ServerState

from everproof.kernel.errors import ConflictError
from everproof.server.protocol import Protocol

HANDSHAKE_SECONDS: Final = 10.0
SHUTDOWN_SECONDS: Final = 2.0
"""What a request under way is given to end; an idle TLS peer that never reads would hold us for 30 s."""
BACKLOG: Final = 2048


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
        return Protocol(self._config, self._state)

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
        now = asyncio.get_running_loop().time()
        for connection in list(self._state.connections):
            if isinstance(connection, Protocol):
                connection.tick(now)


def _bind(connection: socket.socket, file: Path, mode: int, group: int | None) -> None:
    file.unlink(missing_ok=True)
    connection.bind(str(file))
    if group is not None and os.geteuid() == 0:  # nobody else can give a file away
        os.chown(file.parent, -1, group)
        file.parent.chmod(0o710)
        os.chown(file, -1, group)
    file.chmod(mode)  # before it listens: until then nobody can connect
