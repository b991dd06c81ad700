"""Requests that two readers would read as different ones: none is answered as any of them, and nothing of them is done.

Each is sent to a real socket with an honest request behind it. That this is not answered either shows that the door did
not go on reading where somebody wanted it to.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec
import pytest
import pytest_asyncio

from everproof.server.http import Application, Call, Reply, Route
from everproof.server.listener import Listener

pytestmark = pytest.mark.asyncio(loop_scope="module")

BODY: Final = b'{"count":1}'
CHUNKED: Final = b"b\r\n" + BODY + b"\r\n0\r\n\r\n"
BEHIND: Final = b"GET /who HTTP/1.1\r\nhost: x\r\n\r\n"


class Order(msgspec.Struct):
    count: int


class Site:
    """A door on a free port, and what was done behind it."""

    def __init__(self) -> None:
        self.port = 0
        self.done: list[str] = []

    async def order(self, body: Order) -> Order:
        """Order."""
        self.done.append("order")
        return body

    async def who(self, call: Call) -> Reply:
        """Who."""
        self.done.append("who")
        return Reply.of({"path": call.path})

    async def send(self, data: bytes) -> tuple[list[int], bytes]:
        """The statuses that came back until the connection was closed, and all that came."""
        self.done.clear()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        async with asyncio.timeout(5):
            came = await reader.read()
        writer.close()
        return [int(status) for status in re.findall(rb"HTTP/1\.1 ([0-9]{3})", came)], came


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site() -> AsyncIterator[Site]:
    site = Site()
    routes = [Route("POST", "/orders", site.order, door="t"), Route("GET", "/who", site.who, door="t")]
    listener = Listener(Application(routes, title="t", version="1"))
    site.port = await listener.listen("127.0.0.1", 0, None)
    yield site
    await listener.stop()


def post(*headers: bytes, body: bytes = BODY, version: bytes = b"1.1", end: bytes = b"\r\n") -> bytes:
    lines = [b"POST /orders HTTP/" + version, b"host: x", b"content-type: application/json", *headers, b""]
    return end.join(lines) + end + body + BEHIND


def chunked(body: bytes) -> bytes:
    return post(b"transfer-encoding: chunked", body=body)


ATTACKS: Final = {
    "length and chunks": post(b"content-length: 11", b"transfer-encoding: chunked", body=CHUNKED),
    "chunks and length": post(b"transfer-encoding: chunked", b"content-length: 11", body=CHUNKED),
    "two equal lengths": post(b"content-length: 11", b"content-length: 11"),
    "two different lengths": post(b"content-length: 11", b"content-length: 5"),
    "a list of lengths": post(b"content-length: 11, 11"),
    "a length with a sign": post(b"content-length: +11"),
    "a negative length": post(b"content-length: -1"),
    "a length in hexadecimal": post(b"content-length: 0xb"),
    "a length with a space": post(b"content-length: 1 1"),
    "a length with an underscore": post(b"content-length: 1_1"),
    "an empty length": post(b"content-length: "),
    "a length beyond 64 bits": post(b"content-length: 99999999999999999999999"),
    "a folded header": post(b"content-length: 11", b"x-a: b\r\n c: d"),
    "a folded coding": post(b"transfer-encoding:\r\n chunked", body=CHUNKED),
    "a folded first header": b"POST /orders HTTP/1.1\r\n x: y\r\nhost: x\r\ncontent-length: 0\r\n\r\n" + BEHIND,
    "bare line feeds": post(b"content-length: 11", end=b"\n"),
    "one bare line feed": post(b"x: y\ncontent-length: 11"),
    "a bare carriage return": post(b"x: y\rcontent-length: 11"),
    "an unknown coding": post(b"transfer-encoding: xchunked", body=CHUNKED),
    "chunked, then identity": post(b"transfer-encoding: chunked, identity", body=CHUNKED),
    "identity, then chunked": post(b"transfer-encoding: identity, chunked", body=CHUNKED),
    "gzip, then chunked": post(b"transfer-encoding: gzip, chunked", body=CHUNKED),
    "chunked twice": post(b"transfer-encoding: chunked, chunked", body=CHUNKED),
    "two codings": post(b"transfer-encoding: chunked", b"transfer-encoding: chunked", body=CHUNKED),
    "chunked and identity": post(b"transfer-encoding: chunked", b"transfer-encoding: identity", body=CHUNKED),
    "identity and a length": post(b"transfer-encoding: identity", b"content-length: 11"),
    "an empty coding": post(b"transfer-encoding: ", b"content-length: 11"),
    "a coding with a comma before it": post(b"transfer-encoding: ,chunked", body=CHUNKED),
    "a coding with a parameter": post(b"transfer-encoding: chunked;q=1", body=CHUNKED),
    "a coding in quotes": post(b'transfer-encoding: "chunked"', body=CHUNKED),
    "a coding with a vertical tab": post(b"transfer-encoding: \x0bchunked", body=CHUNKED),
    "a coding with a NUL": post(b"transfer-encoding: chunked\0", body=CHUNKED),
    "a space before the colon": post(b"transfer-encoding : chunked", body=CHUNKED),
    "a coding in HTTP/1.0": post(b"transfer-encoding: chunked", body=CHUNKED, version=b"1.0"),
    "a chunk's extension with a line feed": chunked(b"b;x\n" + BODY + b"\r\n0\r\n\r\n"),
    "chunks with line feeds": chunked(b"b\n" + BODY + b"\n0\n\n"),
    "a chunk's length with a prefix": chunked(b"0xb\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "a chunk's length with a sign": chunked(b"+b\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "a chunk's length with a space": chunked(b"b \r\n" + BODY + b"\r\n0\r\n\r\n"),
    "a negative chunk": chunked(b"-1\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "a chunk's length beyond 64 bits": chunked(b"ffffffffffffffffb\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "a chunk that ends otherwise": chunked(b"b\r\n" + BODY + b"XX0\r\n\r\n"),
    "a length in the trailer": chunked(b"b\r\n" + BODY + b"\r\n0\r\ncontent-length: 5\r\n\r\n"),
    "a space in a header's name": post(b"content length: 11"),
    "a header without a name": post(b": x", b"content-length: 11"),
    "a NUL in a header": post(b"x: a\0b", b"content-length: 11"),
    "no host": b"GET /who HTTP/1.1\r\n\r\n" + BEHIND,
    "two hosts": b"GET /who HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n" + BEHIND,
    "a request without a version": b"GET /who\r\n\r\n" + BEHIND,
    "a version that does not exist": b"GET /who HTTP/1.2\r\nhost: x\r\n\r\n" + BEHIND,
    "a tunnel": b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n" + BEHIND,
    "a byte beyond ASCII in the address": b"GET /wh\xc3\xb6 HTTP/1.1\r\nhost: x\r\n\r\n" + BEHIND,
}


@pytest.mark.parametrize("name", ATTACKS)
async def test_a_request_of_two_readings_is_refused_whole(site: Site, name: str) -> None:
    statuses, came = await site.send(ATTACKS[name])
    assert (statuses, site.done) == ([400], [])
    assert b'"code":"malformed-request"' in came


HONEST: Final[dict[str, Callable[[], bytes]]] = {
    "a length": lambda: post(b"content-length: 11"),
    "chunks": lambda: chunked(CHUNKED),
    "chunks with an extension": lambda: chunked(b"b;a=b\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "chunked in capitals": lambda: post(b"Transfer-Encoding: CHUNKED", body=CHUNKED),
}


@pytest.mark.parametrize("name", HONEST)
async def test_an_honest_request_is_answered_and_so_is_the_one_behind_it(site: Site, name: str) -> None:
    closing = b"GET /who HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    statuses, _ = await site.send(HONEST[name]() + closing)
    assert (statuses, site.done) == ([200, 200, 200], ["order", "who", "who"])


async def test_what_follows_a_closing_request_is_not_done(site: Site) -> None:
    statuses, _ = await site.send(b"GET /who HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n" + BEHIND)
    assert (statuses, site.done) == ([200], ["who"])


async def test_what_follows_an_upgrade_is_not_taken_for_a_request(site: Site) -> None:
    upgrade = b"GET /who HTTP/1.1\r\nhost: x\r\nconnection: upgrade, close\r\nupgrade: h2c\r\n\r\n"
    statuses, _ = await site.send(upgrade + BEHIND)
    assert (statuses, site.done) == ([200], ["who"])


async def test_a_malformed_request_behind_one_under_way_is_not_taken_for_its_answer(site: Site) -> None:
    """The connection ends: a 400 here would be read as the answer to the first."""
    statuses, _ = await site.send(BEHIND + b"GET /who HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n")
    assert 400 not in statuses


@pytest.mark.parametrize("name", [b"x-forwarded-client-cert", b"cookie"])
async def test_a_header_of_a_megabyte_is_refused_and_told_why(site: Site, name: bytes) -> None:
    head = b"GET /who HTTP/1.1\r\nhost: x\r\n" + name + b": "
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    site.done.clear()
    writer.write(head + b"y" * (1 << 20) + b"\r\n\r\n")
    answer = await reader.readuntil(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 431")
    told = await reader.readuntil(b"}")
    assert b"more than 65536 bytes" in told
    writer.close()
    assert site.done == []
