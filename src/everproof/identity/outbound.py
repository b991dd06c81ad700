"""Fetching from an issuer: HTTPS only, never into the private network, never larger or longer than it should be.

The name is resolved first, every address is judged, and the connection goes to an address that was judged: a name that
resolves differently the second time gains nothing. Redirects are not followed.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

import httpcore

from everproof.kernel.errors import InputError, UnavailableError

TIMEOUT_SECONDS: Final = 5.0
"""For the whole exchange, from the name to the last byte: a caller waits for it."""
MAX_BYTES: Final = 512 * 1024
"""The largest known JWK set is a tenth of this."""
HTTPS_PORT: Final = 443

_NEVER: Final = tuple(
    ipaddress.ip_network(net) for net in ("169.254.0.0/16", "fe80::/10", "fd00:ec2::/32", "0.0.0.0/8", "::/128")
)
"""Cloud metadata, link-local and unspecified addresses: not even for a host that is allowed to be private."""
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")

_POST_HEADERS: Final = [("accept-encoding", "identity"), ("user-agent", "everproof")]
_HEADERS: Final = [("accept", "application/json"), *_POST_HEADERS]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class OutboundError(UnavailableError):
    """An issuer could not be asked."""

    code = "issuer-unavailable"


def https_url(url: str, *, place: str | None = None) -> SplitResult:
    """``url`` taken apart, if it is a plain HTTPS address: no user, no query, no fragment.

    Raises:
        InputError: it is not.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InputError(f"not an address: {error}", place=place) from error
    odd = parts.username is not None or parts.password is not None or "?" in url or "#" in url or port == 0
    if parts.scheme != "https" or not parts.hostname or odd or not url.isascii() or not url.isprintable() or " " in url:
        raise InputError("must be an https address without user, query or fragment", place=place)
    return parts


class Answer(NamedTuple):
    """What came back, whatever its status; ``media`` is the content type without its parameters, in lower case.

    ``headers`` are by their names in lower case, of several of one name the last.
    """

    status: int
    media: str
    body: bytes
    headers: Mapping[str, str] = {}


class Outbound:
    """Makes guarded requests. ``private_hosts`` are names whose addresses may be private."""

    def __init__(
        self,
        *,
        ca_file: Path | None = None,
        private_hosts: Iterable[str] = (),
        timeout_seconds: float = TIMEOUT_SECONDS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """Trust the system's CAs, and those in ``ca_file`` (PEM) besides.

        Raises:
            InputError: the file cannot be read.
        """
        self._tls = ssl.create_default_context()
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        if ca_file is not None:
            try:
                self._tls.load_verify_locations(ca_file)
            except OSError as error:  # ssl.SSLError is one
                raise InputError(f"no certificates can be read: {error}", place=str(ca_file)) from error
        self._private_hosts = frozenset(name.lower() for name in private_hosts)
        self._timeout = timeout_seconds
        self._max_bytes = max_bytes

    async def get(self, url: str) -> bytes:
        """The body at ``url``.

        Raises:
            OutboundError: refused, unreachable, not 200, too large or too slow.
            InputError: not an https address.
        """
        answer = await self._send("GET", url, _HEADERS, None)
        if answer.status != 200:  # noqa: PLR2004 - redirects too: they lead where nobody has been judged
            raise OutboundError(f"answered {answer.status}", place=url)
        return answer.body

    async def post(self, url: str, body: bytes, *, media: str) -> Answer:
        """What is answered to ``body`` at ``url``, whatever its status.

        Raises:
            OutboundError: refused, unreachable, too large or too slow.
            InputError: not an https address.
        """
        return await self._send("POST", url, [*_POST_HEADERS, ("content-type", media)], body)

    async def ask(
        self, method: str, url: str, *, headers: Mapping[str, str], query: str = "", body: bytes | None = None
    ) -> Answer:
        """What is answered to a request with these headers, which may hold a secret, whatever its status.

        Raises:
            OutboundError: refused, unreachable, too large or too slow.
            InputError: not an https address.
        """
        sent = [*_POST_HEADERS, *headers.items()]
        if body is not None and "content-type" not in headers:
            sent.append(("content-type", "application/json"))
        return await self._send(method, url, sent, body, query=query)

    async def _send(
        self, method: str, url: str, headers: list[tuple[str, str]], body: bytes | None, *, query: str = ""
    ) -> Answer:
        https_url(url, place="address")
        guard = _Guard(self._private_hosts)
        try:
            async with asyncio.timeout(self._timeout):
                return await self._exchange(method, f"{url}?{query}" if query else url, headers, body, guard)
        except TimeoutError:
            raise OutboundError(f"no answer within {self._timeout:g} s", place=url) from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError) as error:
            raise OutboundError(f"cannot be reached: {str(error) or type(error).__name__}", place=url) from error
        finally:
            await guard.close()

    async def _exchange(
        self, method: str, url: str, headers: list[tuple[str, str]], body: bytes | None, guard: "_Guard"
    ) -> Answer:
        async with (
            httpcore.AsyncConnectionPool(ssl_context=self._tls, network_backend=guard) as pool,
            pool.stream(method, url, headers=headers, content=body) as response,
        ):
            answered = bytearray()
            async for part in response.aiter_stream():
                answered += part
                if len(answered) > self._max_bytes:
                    raise OutboundError(f"larger than {self._max_bytes} bytes", place=url)
            named = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
            media = named.get("content-type", "").partition(";")[0].strip().lower()
            return Answer(response.status, media, bytes(answered), named)


class _Guard(httpcore.AsyncNetworkBackend):
    """Connects to judged addresses only."""

    def __init__(self, private_hosts: frozenset[str]) -> None:
        self._private_hosts = private_hosts
        self._backend = httpcore.AnyIOBackend()
        self._stream: httpcore.AsyncNetworkStream | None = None

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface's
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Resolve, judge, connect; the TLS name stays the host's."""
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
        private = host.lower() in self._private_hosts
        for address in addresses:
            if not _may_reach(ipaddress.ip_address(address.partition("%")[0]), private=private):
                raise OutboundError(
                    f"{host} is at {address}, an address that is not public",
                    todo="if an issuer is meant to be there, name its host in outbound.private_hosts",
                )
        failure: Exception | None = None
        for address in addresses:
            try:
                self._stream = await self._backend.connect_tcp(address, port, timeout, local_address, socket_options)
            except httpcore.ConnectError as error:
                failure = error
            else:
                return self._stream
        raise OutboundError(f"{host} cannot be reached: {failure}") from failure

    async def close(self) -> None:
        """Close the connection: the pool forgets one whose handshake was interrupted."""
        if self._stream is not None:
            await self._stream.aclose()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


def _may_reach(address: Address, *, private: bool) -> bool:
    plain = _embedded(address)
    if plain.is_multicast or plain.is_unspecified or any(plain in network for network in _NEVER):
        return False
    return private or plain.is_global


def _embedded(address: Address) -> Address:
    """The IPv4 address that an IPv6 one carries, which is where the packets go; else the address."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
