"""What forward-auth adds to a request through real nginx and real Envoy: each is proven, decided and durable.

500 requests a second, whether answered or not (open loop), over 32 connections with TLS, each with a DPoP proof of its
own, to a service that answers at once; then the same without the question to Everproof. What counts is the difference
of the two, from the moment at which a request was due. The server has one core, all else the other.
"""

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple, cast

import uvloop
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from tests.gateways.caller import ANYBODY
from tests.gateways.gateway import WIKI, Process, free_port
from tests.gateways.site import Site

from benchmarks._site import LOAD_CORE, SERVER_CORE, Key
from benchmarks.decision import policies
from benchmarks.figure import Figure, measures

RATE: Final = 500
SECONDS: Final = 5
WARM: Final = 500
ROUNDS: Final = 3
CONNECTIONS: Final = 32
POLICIES: Final = 95
"""Beside those of the site: 100 and some in all."""
GATEWAYS: Final = ("nginx", "envoy")
WITHOUT: Final = {
    "nginx": ("auth_request /everproof;", "auth_request off;"),
    "envoy": (
        "failure_mode_allow: false",
        "filter_enabled: { default_value: { numerator: 0, denominator: HUNDRED } }",
    ),
}
"""How the same configuration asks nobody."""


class Spread(NamedTuple):
    """Of one run, in microseconds."""

    p50: float
    p99: float


class _Connection(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self, free: "asyncio.Queue[_Connection]") -> None:
        self._free = free
        self._answer = b""
        self._due = 0.0
        self._taken: list[float] = []
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's own is no subclass of it
        self._free.put_nowait(self)

    def send(self, request: bytes, due: float, taken: list[float]) -> None:
        assert self._transport is not None
        self._due, self._taken, self._answer = due, taken, b""
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if self._answer.endswith(b"the service"):
            self._taken.append(time.perf_counter() - self._due)
            self._free.put_nowait(self)

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()


async def _run(port: int, requests: list[bytes]) -> Spread:
    """Send each request when it is due, on whatever connection is free."""
    free: asyncio.Queue[_Connection] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for _ in range(CONNECTIONS):
        await loop.create_connection(lambda: _Connection(free), "127.0.0.1", port, ssl=ANYBODY, server_hostname=WIKI)
    taken: list[float] = []
    started = time.perf_counter()
    async with asyncio.timeout(60):
        for number, request in enumerate(requests):
            due = started + number / RATE
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            (await free.get()).send(request, due, taken)
        for _ in range(CONNECTIONS):  # each is free again once its last answer is there
            (await free.get()).close()
    assert len(taken) == len(requests)
    ordered = sorted(taken[WARM:])
    return Spread(statistics.median(ordered) * 1e6, ordered[int(len(ordered) * 0.99)] * 1e6)


def _requests(site: Site, key: Key, token: str) -> list[bytes]:
    nonce = site.callers["crawler"].log_in().nonce
    found = []
    for number in range(WARM + RATE * SECONDS):
        path = f"/projects/p{number % 50}/pages/home"
        proof = key.proof("GET", f"https://{WIKI}{path}", nonce, token)
        found.append(
            f"GET {path} HTTP/1.1\r\nHost: {WIKI}\r\nAccept: */*\r\n"
            f"Authorization: DPoP {token}\r\nDPoP: {proof}\r\n\r\n".encode()
        )
    return found


@contextmanager
def _site() -> Iterator[tuple[Site, Path]]:
    with tempfile.TemporaryDirectory(prefix="everproof-bench-") as text:
        folder = Path(text)
        site = Site(folder, {"policies/bench.cedar": "\n".join(policies(POLICIES)).encode()})
        pin(site.everproof.process.pid, SERVER_CORE)
        try:
            yield site, folder
        finally:
            site.stop()


def pin(pid: int, core: int) -> None:
    """Let every thread of a process run on one core."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core % (os.cpu_count() or 1)})


def _service(folder: Path) -> tuple[Process, int]:
    """A service that costs next to nothing: nginx, answering at once."""
    port = free_port()
    (folder / "service.conf").write_text(
        f"daemon off;\nmaster_process off;\npid {folder}/service.pid;\nerror_log {folder}/service-error.log;\n"
        f"events {{}}\nhttp {{ access_log off; keepalive_requests 1000000; server {{ listen 127.0.0.1:{port}; "
        'location / { return 200 "the service"; } } }\n'
    )
    log = folder / "service-error.log"
    process = Process(["nginx", "-c", str(folder / "service.conf"), "-e", str(log)], folder / "service.log")
    process.wait(port)
    return process, port


@measures(
    "forward_auth_p50",
    "forward_auth_p99",
    "forward_auth_nginx_p50",
    "forward_auth_nginx_p99",
    "forward_auth_envoy_p50",
    "forward_auth_envoy_p99",
)
def forward_auth() -> list[Figure]:
    """Microseconds added to a request, the entry included; the first two are the worse of both gateways."""
    before = os.sched_getaffinity(0)
    added: dict[str, Spread] = {}
    with _site() as (site, folder):
        os.sched_setaffinity(0, {LOAD_CORE})
        service, site.gateways.service = _service(folder)
        try:
            for name in GATEWAYS:
                added[name] = _added(site, name)
        finally:
            service.stop()
            os.sched_setaffinity(0, before)
    worst = Spread(max(one.p50 for one in added.values()), max(one.p99 for one in added.values()))
    figures = [Figure("forward_auth_p50", worst.p50, "µs", 1_200), Figure("forward_auth_p99", worst.p99, "µs", 5_000)]
    for name, one in added.items():
        figures += [
            Figure(f"forward_auth_{name}_p50", one.p50, "µs"),
            Figure(f"forward_auth_{name}_p99", one.p99, "µs"),
        ]
    return figures


def _added(site: Site, name: str) -> Spread:
    """The median over the rounds of what the question adds to each percentile."""
    asking = site.gateway(name)
    silent = site.gateway(name, change=lambda text: text.replace(*WITHOUT[name]))
    caller = site.callers["crawler"]
    key = Key(cast("EllipticCurvePrivateKey", caller.key.private_key))
    differences = []
    for _ in range(ROUNDS):
        with_ = uvloop.run(_run(asking, _requests(site, key, caller.token)))
        without = uvloop.run(_run(silent, _requests(site, key, caller.token)))
        differences.append(Spread(with_.p50 - without.p50, with_.p99 - without.p99))
    return Spread(statistics.median(one.p50 for one in differences), statistics.median(one.p99 for one in differences))
