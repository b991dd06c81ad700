"""Real connections: TLS, the unix socket, and clients that are slow, endless or gone."""

import asyncio
import os
import ssl
import stat
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import httpx
import msgspec
import pytest
from cryptography import x509

from everproof.kernel.errors import ConflictError, InputError
from everproof.kernel.settings import Settings
from everproof.server import listener as listener_module
from everproof.server import protocol as protocol_module
from everproof.server.health import Health
from everproof.server.http import Application, Call, Reply, Route
from everproof.server.listener import Listener
from everproof.server.tls import LEAF_FILE, LEAF_LIFE, Certificates
from tests.conftest import SettableClock


class Order(msgspec.Struct):
    count: int


async def who(call: Call) -> Reply:
    """Who."""
    return Reply.of({"peer": call.peer, "client": call.client})


async def order(body: Order) -> Order:
    """Order."""
    return body


hanging = asyncio.Event()


async def hang() -> Reply:
    """Hang."""
    hanging.set()
    await asyncio.Event().wait()
    return Reply()


class Running(NamedTuple):
    url: str
    port: int
    socket: Path
    certificates: Certificates
    listener: Listener

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificates.ca_file))


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    clock = SettableClock()
    clock.time = datetime.now(UTC)
    certificates = Certificates(Settings(state=tmp_path), clock)
    app = Application(
        [
            *Health({}).routes(),
            Route("GET", "/who", who, door="t"),
            Route("POST", "/orders", order, door="t"),
            Route("GET", "/hang", hang, door="t"),
        ],
        title="t",
        version="1",
    )
    listener = Listener(app)
    port = await listener.listen("127.0.0.1", 0, certificates.context)
    file = tmp_path / "everproof.sock"
    await listener.listen_unix(file)
    yield Running(f"https://localhost:{port}", port, file, certificates, listener)
    await listener.stop()


async def test_https_by_the_ca_of_our_own_for_each_local_name(running: Running) -> None:
    async with httpx.AsyncClient(verify=running.context()) as client:
        for name in ("localhost", "127.0.0.1"):
            answer = await client.get(f"https://{name}:{running.port}/who")
            assert answer.json() == {"peer": None, "client": "127.0.0.1"}
            assert "server" not in answer.headers


async def test_a_stranger_who_does_not_trust_the_ca_gets_nothing(running: Running) -> None:
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            await client.get(running.url)


async def test_no_session_can_be_resumed(running: Running) -> None:
    context = running.context()
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context.maximum_version = version
        reader, writer = await asyncio.open_connection("localhost", running.port, ssl=context)
        writer.write(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")  # a ticket would have come before it
        assert not writer.get_extra_info("ssl_object").session.has_ticket
        writer.close()


async def test_the_unix_socket_tells_who_is_there_and_lets_in_its_owner_alone(running: Running) -> None:
    assert stat.S_IMODE(running.socket.stat().st_mode) == 0o600
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(running.socket))) as client:
        answer = await client.get("http://everproof/who")
    assert answer.json() == {"peer": [os.getpid(), os.getuid(), os.getgid()], "client": ""}


async def test_a_100_mb_body_is_refused_and_not_buffered(running: Running) -> None:
    before = _resident()

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(1600):
            yield b"x" * 65_536

    async with httpx.AsyncClient(verify=running.context(), timeout=30) as client:
        answer = await client.post(
            f"{running.url}/orders", content=endless(), headers={"content-type": "application/json"}
        )
    assert answer.status_code == 413
    assert answer.json()["code"] == "too-large"
    assert _resident() - before < 30e6


async def test_a_head_that_never_ends_is_cut_off(running: Running) -> None:
    reader, writer = await asyncio.open_unix_connection(running.socket)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n")
    sent = 0
    with suppress(ConnectionError):
        while not reader.at_eof():
            writer.write(b"x-filler: " + b"y" * 8192 + b"\r\n")
            await writer.drain()
            sent += 8192
            await asyncio.sleep(0)
    assert sent < 2_000_000
    writer.close()


async def test_a_head_that_comes_too_slowly_is_cut_off(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol_module, "HEAD_SECONDS", 0.0)
    reader, writer = await asyncio.open_unix_connection(running.socket)
    writer.write(b"GET /who HT")
    assert await reader.read() == b""
    writer.close()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 5,
        b"GET\r\n\r\n",
        b"POST /orders HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
        b"POST /orders HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        b"GET /who HTTP/1.1\r\nhost: a\r\nx\x00y: 1\r\n\r\n",
    ],
)
async def test_what_is_not_http_gets_400(running: Running, garbage: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(running.socket)
    writer.write(garbage)
    assert (await reader.readline()).startswith(b"HTTP/1.1 400")
    writer.close()


async def test_stopping_waits_for_no_one_longer_than_its_bound(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "SHUTDOWN_SECONDS", 0.1)
    hanging.clear()
    context = running.context()
    context.check_hostname = False
    idle = await asyncio.open_connection("127.0.0.1", running.port, ssl=context)
    reader, writer = await asyncio.open_unix_connection(running.socket)
    writer.write(b"GET /hang HTTP/1.1\r\nhost: x\r\n\r\n")
    await hanging.wait()
    async with asyncio.timeout(1.5):
        await running.listener.stop()
        await reader.read()
    assert not running.socket.exists()
    writer.close()
    idle[1].close()


async def test_a_port_that_is_taken_is_said_so(running: Running) -> None:
    with pytest.raises(ConflictError, match=r"cannot listen on 127\.0\.0\.1"):
        await Listener(lambda *_: None).listen("127.0.0.1", running.port, None)  # type: ignore[arg-type]


def test_the_leaf_is_renewed_before_it_ends_and_the_ca_stays(tmp_path: Path, clock: SettableClock) -> None:
    certificates = Certificates(Settings(state=tmp_path, host="10.1.2.3"), clock)
    ca = certificates.ca_file.read_bytes()
    leaf = (tmp_path / LEAF_FILE).read_bytes()
    assert not certificates.renew()
    clock.advance(LEAF_LIFE - timedelta(days=9))
    assert certificates.renew()
    assert certificates.ca_file.read_bytes() == ca
    assert (tmp_path / LEAF_FILE).read_bytes() != leaf
    names = x509.load_pem_x509_certificate((tmp_path / LEAF_FILE).read_bytes()).extensions
    addresses = names.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.IPAddress)
    assert [str(address) for address in addresses] == ["127.0.0.1", "::1", "10.1.2.3"]


def test_another_name_gets_another_leaf(tmp_path: Path, clock: SettableClock) -> None:
    Certificates(Settings(state=tmp_path), clock)
    Certificates(Settings(state=tmp_path, url="https://everproof.example"), clock)
    certificate = x509.load_pem_x509_certificate((tmp_path / LEAF_FILE).read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "everproof.example"]


@pytest.mark.parametrize("name", ["ca.pem", "ca.key", "server.pem"])
def test_a_broken_file_is_named_with_what_to_do(tmp_path: Path, clock: SettableClock, name: str) -> None:
    Certificates(Settings(state=tmp_path), clock)
    (tmp_path / name).write_text("garbage")
    with pytest.raises(InputError, match="cannot be used") as caught:
        Certificates(Settings(state=tmp_path), clock)
    assert "remove" in str(caught.value.todo)


def test_private_keys_are_for_the_owner_alone(tmp_path: Path, clock: SettableClock) -> None:
    Certificates(Settings(state=tmp_path), clock)
    for name in ("ca.key", "server.pem"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
