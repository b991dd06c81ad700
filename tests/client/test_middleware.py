"""A service behind the middleware: nothing reaches it that was not proven and decided."""

import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from everproof.client import AsyncClient, Client, DeniedError, HeldToken, UnauthenticatedError
from everproof.client.asgi import EverproofMiddleware
from everproof.client.guard import Caller, caller
from everproof.client.keys import Key
from everproof.client.routes import Found, Rule, table
from everproof.client.wsgi import EverproofWSGI
from everproof.kernel.errors import InputError
from tests.client.conftest import World
from tests.server.asgi import Answer, call

AUDIENCE = "https://orders.example"
RULES = [
    Rule(method="GET", path="/healthz", public=True),
    Rule(method="GET", path="/orders/{id}", action="api:call", resource="Route::orders/{id}"),
    Rule(method="DELETE", path="/orders/{id}", action="server:administer", resource="Server::organisation"),
]


class Service:
    """Says who called; counts who got through."""

    def __init__(self) -> None:
        self.served = 0

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        self.served += 1
        who = caller.get()
        assert scope["everproof"] is who
        name = str(who.subject) if who else "nobody"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": name.encode()})


@pytest.fixture
async def shop(world: World) -> AsyncIterator[AsyncClient]:
    async with world.aclient() as client:
        yield client


@pytest.fixture
def staff(world: World) -> Iterator[Client]:
    with world.client("caller") as client:
        yield client


@pytest.fixture
def outsider(world: World) -> Iterator[Client]:
    with world.client("operator") as client:
        yield client


class Door:
    def __init__(self, client: AsyncClient) -> None:
        self.service = Service()
        self.app = EverproofMiddleware(self.service, client, audience=AUDIENCE, routes=RULES)
        self.nonce = ""

    async def ask(self, who: Client, path: str = "/orders/7", *, method: str = "GET", **more: str) -> Answer:
        """With the nonce that the service wants."""
        if not self.nonce:
            first = await self.send(method, path, who.headers(method, AUDIENCE + path))
            assert first.status == 401
            self.nonce = first.headers["dpop-nonce"]
        return await self.send(method, path, who.headers(method, AUDIENCE + path, nonce=self.nonce) | more)

    async def send(self, method: str, path: str, headers: dict[str, str]) -> Answer:
        return await call(self.app, method, path, headers=headers)


@pytest.fixture
def door(shop: AsyncClient) -> Door:
    return Door(shop)


async def test_who_may_is_let_in_and_known(door: Door, staff: Client) -> None:
    answer = await door.ask(staff)
    assert (answer.status, answer.body) == (200, b'Service::"caller"')
    assert caller.get() is None


async def test_who_may_not_is_told_why(door: Door, outsider: Client) -> None:
    answer = await door.ask(outsider)
    assert answer.status == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["todo"] == "ask for the group staff"
    assert answer.json["extra"]["explanation"]["near"]
    assert answer.json["extra"]["receipt"]["id"]
    assert door.service.served == 0


async def test_nobody_is_asked_who_he_is(door: Door) -> None:
    answer = await door.send("GET", "/orders/7", {})
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("DPoP ")


async def test_what_is_public_is_open(door: Door) -> None:
    answer = await door.send("GET", "/healthz", {})
    assert (answer.status, answer.body) == (200, b"nobody")


@pytest.mark.parametrize("path", ["/orders", "/orders/7/items", "/admin", "/"])
async def test_what_is_in_no_table_is_refused(door: Door, staff: Client, path: str) -> None:
    answer = await door.send("GET", path, staff.headers("GET", AUDIENCE + path))
    assert answer.status == 403
    assert door.service.served == 0


@pytest.mark.parametrize(
    "path", ["/healthz/../orders/7", "//healthz", "/orders/./7", "/orders/7;x", "/orders\\7", "/%2e"]
)
async def test_a_path_of_two_readings_is_refused(door: Door, path: str) -> None:
    assert (await door.send("GET", path, {})).status == 400


async def test_a_replayed_proof_is_refused(door: Door, staff: Client) -> None:
    await door.ask(staff)
    headers = staff.headers("GET", AUDIENCE + "/orders/7", nonce=door.nonce)
    assert (await door.send("GET", "/orders/7", headers)).status == 200
    answer = await door.send("GET", "/orders/7", headers)
    assert answer.status == 401
    assert "used before" in answer.json["detail"]


async def test_a_proof_for_another_request_is_refused(door: Door, staff: Client) -> None:
    await door.ask(staff)
    for method, url in (("DELETE", "/orders/7"), ("GET", "/orders/8")):
        headers = staff.headers(method, AUDIENCE + url, nonce=door.nonce)
        assert (await door.send("GET", "/orders/7", headers)).status == 401


async def test_a_stolen_token_is_worth_nothing_without_its_key(door: Door, staff: Client) -> None:
    await door.ask(staff)
    stolen = staff.headers("GET", AUDIENCE + "/orders/7", nonce=door.nonce)["authorization"]
    token = stolen.removeprefix("DPoP ")
    proof = Key.new().dpop("GET", AUDIENCE + "/orders/7", nonce=door.nonce, token=token)
    answer = await door.send("GET", "/orders/7", {"authorization": stolen, "dpop": proof})
    assert answer.status == 401
    assert "another key" in answer.json["detail"]
    assert (await door.send("GET", "/orders/7", {"authorization": f"Bearer {token}"})).status == 401
    assert (await door.send("GET", "/orders/7", {"authorization": stolen})).status == 401
    assert door.service.served == 1


async def test_a_token_for_another_service_is_refused(door: Door, staff: Client, world: World) -> None:
    await door.ask(staff)
    staff.evaluate("Service::caller", "api:call", "Route::orders")  # it has a token for the server now
    assert staff.session._held is not None
    token = staff.session._held.token
    proof = staff.session.key.dpop("GET", AUDIENCE + "/orders/7", nonce=door.nonce, token=token)
    answer = await door.send("GET", "/orders/7", {"authorization": f"DPoP {token}", "dpop": proof})
    assert answer.status == 401
    assert "somebody else" in answer.json["detail"]


async def test_a_revoked_token_is_refused_at_once(door: Door, staff: Client, outsider: Client) -> None:
    assert (await door.ask(staff)).status == 200
    token = staff.headers("GET", AUDIENCE + "/orders/7")["authorization"].removeprefix("DPoP ")
    outsider.run(outsider.session.ask("POST", "/oauth/revoke", form={"token": token}))
    answer = await door.ask(staff)
    assert answer.status == 401
    assert "not good" in answer.json["detail"]


async def test_a_token_narrowed_to_something_else_is_refused(door: Door, world: World) -> None:
    with world.client("caller") as narrow:
        session = narrow._towards(AUDIENCE)
        form = narrow.run(session._credentials.form(world.server.url))
        assert form is not None
        session._credentials.form = lambda _server: _given(form | {"scope": "secret:read"})  # type: ignore[method-assign, assignment]
        await narrow_first(door, narrow)
        answer = await door.send("GET", "/orders/7", narrow.headers("GET", AUDIENCE + "/orders/7", nonce=door.nonce))
        assert answer.status == 403
        assert "scope" in answer.json["detail"]


async def narrow_first(door: Door, who: Client) -> None:
    first = await door.send("GET", "/orders/7", who.headers("GET", AUDIENCE + "/orders/7"))
    door.nonce = first.headers["dpop-nonce"]


def _given(form: dict[str, str]) -> Any:
    yield from ()
    return form


async def test_with_the_server_away_everything_is_refused(staff: Client, world: World) -> None:
    credentials = HeldToken("token", Key.new())
    async with AsyncClient("https://127.0.0.1:1", credentials, timeout=0.5) as lost:
        door = Door(lost)
        door.app._guard._server = world.server.url
        answer = await door.ask(staff)
        assert answer.status == 503
        assert door.service.served == 0
        assert "127.0.0.1" not in answer.body.decode()


async def test_a_service_that_the_server_does_not_know_serves_nobody(staff: Client, world: World) -> None:
    async with AsyncClient(world.server.url, HeldToken("token", Key.new()), ca=world.ca) as unknown:
        assert (await Door(unknown).ask(staff)).status == 503


async def test_a_fault_in_a_rule_is_not_the_callers(door: Door, staff: Client) -> None:
    door.app._routes = lambda _method, _path: Found(action="api:call", resource="nothing")
    answer = await door.ask(staff)
    assert answer.status == 503
    assert door.service.served == 0


async def test_websockets_are_refused(door: Door) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await door.app({"type": "websocket"}, None, send)  # type: ignore[arg-type]
    assert sent == [{"type": "websocket.close", "code": 1008}]
    assert door.service.served == 0


@pytest.mark.parametrize(
    "rule",
    [
        Rule(method="GET", path="/a"),
        Rule(method="GET", path="/a", action="api:call", resource="Route"),
        Rule(method="GET", path="/a", action="api:call", resource="Route::{id}"),
        Rule(method="GET", path="a", public=True),
    ],
)
def test_a_rule_that_says_nothing_is_none(rule: Rule) -> None:
    with pytest.raises(InputError):
        table([rule])


def test_wsgi(world: World, staff: Client) -> None:
    def service(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield str(caller.get().subject if caller.get() else "nobody").encode()  # type: ignore[union-attr]

    with world.client() as client:
        app = EverproofWSGI(service, client, audience=AUDIENCE, routes=RULES)
        told: dict[str, Any] = {}

        def ask(path: str, **headers: str) -> tuple[str, bytes]:
            def start(status: str, sent: list[tuple[str, str]]) -> None:
                told.update(status=status, headers=dict(sent))

            environ = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": path, "everproof.caller": "forged"}
            environ |= {f"HTTP_{name.upper()}": value for name, value in headers.items()}
            body = b"".join(app(environ, start))
            return told["status"], body

        assert ask("/healthz") == ("200 OK", b"nobody")
        status, body = ask("/orders/7", **staff.headers("GET", AUDIENCE + "/orders/7"))
        assert status == "401 Unauthorized"
        nonce = told["headers"]["dpop-nonce"]
        good = staff.headers("GET", AUDIENCE + "/orders/7", nonce=nonce)
        assert ask("/orders/7", **good) == ("200 OK", b'Service::"caller"')
        assert ask("/orders/7", **good)[0] == "401 Unauthorized"
        twice = staff.headers("GET", AUDIENCE + "/orders/7", nonce=nonce)
        assert (
            ask("/orders/7", authorization=f"{twice['authorization']},x", dpop=twice["dpop"])[0] == "401 Unauthorized"
        )
        status, body = ask("/other", **good)
        assert status == "403 Forbidden"
        assert json.loads(body)["code"] == "denied"
        assert ask("/orders/../healthz")[0] == "400 Bad Request"
        assert caller.get() is None


def test_the_decorator(world: World) -> None:
    with world.client() as client:
        done = []

        @client.requires("api:call", resource=lambda order: f"Route::orders/{order}")
        def ship(order: int) -> int:
            done.append(order)
            return order

        with pytest.raises(UnauthenticatedError):
            ship(1)
        for name, ok in (("alice", True), ("bob", False)):
            before = caller.set(Caller(subject=_user(name), credential="c"))
            try:
                if ok:
                    assert ship(order=2) == 2
                else:
                    with pytest.raises(DeniedError, match="denied") as denied:
                        ship(3)
                    assert denied.value.decision.explanation["near"]
            finally:
                caller.reset(before)
        before = caller.set(Caller(subject=_user("alice"), credential="c", scope=("secret:read",)))
        with pytest.raises(DeniedError, match="scope"):
            ship(4)
        caller.reset(before)
        assert done == [2]
        with pytest.raises(TypeError):

            @client.requires("api:call", resource="Route::orders")
            async def later() -> None: ...

        with pytest.raises(TypeError):

            @client.requires("api:call", resource="Route::orders")
            def stream() -> Iterator[int]:
                yield 1


async def test_the_decorator_of_coroutines(world: World) -> None:
    async with world.aclient() as client:

        @client.requires("api:call", resource="Route::orders", subject=lambda user: f"User::{user}")
        async def ship(user: str) -> str:
            return user

        assert await ship("alice") == "alice"
        with pytest.raises(DeniedError):
            await ship("bob")


def _user(name: str) -> Any:
    from everproof.client import Entity

    return Entity("User", name)


def test_the_middleware_is_quick_to_say_no_to_garbage(shop: AsyncClient) -> None:
    """What is no proof at all is refused here, and the server is not asked."""
    door = Door(shop)
    started = time.monotonic()
    for text in ("", "a", "a.b.c", "..", "e30.e30.e30", "é.é.é"):
        with pytest.raises(UnauthenticatedError):
            door.app._guard.shown([("authorization", "DPoP t"), ("dpop", text)], method="GET", path="/")
    assert time.monotonic() - started < 1
