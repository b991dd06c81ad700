"""Opens the doors of one server, and closes them."""

import asyncio
import gc
import pwd
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

import structlog
from starlette.types import ASGIApp

from everproof import __version__
from everproof.app import Everproof
from everproof.kernel.errors import Error
from everproof.kernel.settings import Settings
from everproof.server.application import application
from everproof.server.listener import Listener
from everproof.server.telemetry import configure_logs, traced
from everproof.server.tls import Certificates

RENEWAL_SECONDS: Final = 6 * 3600
"""How often the certificate's end is looked at."""
LOOK_SECONDS: Final = 5
"""How often the files of an operator's certificate are looked at."""

YOUNG_OBJECTS: Final = 20_000
"""Allocations between two collections: a request leaves no cycles, so looking for them each 700 only costs."""

_log: Final = structlog.get_logger("everproof.server")


class Listening(NamedTuple):
    """Where the server can be reached."""

    url: str
    port: int
    certificates: Certificates


async def serve(app: Everproof, *, ready: Callable[[Listening], None] | None = None) -> None:
    """Serve ``app`` until SIGINT or SIGTERM; ``ready`` is called once it can be reached.

    Raises:
        Error: it cannot be started, with what to do.
    """
    configure_logs()
    settings = app.settings
    certificates = Certificates(settings, app.storage.clock)
    clients = app.identity.certificates
    clients.on_change(lambda: certificates.trust(clients.anchors))
    serving: ASGIApp = application(app)
    end_traces: Callable[[], None] | None = None
    if settings.telemetry:
        serving, end_traces = traced(serving, settings.telemetry, version=__version__)
    await app.start()
    listener = Listener(serving)
    renewing: asyncio.Task[None] | None = None
    try:
        with _told_to_stop() as told:
            port = await listener.listen(settings.host, settings.port, certificates.context)
            await listener.listen_unix(settings.socket, mode=_socket_mode(settings), group=_socket_group(settings))
            renewing = asyncio.create_task(_renew(certificates))
            gc.collect()
            gc.freeze()
            gc.set_threshold(YOUNG_OBJECTS, 10, 10)
            _log.info("listening", host=settings.host, port=port, socket=str(settings.socket), version=__version__)
            if ready is not None:
                ready(Listening(settings.issuer, port, certificates))
            await told.wait()
    finally:
        _log.info("stopping")
        if renewing is not None:
            renewing.cancel()
        app.runs.stop()  # whoever waits to be told is answered, so that the listener need not wait for them
        app.changes.stop()
        await listener.stop()
        await app.stop()
        if end_traces is not None:
            await asyncio.to_thread(end_traces)


@contextmanager
def _told_to_stop() -> Iterator[asyncio.Event]:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, told.set)
    try:
        yield told
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


async def _renew(certificates: Certificates) -> None:
    waited = 0
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        waited += LOOK_SECONDS
        try:
            if waited >= RENEWAL_SECONDS:
                waited = 0
                if await asyncio.to_thread(certificates.renew):
                    _log.info("certificate renewed")
            elif certificates.reload():
                _log.info("certificate reloaded")
        except Error as error:
            _log.error("certificate not renewed", detail=error.message, todo=error.todo)


def _socket_mode(settings: Settings) -> int:
    return 0o600 if settings.git is None else 0o660


def _socket_group(settings: Settings) -> int | None:
    """The group of the account that git's hooks run as; None where there is no such account."""
    if settings.git is None:
        return None
    try:
        return pwd.getpwnam(settings.git.user).pw_gid
    except KeyError:
        return None
