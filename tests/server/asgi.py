"""Calling an ASGI application in process, byte for byte: what a client library would tidy up arrives as written."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from starlette.types import ASGIApp, Message


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def call(
    app: ASGIApp,
    method: str,
    path: str,
    body: bytes | object = b"",
    headers: Mapping[str, str] | None = None,
    *,
    query: str = "",
    extensions: Mapping[str, Any] | None = None,
    target: str = "",
) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = dict(headers or {})
    if not isinstance(body, bytes):
        given.setdefault("content-type", "application/json")
    sent: list[Message] = []
    waiting = [{"type": "http.request", "body": content, "more_body": False}]

    async def receive() -> Message:
        return waiting.pop() if waiting else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "target": target.encode("latin-1") if target else path.encode() + (b"?" + query.encode() if query else b""),
        "query_string": query.encode(errors="replace"),
        "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
        "client": ("127.0.0.1", 50_000),
        "scheme": "https",
        "extensions": dict(extensions or {}),
    }
    await app(scope, receive, send)
    start = sent[0]
    return Answer(
        start["status"],
        {name.decode(): value.decode() for name, value in start["headers"]},
        b"".join(message.get("body", b"") for message in sent[1:]),
    )
