"""A server that is not one, or not well: nothing that it says is a yes."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from everproof.client import Client, Decision, Entity, HeldToken, InputError, Question, UnauthenticatedError
from everproof.client.answers import entity
from everproof.client.keys import Key, verified
from everproof.client.session import BACKOFF
from everproof.kernel.errors import Error, UnavailableError
from tests.client.conftest import World

YES = b'{"decision":true,"context":{"id":"ent_1","index":1}}'
Answers = Callable[..., Client]


class Fake:
    """Answers whatever it is told to, byte for byte, over TLS with the certificate of the real server."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.reply = b""
        self.slow = 0.0
        self.asked = 0
        self._listener = socket.create_server(("localhost", 0))
        self.port = self._listener.getsockname()[1]
        self._context = context
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._ended.is_set():
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            with raw:
                try:
                    with self._context.wrap_socket(raw, server_side=True) as connection:
                        connection.settimeout(5)
                        connection.recv(65536)
                        self.asked += 1
                        if self.slow:
                            for byte in self.reply:
                                connection.send(bytes([byte]))
                                time.sleep(self.slow)
                        else:
                            connection.sendall(self.reply)
                except OSError:
                    continue

    def stop(self) -> None:
        self._ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


@pytest.fixture
def fake(world: World) -> Iterator[Fake]:
    state = Path(world.folder / "state")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(state / "server.pem")
    made = Fake(context)
    yield made
    made.stop()


def client(world: World, fake: Fake, timeout: float = 1.0) -> Client:
    return Client(f"https://localhost:{fake.port}", HeldToken("t", Key.new()), ca=world.ca, timeout=timeout)


def http(body: bytes, status: str = "200 OK", media: str = "application/json") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: {media}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    return head.encode() + body


def ask(asking: Client) -> Decision:
    with asking:
        return asking.evaluate("User::alice", "api:call", "Route::orders")


def test_the_fake_can_say_yes(world: World, fake: Fake) -> None:
    fake.reply = http(YES)
    assert ask(client(world, fake)).allowed


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"true",
        b'"true"',
        b"{}",
        b'{"decision":1}',
        b'{"decision":"true"}',
        b'{"decision":true}',
        b'{"decision":true,"context":{}}',
        b'{"decision":true,"context":{"id":1,"index":1}}',
        b'{"decision":true,"context":{"id":"e","index":"1"}}',
        b'{"decision":true,"context":null}',
        b'{"decision":true,"context":{"id":"e","index":1},"more":1}',
        b'{"decision":false,"decision":true,"context":{"id":"e","index":1}}',
        b'{"decision":true,"context":{"id":"e","index":1,"error":{"status":500}}}',
        b'{"decision":true,"context":{"id":"e","index":1,"would_deny":"no"}}',
        b'{"decision":true,"context":{"id":"e","index":1,"cache_seconds":"60"}}',
        YES[:-1],
        b"[" * 100_000,
        b"<html>",
    ],
)
def test_what_cannot_be_read_is_no_yes(world: World, fake: Fake, body: bytes) -> None:
    fake.reply = http(body)
    with pytest.raises(UnavailableError):
        ask(client(world, fake))


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (http(YES, "500 Internal Server Error"), UnavailableError),
        (http(YES, "503 Service Unavailable"), UnavailableError),
        (http(YES, "302 Found"), UnavailableError),
        (http(YES, "204 No Content"), InputError),
        (http(YES, media="text/html"), UnavailableError),
        (http(YES, "400 Bad Request"), InputError),
        (http(YES, "401 Unauthorized"), UnauthenticatedError),
        (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n" + YES, UnavailableError),
        (b"nonsense\r\n\r\n", UnavailableError),
        (b"", UnavailableError),
        (http(b" " * 9_000_000 + YES), UnavailableError),
    ],
)
def test_another_status_is_no_yes(world: World, fake: Fake, reply: bytes, error: type[Error]) -> None:
    fake.reply = reply
    with pytest.raises(error):
        ask(client(world, fake))


def test_a_server_that_drips_is_given_up_in_time(world: World, fake: Fake) -> None:
    fake.reply, fake.slow = http(YES), 0.02
    started = time.monotonic()
    with pytest.raises(UnavailableError):
        ask(client(world, fake, timeout=0.5))
    assert time.monotonic() - started < 5  # the head may drip for a while: httpx waits for it as a whole


def test_a_busy_server_is_asked_again_within_the_deadline(world: World, fake: Fake) -> None:
    fake.reply = http(b"busy", "503 Service Unavailable", "text/plain")
    with pytest.raises(UnavailableError, match="busy"):
        ask(client(world, fake, timeout=10))
    assert fake.asked == len(BACKOFF) + 1


def test_another_certificate_authority_is_not_believed(world: World, fake: Fake) -> None:
    fake.reply = http(YES)
    with (
        Client(f"https://localhost:{fake.port}", HeldToken("t", Key.new()), timeout=1) as other,
        pytest.raises(UnavailableError),
    ):
        other.evaluate("User::alice", "api:call", "Route::orders")


def test_a_batch_with_an_answer_too_few_is_none(world: World, fake: Fake) -> None:
    fake.reply = http(json.dumps({"evaluations": [json.loads(YES)]}).encode())
    question = Question("User::alice", "api:call", "Route::orders")
    with client(world, fake) as asking:
        assert asking.evaluations([question])[0].allowed
        for semantic in ("execute_all", "deny_on_first_deny"):
            with pytest.raises(UnavailableError):
                asking.evaluations([question, question], semantic=semantic)
        assert len(asking.evaluations([question, question], semantic="permit_on_first_permit")) == 1


@pytest.mark.parametrize(
    "server", ["http://pdp.example", "pdp.example", "https://", "https://a.example/x", "https://u@a"]
)
def test_an_address_that_is_no_servers_is_refused(server: str) -> None:
    with pytest.raises(InputError):
        Client(server, HeldToken("t", Key.new()))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("User::alice", Entity("User", "alice")),
        ('User::"alice"', Entity("User", "alice")),
        ('A::B::"x::y"', Entity("A::B", "x::y")),
        ("Job::github/7/x::y", Entity("Job", "github/7/x::y")),
    ],
)
def test_names_of_entities(text: str, found: Entity) -> None:
    assert entity(text) == found


@pytest.mark.parametrize("text", ["alice", "::", "User::", "::alice", "", 'User::""'])
def test_what_names_nothing(text: str) -> None:
    with pytest.raises(InputError):
        entity(text)


def test_nothing_secret_is_in_a_repr(world: World) -> None:
    key = Key.new()
    with Client("https://pdp.example", HeldToken("s3cret", key)) as found:
        text = f"{found!r} {found.session!r} {found.session._credentials!r} {found.session._held!r} {key!r}"
    assert "s3cret" not in text
    assert "PRIVATE" not in text


def test_proofs_are_what_others_verify() -> None:
    from joserfc import jwt
    from joserfc.jwk import ECKey

    key = Key.new()
    proof = key.dpop("GET", "https://a.example/", nonce="n", token="t")
    public: Any = ECKey.import_key(dict(key.jwk))
    assert jwt.decode(proof, public).claims["nonce"] == "n"
    assert verified(proof)[1]["htu"] == "https://a.example/"
    with pytest.raises(InputError):
        verified(proof[:-4] + "AAAA")
