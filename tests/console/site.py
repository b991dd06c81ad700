"""A real server with its own certificate, in the loop of the tests, whose clock can be told to go on."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from everproof.app import Everproof
from everproof.authorize.store import StoredBundle, save_bundle
from everproof.kernel.settings import Settings
from everproof.policy import load_bundle
from everproof.policy.starter import starter_files
from everproof.server.application import application
from everproof.server.listener import Listener
from everproof.server.tls import Certificates


class LeapingClock:
    """The clock of the machine, and whatever it was told to leap."""

    def __init__(self) -> None:
        self.leap = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.leap

    def advance(self, by: timedelta) -> None:
        self.leap += by


class Site:
    """The server: ``url`` is where it is, and ``beyond`` a site that people sign in to by way of it."""

    def __init__(self, app: Everproof, doors: ASGIApp, clock: LeapingClock, beyond: str) -> None:
        self.app = app
        self.doors = doors
        self.beyond = beyond
        self.clock = clock
        self.url = app.settings.issuer
        self.ca = app.settings.state / "ca.pem"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


async def landing(scope: Scope, _receive: Receive, send: Send) -> None:
    """The page of the site beyond."""
    assert scope["type"] == "http"
    body = b"<!doctype html><title>Deploys</title><h1>Signed in</h1>"
    headers = [(b"content-type", b"text/html"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def running(folder: Path, files: Callable[[str], dict[str, bytes]]) -> AsyncIterator[Site]:
    """A server whose bundle is the starter with ``files``, which know where the site beyond is."""
    state = folder / "state"
    state.mkdir(mode=0o700)
    clock = LeapingClock()
    app = Everproof(Settings(state=state, port=free_port()), clock=clock)
    port = free_port()
    beyond = f"https://localhost:{port}"
    bundle = {**starter_files(), **files(beyond)}
    app.storage.write_now(lambda tx: save_bundle(tx, StoredBundle(load_bundle(bundle).digest, "", bundle)))
    app.storage.close()
    app = Everproof(Settings(state=state, port=app.settings.port), clock=clock)
    certificates = Certificates(app.settings, app.storage.clock)
    doors = application(app)
    listener, other = Listener(doors), Listener(landing)
    await app.start()
    try:
        await listener.listen("127.0.0.1", app.settings.port, certificates.context)
        await other.listen("127.0.0.1", port, certificates.context)
        yield Site(app, doors, clock, beyond)
    finally:
        await other.stop()
        await listener.stop()
        await app.stop()
