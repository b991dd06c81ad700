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
        data = b""
        with connection, suppress(OSError):
            while True:
                while b"\r\n\r\n" not in data:
                    if not (chunk := connection.recv(65536)):
                        return
                    data += chunk
                head, _, data = data.partition(b"\r\n\r\n")
                line, *lines = head.decode("latin-1").split("\r\n")
                headers = [(name.lower(), value.strip()) for name, _, value in (one.partition(":") for one in lines)]
                length = int(dict(headers).get("content-length", "0"))
                while len(data) < length:
                    data += connection.recv(65536)
                data = data[length:]
                self.seen.append(Seen(line, headers))
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\nx-service: yes\r\n\r\nthe service")
