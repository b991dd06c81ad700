"""A platform's API on this machine, over HTTPS with a CA of its own."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tests.issuer import _tls


class Asked(NamedTuple):
    """A request as it came: ``headers`` by their names in lower case, ``body`` as the JSON it was, else None.

    ``content`` is its bytes.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: Any
    content: bytes = b""


class Said(Exception):  # noqa: N818 - an answer, not an error
    """The answer, from wherever it is clear; a body that is text is sent as it is, any other as JSON."""

    def __init__(self, status: int, body: Any = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.status, self.body, self.headers = status, body, dict(headers or {})


class Api(Protocol):
    """What a fake does: answers a request."""

    asked: list[Asked]

    def answer(self, asked: Asked) -> Said:
        """What is said to this request."""
        ...


class Served(NamedTuple):
    """Where a fake is, and whom it is certified by."""

    url: str
    ca_file: Path


@contextmanager
def serving(api: Api, folder: Path) -> Iterator[Served]:
    """The API, answering while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            path, _, query = self.path.partition("?")
            length = int(self.headers.get("content-length") or 0)
            content = self.rfile.read(length)
            headers = {name.lower(): value for name, value in self.headers.items()}
            try:
                body = json.loads(content) if content else None
            except ValueError:
                body = content
            asked = Asked(self.command, path, query, headers, body, content)
            api.asked.append(asked)
            try:
                said = api.answer(asked)
            except Said as early:
                said = early
            plain = isinstance(said.body, str)
            answer = b"" if said.body is None else (said.body if plain else json.dumps(said.body)).encode()
            self.send_response(said.status)
            self.send_header("content-type", f"{'text/plain' if plain else 'application/json'}; charset=utf-8")
            for name, value in said.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815 - the base class's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    ca_file = folder / "ca.pem"
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = _tls(folder, ca_file).wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="fake api", daemon=True)
    thread.start()
    try:
        yield Served(f"https://127.0.0.1:{server.server_port}", ca_file)
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
