"""Rules that hold for every door of a whole server: who has no token learns nothing, and garbage breaks nothing."""

import json
import secrets
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from everproof.server.http.body import MAX_BODY
from tests.server.asgi import Answer, call
from tests.server.client import Client
from tests.server.conftest import Site

Case = schemathesis.Case[Any]

GARBAGE = [
    b"",
    b"\x00\xff\xfe",
    b"{",
    b"null",
    b"[]",
    b'{"a":' * 10_000,
    b'{"type":"User","id":"\\ud800"}',
    b"grant_type=%00&=&==&token=%80",
    json.dumps({"subject": {"type": "User", "id": "x" * 5000}, "action": {"name": "\u0000"}, "resource": {}}).encode(),
]


async def operations(site: Site) -> list[tuple[str, str, dict[str, Any]]]:
    document = (await call(site.doors, "GET", "/openapi.json")).json
    return [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def filled(path: str, value: str = "x") -> str:
    return "/".join(value if part.startswith("{") else part for part in path.split("/"))


async def test_every_door_that_needs_a_proof_refuses_without_one(site: Site) -> None:
    for method, path, operation in await operations(site):
        if "security" not in operation:
            continue
        for headers in ({}, {"authorization": "Bearer x"}, {"authorization": "DPoP x.y.z", "dpop": "a.b.c"}):
            media = next(iter(operation.get("requestBody", {}).get("content", {"application/json": 0})))
            body = b"token=x" if "form" in media else b"{}"
            answer = await call(site.doors, method, filled(path), body, {"content-type": media, **headers})
            if answer.status == 303:  # a page, whose reader signs in first
                assert answer.headers["location"].startswith("/login"), path
                continue
            assert answer.status in {400, 401}, (method, path, answer)
            if answer.status == 401:
                assert answer.headers["www-authenticate"].startswith("DPoP"), path


@pytest.mark.parametrize("proven", [False, True])
async def test_garbage_at_every_endpoint_is_no_fault_of_ours(site: Site, proven: bool) -> None:
    client = await site.enrolled("Service", "gateway", "administrators")
    for method, path, _ in await operations(site):
        for body in GARBAGE:
            for media in ("application/json", "application/x-www-form-urlencoded", "text/plain"):
                where = filled(path, secrets.choice(["x", "%00", "..", "-1", "ent_", "x" * 300]))
                answer = await _send(client, method, where, body, media, proven=proven)
                assert answer.status < 500, (method, where, body[:40], media, answer)


async def test_a_body_beyond_the_limit_is_413_at_every_endpoint(site: Site) -> None:
    client = await site.enrolled("Service", "gateway", "administrators")
    body = b'{"x":"' + b"x" * MAX_BODY + b'"}'
    for method, path, operation in await operations(site):
        if (content := operation.get("requestBody", {}).get("content")) is None:
            continue
        media = next(iter(content))
        answer = await _send(client, method, filled(path), body, media, proven="security" in operation)
        assert answer.status == 413, (method, path, answer)


async def test_the_same_document_is_served_and_a_ledger_is_read(site: Site) -> None:
    client = await site.enrolled("Service", "gateway", "administrators")
    page = await client.send("GET", "/v1/ledger/entries", query="limit=1")
    assert page.status == 200, page.body
    [entry] = page.json["entries"]
    one = await client.send("GET", f"/v1/ledger/entries/{entry['id']}")
    assert one.json["id"] == entry["id"]
    proof = await call(site.doors, "GET", f"/v1/ledger/entries/{entry['index']}/proof")
    assert (proof.status, proof.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    exported = await client.send("GET", "/v1/ledger/export", query="limit=2")
    assert [json.loads(line)["index"] for line in exported.body.splitlines()] == [0, 1]
    stranger = await site.enrolled("Service", "stranger")
    assert (await stranger.send("GET", "/v1/ledger/entries")).status == 403
    disclosed = f"/v1/ledger/entries/{entry['index']}/proof"
    assert (await stranger.send("GET", disclosed, query="disclose=true")).status == 403


async def test_tiles_are_static_files_for_anyone(site: Site) -> None:
    await site.enrolled("Service", "gateway")
    await site.app.ledger.publish()
    note = await call(site.doors, "GET", "/checkpoint")
    size = int(note.body.splitlines()[1])
    assert note.headers["cache-control"] == "public, max-age=5"
    tile = await call(site.doors, "GET", f"/tile/0/000.p/{size}")
    assert (tile.status, len(tile.body)) == (200, 32 * size)
    assert "immutable" in tile.headers["cache-control"]
    entries = await call(site.doors, "GET", f"/tile/entries/000.p/{size}")
    assert len(entries.body) == 34 * size
    for path in ("/tile/0/000", f"/tile/0/000.p/{size + 1}", "/tile/0/0", "/tile/00/000.p/1", "/tile/0/../0"):
        assert (await call(site.doors, "GET", path)).status == 404, path


async def test_the_ruling_bundle_is_told_and_thought_through(site: Site) -> None:
    client = await site.enrolled("Service", "gateway", "administrators")
    ruling = (await client.send("GET", "/v1/policy")).json
    assert "secrets/builders" in {one["id"] for one in ruling["policies"]}
    thought = await client.send(
        "POST",
        "/v1/policy/explain",
        {
            "subject": {"type": "User", "id": "nobody"},
            "action": {"name": "secret:read"},
            "resource": {"type": "Secret", "id": "1"},
            "facts": {"mfa_age": 11_520},
        },
    )
    assert thought.json["allowed"] is False
    assert "mfa_age" in thought.json["text"]
    assert (await client.send("POST", "/v1/policy/apply", {})).status == 404


async def test_authorize_is_entered_once_for_an_evaluation(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    client = await site.enrolled("Service", "gateway", "enforcement-points")
    calls: list[str] = []

    def watched(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def spy(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, spy)

    watched(site.app.authorizer, "authorize")
    watched(site.app.authorizer.engine, "decide")
    watched(site.app.ledger, "append")
    question = {
        "subject": {"type": "User", "id": "alice"},
        "action": {"name": "secret:read"},
        "resource": {"type": "Secret", "id": "1"},
    }
    await client.send("POST", "/access/v1/evaluation", question)
    assert calls[:3] == ["authorize", "decide", "append"]
    assert set(calls[3:]) <= {"decide"}, "what would turn a denial is asked once it is recorded"


async def test_schemathesis_finds_no_server_error(site: Site) -> None:
    """Requests generated from the document, sent with a good token and a fresh proof each."""
    client = await site.enrolled("Service", "gateway", "administrators")
    document = (await call(site.doors, "GET", "/openapi.json")).json
    schema = schemathesis.openapi.from_dict(document)
    found: list[Case] = []
    for result in schema.get_all_operations():
        strategy = result.ok().as_strategy()  # type: ignore[union-attr]  # an Err would fail the test as well

        def collect(case: Case) -> None:
            found.append(case)

        bounded = settings(
            max_examples=8,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        bounded(given(strategy)(collect))()
    assert len(found) > 100
    answers = [(case, await _replay(client, case)) for case in found]
    for case, answer in answers:
        assert answer.status < 500, (case.method, case.formatted_path, case.body, case.query, answer)
    known = sum(answer.status != 401 for _, answer in answers)
    assert known > 0.8 * len(answers), "the token and its proofs do not hold, so nothing was tried"


async def _replay(client: Client, case: Case) -> Answer:
    prepared = case.as_transport_kwargs(base_url="https://everproof.example")
    body = b""
    if "json" in prepared and prepared["json"] is not None:
        body = json.dumps(prepared["json"]).encode()
    elif isinstance(prepared.get("data"), bytes):
        body = prepared["data"]
    elif prepared.get("data"):
        body = "&".join(f"{name}={value}" for name, value in dict(prepared["data"]).items()).encode(errors="replace")
    query = "&".join(f"{name}={value}" for name, value in (case.query or {}).items())
    media = case.media_type or "application/json"
    return await _send(client, case.method.upper(), case.formatted_path, body, media, proven=True, query=query)


async def _send(
    client: Client, method: str, path: str, body: bytes, media: str, *, proven: bool, query: str = ""
) -> Answer:
    headers = {"content-type": media}
    if proven:
        headers |= {"authorization": f"DPoP {client.token}", "dpop": client.proof(method, path, client.token)}

    return await call(client.app, method, path, body, headers, query=query)
