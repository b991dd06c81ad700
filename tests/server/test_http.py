import asyncio
import json
from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openapi_spec_validator import validate
from starlette.types import Message, Receive, Scope, Send

from everproof.kernel.errors import RefusedError
from everproof.server.health import Health
from everproof.server.http import Application, BareRoute, Call, Reply, Route
from everproof.server.http.body import MAX_BODY
from everproof.server.http.call import send_json
from everproof.server.http.route import Declaration
from tests.server.asgi import Answer, call

JSON = {"content-type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An order."""

    count: int
    note: str = ""


class Page(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    after: int = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 10


class Exchange(msgspec.Struct, frozen=True):
    grant_type: str
    scope: str = ""
    resource: tuple[str, ...] = ()


async def place(body: Order, shelf: str) -> Order:
    """Place an order.

    On a shelf.
    """
    return Order(body.count, shelf)


async def browse(query: Page) -> Page:
    """Browse."""
    return query


async def exchange(form: Exchange) -> Exchange:
    """Exchange."""
    return form


async def burst(call: Call) -> Reply:
    """Burst."""
    raise ZeroDivisionError(f"the secret is hunter2, {call.path}")


async def refuse() -> Reply:
    """Refuse."""
    raise RefusedError("not you", place="here", todo="ask")


async def dawdle() -> Reply:
    """Dawdle."""
    await asyncio.Event().wait()
    return Reply()


async def hot(scope: Scope, _receive: Receive, send: Send) -> None:
    await send_json(scope, send, b'{"count":1}')


@pytest.fixture
def app() -> Application:
    return Application(
        [
            *Health({"storage": lambda: None}).routes(),
            Route("POST", "/shelves/{shelf}/orders", place, door="shop"),
            Route("GET", "/orders", browse, door="shop"),
            Route("POST", "/exchange", exchange, door="shop"),
            Route("GET", "/burst", burst, door="shop"),
            Route("GET", "/refuse", refuse, door="shop"),
            Route("GET", "/dawdle", dawdle, door="shop"),
            BareRoute(
                hot, Declaration(method="POST", path="/hot", summary="Hot", door="shop", body=Order, answers=(Order,))
            ),
        ],
        title="a shop",
        version="1",
        seconds=0.05,
    )


async def test_struct_in_and_struct_out(app: Application) -> None:
    answer = await call(app, "POST", "/shelves/top/orders", {"count": 2}, {"x-request-id": "abc-1"})
    assert (answer.status, answer.json) == (200, {"count": 2, "note": "top"})
    assert answer.headers["x-request-id"] == "abc-1"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("body", "place", "detail"),
    [
        (b'{"count":"2"}', "body: count", "Expected `int`, got `str`"),
        (b'{"count":true}', "body: count", "Expected `int`, got `bool`"),
        (b'{"count":1.0}', "body: count", "Expected `int`, got `float`"),
        (b'{"count":1,"colour":"red"}', "body", "Object contains unknown field `colour`"),
        (b'{"count":1,"count":2}', "body", "an object has the same key twice"),
        (b'{"count":1,"note":"a","n\\u006fte":"b"}', "body", "an object has the same key twice"),
        (b"", "body", "not JSON: Input data was truncated"),
        (b"[" * 100_000, "body", "Expected `object`, got `array`"),
    ],
)
async def test_what_is_not_strictly_of_the_type_is_refused(
    app: Application, body: bytes, place: str, detail: str
) -> None:
    answer = await call(app, "POST", "/shelves/top/orders", body, JSON)
    assert answer.status == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.json["place"], answer.json["detail"]) == (place, detail)


@pytest.mark.parametrize("media", [None, "text/plain", "application/json; charset=utf-16", "multipart/form-data"])
async def test_another_content_type_is_415(app: Application, media: str | None) -> None:
    headers = {"content-type": media} if media else {}
    assert (await call(app, "POST", "/shelves/top/orders", b'{"count":1}', headers)).status == 415


@pytest.mark.parametrize(
    "media", ["application/json", "application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"']
)
async def test_json_in_utf8_is_read_however_it_is_spelt(app: Application, media: str) -> None:
    answer = await call(app, "POST", "/shelves/top/orders", b'{"count":1}', {"content-type": media})
    assert answer.status == 200


async def test_a_body_beyond_the_limit_is_413_and_never_held(app: Application) -> None:
    chunk = b"x" * 65_536
    left = 1600

    async def receive() -> Message:
        nonlocal left
        left -= 1
        return {"type": "http.request", "body": chunk, "more_body": left > 0}

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/shelves/a/orders",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }
    await app(scope, receive, send)
    assert sent[0]["status"] == 413
    assert left == 0


async def test_a_body_that_would_be_too_large_gets_no_leave_to_be_sent(app: Application) -> None:
    async def receive() -> Message:
        raise AssertionError("asked for the body, which gives leave to send it")

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    length = str(MAX_BODY + 1).encode()
    headers = [(b"content-type", b"application/json"), (b"expect", b"100-continue"), (b"content-length", length)]
    scope = {"type": "http", "method": "POST", "path": "/shelves/a/orders", "query_string": b"", "headers": headers}
    await app(scope, receive, send)
    assert sent[0]["status"] == 413


async def test_query_is_typed_and_bounded(app: Application) -> None:
    assert (await call(app, "GET", "/orders", query="after=5&limit=100")).json == {"after": 5, "limit": 100}
    for query in ("limit=1000", "limit=0", "after=x", "colour=red", "after=1&after=2", "&&", "after=%ff"):
        assert (await call(app, "GET", "/orders", query=query)).status == 400, query


async def test_form_repeats_only_where_its_type_does(app: Application) -> None:
    answer = await call(app, "POST", "/exchange", b"grant_type=x&resource=a&resource=b&scope=", FORM)
    assert answer.json == {"grant_type": "x", "scope": "", "resource": ["a", "b"]}
    twice = await call(app, "POST", "/exchange", b"grant_type=x&grant_type=y", FORM)
    assert (twice.status, twice.json["place"]) == (400, "form: grant_type")
    many = b"&".join(b"f%d=1" % number for number in range(1000))
    assert (await call(app, "POST", "/exchange", many, FORM)).status == 400


async def test_nothing_of_an_exception_reaches_the_caller(app: Application) -> None:
    answer = await call(app, "GET", "/burst")
    assert answer.status == 500
    assert b"hunter2" not in answer.body
    assert b"ZeroDivision" not in answer.body
    assert answer.json["request"] == answer.headers["x-request-id"]


async def test_errors_of_ours_are_problem_details(app: Application) -> None:
    answer = await call(app, "GET", "/refuse")
    assert answer.status == 403
    assert answer.json == {
        "type": "urn:everproof:error:refused",
        "title": "Refused",
        "status": 403,
        "detail": "not you",
        "code": "refused",
        "place": "here",
        "todo": "ask",
    }


async def test_an_endpoint_that_hangs_is_ended(app: Application) -> None:
    assert (await call(app, "GET", "/dawdle")).status == 503


async def test_paths_and_methods(app: Application) -> None:
    assert (await call(app, "GET", "/nowhere")).status == 404
    wrong = await call(app, "DELETE", "/shelves/a/orders")
    assert (wrong.status, wrong.headers["allow"]) == (405, "POST")
    assert (await call(app, "HEAD", "/orders")).status == 200
    assert (await call(app, "POST", "/hot", {"count": 1}, {"x-request-id": "1"})).headers["x-request-id"] == "1"


@pytest.mark.parametrize("value", ["a b", "\x7f", "x" * 129, ""])
async def test_a_request_id_that_could_forge_a_log_line_is_not_echoed(app: Application, value: str) -> None:
    assert "x-request-id" not in (await call(app, "GET", "/healthz", headers={"x-request-id": value})).headers


async def test_the_document_is_valid_and_has_the_bare_route(app: Application) -> None:
    answer = await call(app, "GET", "/openapi.json")
    document = json.loads(answer.body)
    validate(document)
    assert document["paths"]["/hot"]["post"]["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/Order"
    }
    assert document["components"]["schemas"]["Order"]["additionalProperties"] is False
    [limit] = [one for one in document["paths"]["/orders"]["get"]["parameters"] if one["name"] == "limit"]
    assert limit["schema"]["maximum"] == 100


async def test_readiness_says_why_not() -> None:
    app = Application(Health({"ledger": lambda: "a rollback was found"}).routes(), title="", version="")
    answer = await call(app, "GET", "/readyz")
    assert (answer.status, answer.json) == (
        503,
        {"ready": False, "reasons": {"ledger": "a rollback was found"}, "warnings": {}},
    )


@given(st.binary(max_size=200))
def test_garbage_never_becomes_a_fault(body: bytes) -> None:
    async def run() -> list[Answer]:
        app = Application(
            [
                Route("POST", "/shelves/{shelf}/orders", place, door="shop"),
                Route("POST", "/exchange", exchange, door="shop"),
                Route("GET", "/orders", browse, door="shop"),
            ],
            title="",
            version="",
        )
        return [
            await call(app, "POST", "/shelves/a/orders", body, JSON),
            await call(app, "POST", "/exchange", body, FORM),
            await call(app, "GET", "/orders", query=body.decode("latin-1")),
        ]

    assert all(answer.status < 500 for answer in asyncio.run(run()))
