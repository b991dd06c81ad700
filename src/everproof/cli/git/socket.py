"""Asking the server by the unix socket of its state folder. The standard library alone: hooks must start at once."""

import http.client
import json
import re
import socket
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final

ANSWER_SECONDS: Final = 30.0
"""Longer than the server takes for anything, so that it is the server that says what took too long."""
MAX_ANSWER: Final = 1024 * 1024
"""Bytes. A refusal of a thousand refs is below it."""

_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e\u00a1-\u1fff\u2010-\u2027\u2030-\u205e\u2190-\ud7ff\uf900-\ufffc]")


class UnansweredError(Exception):
    """There is no decision: the server cannot be reached, refuses to answer, or answers nonsense."""

    def __init__(self, message: str, todo: str = "") -> None:
        super().__init__(message)
        self.todo = todo


def ask(server: str, path: str, question: Mapping[str, Any]) -> dict[str, Any]:
    """The server's answer to ``question``; ``server`` is the path of its unix socket.

    Raises:
        UnansweredError: no answer, or none that can be read.
    """
    connection = _Connection(server)
    try:
        connection.request("POST", path, json.dumps(question), {"Content-Type": "application/json"})
        response = connection.getresponse()
        body = response.read(MAX_ANSWER + 1)
        status = response.status
    except (OSError, http.client.HTTPException) as error:
        raise UnansweredError(
            f"the server that decides cannot be reached ({_reason(error)})",
            "try again; if it goes on, tell whoever runs it: `everproof doctor` on the server finds out more",
        ) from error
    finally:
        connection.close()
    try:
        answer = json.loads(body) if len(body) <= MAX_ANSWER else None
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise UnansweredError(f"the server's answer (status {status}) cannot be read", "tell whoever runs it")
    if status != 200:  # noqa: PLR2004
        raise UnansweredError(
            str(answer.get("detail") or f"the server answered {status}"), str(answer.get("todo") or "")
        )
    return answer


def say(lines: Iterable[str]) -> None:
    """Print to the pusher's terminal what is safe to print: names and messages are other people's choice."""
    for line in lines:
        print(_UNPRINTABLE.sub("?", line).rstrip(), file=sys.stderr)
    sys.stderr.flush()


class _Connection(http.client.HTTPConnection):
    def __init__(self, server: str) -> None:
        super().__init__("localhost", timeout=ANSWER_SECONDS)
        self._server = server

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._server)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(getattr(error, "strerror", None) or str(error) or type(error).__name__)
