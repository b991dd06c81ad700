"""The service behind the gateways: it records each request as it came, byte for byte, and answers that it is there."""

import socket
import threading
from contextlib import suppress
from typing import NamedTuple


class Seen(NamedTuple):
    line: str
    headers: list[tuple[str, str]]

    @property
    def target(self) -> str:
        return self.line.split(" ")[1]

    def header(self, name: str) -> str:
        """The one value of a header; a second one is a fault."""
        found = [value for one, value in self.headers if one == name]
        assert len(found) <= 1, (name, found)
        return found[0] if found else ""


class Service:
    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def stop(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream, suppress(OSError):
            while line := stream.readline().decode("latin-1").rstrip("\r\n"):
                headers = []
                while header := stream.readline().decode("latin-1").rstrip("\r\n"):
                    name, _, value = header.partition(":")
                    headers.append((name.lower(), value.strip()))
                if ("transfer-encoding", "chunked") in headers:
                    while size := int(stream.readline(), 16):
                        stream.read(size + 2)
                    stream.readline()
                else:
                    stream.read(int(dict(headers).get("content-length", "0")))
                self.seen.append(Seen(line, headers))
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\nx-service: yes\r\n\r\nthe service")
