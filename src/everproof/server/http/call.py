"""One HTTP request as an endpoint sees it, and what it may answer when a struct is not enough."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from starlette.types import Message, Scope, Send

from everproof.identity.certificates import Presented
from everproof.kernel.errors import InputError

JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"

_REQUEST_ID: Final = re.compile(rb"[\x21-\x7e]{1,128}")
"""An id that a caller may choose: visible ASCII, short enough to stand in a log line."""


class Peer(NamedTuple):
    """The process at the other end of the unix socket, as the kernel names it."""

    pid: int
    uid: int
    gid: int


class Call:
    """One request. Its body has been read and decoded before an endpoint sees it."""

    __slots__ = ("scope",)

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    @property
    def method(self) -> str:
        """The method, in capitals."""
        return str(self.scope["method"])

    @property
    def path(self) -> str:
        """The decoded path."""
        return str(self.scope["path"])

    @property
    def peer(self) -> Peer | None:
        """Who is at the other end, where the request came by the unix socket."""
        extensions = self.scope.get("extensions")
        peer = extensions.get("peer") if extensions else None
        return Peer(**peer) if peer else None

    @property
    def certificate(self) -> Presented | None:
        """The certificate that the peer of this connection has shown, whoever that is."""
        return certificate_of(self.scope)

    @property
    def client(self) -> str:
        """The caller's network address; empty on the unix socket."""
        client = self.scope.get("client")
        return str(client[0]) if client and self.peer is None else ""

    def header(self, name: bytes) -> str | None:
        """The one value of a header, named in lower case.

        Raises:
            InputError: the header stands there twice, so that two readers could take different values.
        """
        return self.headers(name, name)[0]

    def headers(self, one: bytes, other: bytes) -> tuple[str | None, str | None]:
        """The values of two headers, in one pass; as `header`."""
        found = picked(self.scope, (one, other))
        return _text(found.get(one)), _text(found.get(other))


def certificate_of(scope: Scope) -> Presented | None:
    """The certificate that the peer of a request's connection has shown; of a proxy's request, the proxy's."""
    extensions = scope.get("extensions")
    shown: Presented | None = extensions.get("certificate") if extensions else None
    return shown


def picked(scope: Scope, wanted: Collection[bytes]) -> dict[bytes, bytes]:
    """The headers that are wanted, in one pass.

    Raises:
        InputError: as `Call.header`.
    """
    found: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in wanted:
            if name in found:
                raise InputError("the header is given more than once", place=f"header {name.decode()}")
            found[name] = value
    return found


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


class Reply:
    """An answer with a status, a media type or headers of its own."""

    __slots__ = ("body", "cookies", "headers", "media", "status")

    def __init__(
        self,
        body: bytes = b"",
        *,
        status: int = 200,
        media: str = JSON,
        headers: Mapping[str, str] | None = None,
        cookies: Sequence[str] = (),
    ) -> None:
        """``cookies`` are values of ``Set-Cookie``, the one header that may stand there more than once."""
        self.body = body
        self.status = status
        self.media = media
        self.headers = headers or {}
        self.cookies = cookies

    @classmethod
    def of(
        cls, value: Any, *, status: int = 200, media: str = JSON, headers: Mapping[str, str] | None = None
    ) -> "Reply":
        """``value`` as JSON."""
        return cls(_ENCODER.encode(value), status=status, media=media, headers=headers)


_ENCODER: Final = msgspec.json.Encoder()

SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)
"""On every answer: what a browser might make of it, it may not."""

_NO_STORE: Final = (b"cache-control", b"no-store")
_JSON_HEADERS: Final = [(b"content-type", JSON.encode()), *SECURITY_HEADERS, _NO_STORE]


def request_id(scope: Scope) -> bytes | None:
    """The caller's own ``X-Request-ID``, where it is one that can be echoed."""
    if "request_id" not in scope:
        given = next((value for key, value in scope["headers"] if key == b"x-request-id"), b"")
        scope["request_id"] = given if _REQUEST_ID.fullmatch(given) else None
    found: bytes | None = scope["request_id"]
    return found


async def send_json(scope: Scope, send: Send, body: bytes, more: tuple[tuple[bytes, bytes], ...] = ()) -> None:
    """Answer 200 with JSON, and ``more`` headers of our own: the short way, for bare routes."""
    headers = [*_JSON_HEADERS, *more, (b"content-length", b"%d" % len(body))]
    if (echo := request_id(scope)) is not None:
        headers.append((b"x-request-id", echo))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_reply(scope: Scope, send: Send, reply: Reply) -> None:
    """Answer with ``reply``, not to be stored by anyone unless it says otherwise."""
    headers = [(name.lower().encode(), _header_value(value)) for name, value in reply.headers.items()]
    given = {name for name, _ in headers}
    headers.extend((b"set-cookie", _header_value(value)) for value in reply.cookies)
    if reply.body:
        headers.append((b"content-type", reply.media.encode()))
    headers.append((b"content-length", b"%d" % len(reply.body)))
    headers.extend(header for header in (*SECURITY_HEADERS, _NO_STORE) if header[0] not in given)
    if b"x-request-id" not in given and (echo := request_id(scope)) is not None:
        headers.append((b"x-request-id", echo))
    start: Message = {"type": "http.response.start", "status": reply.status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": reply.body})


def _header_value(text: str) -> bytes:
    """The bytes of a header's value; a line's end in it would begin a header of someone else's choice."""
    if not text.isprintable():
        raise ValueError("a header's value has a control character")
    return text.encode("latin-1")


def address_of(scope: Scope) -> str:
    """Where the connection comes from; nothing on the unix socket."""
    client = scope.get("client")
    return "" if client is None else str(client[0])
