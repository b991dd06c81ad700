"""The three searches, against a whole server: what they find, and what is tried with them."""

import asyncio
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from everproof.authorize.store import StoredBundle, save_bundle
from everproof.identity import roster
from everproof.kernel.words import Ref
from everproof.policy import load_bundle, starter_files
from everproof.server import authzen_search
from everproof.storage import Transaction
from tests.server.asgi import Answer
from tests.server.client import Client
from tests.server.conftest import Site

POLICY = b"""
@id("secrets/backend")
@title("The backend group reads backend secrets")
permit (principal in Group::"backend", action == Action::"secret:read", resource is Secret)
when { resource has path && resource.path like "backend/*" };

@id("secrets/named")
@title("One secret is for all of the backend group")
permit (
    principal in Group::"backend",
    action in [Action::"secret:read", Action::"secret:list"],
    resource == Secret::"shared"
);

@id("secrets/ticket")
@title("Or with a ticket")
permit (principal in Group::"helpers", action == Action::"secret:read", resource is Secret)
when { context has said && context.said has ticket && context.said.ticket == "FIN-1" };
"""
SCHEMA = b"type Said = { ticket?: String };"
BACKEND = {"type": "Secret", "id": "backend/db", "properties": {"path": "backend/db"}}
READ = {"name": "secret:read"}


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """Nothing here is another on PostgreSQL."""
    return f"sqlite:///{tmp_path / 'search.db'}"


class Point:
    """An enforcement point that searches."""

    def __init__(self, site: Site, client: Client) -> None:
        self.site = site
        self.client = client

    async def ask(self, what: str, **body: Any) -> Answer:
        return await self.client.send("POST", f"/access/v1/search/{what}", body)

    async def found(self, what: str, **body: Any) -> list[Any]:
        answer = await self.ask(what, **body)
        assert answer.status == 200, answer.body
        return [one.get("id") or one["name"] for one in answer.json["results"]]

    async def evaluated(self, **question: Any) -> bool:
        answer = await self.client.send("POST", "/access/v1/evaluation", question)
        return bool(answer.json["decision"])


@pytest.fixture
async def point(site: Site) -> Point:
    files = starter_files() | {"policies/search.cedar": POLICY, "schema/said.cedarschema": SCHEMA}

    def change(tx: Transaction) -> None:
        save_bundle(tx, StoredBundle(load_bundle(files).digest, "", files))
        for name in ("ada", "bob", "carl", "dora"):
            roster.add_principal(tx, Ref("User", name), groups=["backend"] if name in "ada bob dora" else ["helpers"])
        roster.disable(tx, Ref("User", "dora"), "left")

    await site.app.storage.write(change)
    return Point(site, await site.enrolled("Service", "gateway", "enforcement-points"))


def entries(site: Site) -> list[Any]:
    return [json.loads(bytes(one.entry.body)) for one in site.app.ledger.tail(None, 1000) if one.entry]


async def test_who_may_do_it_is_found_and_whoever_is_disabled_is_not(point: Point) -> None:
    assert await point.found("subject", subject={"type": "User"}, action=READ, resource=BACKEND) == ["ada", "bob"]
    answer = await point.ask("subject", subject={"type": "User", "id": "ignored"}, action=READ, resource=BACKEND)
    assert answer.json["results"][0] == {"type": "User", "id": "ada"}
    assert answer.json["page"] == {"next_token": "", "count": 2}


async def test_of_a_type_that_is_on_no_record_nobody_is_found(point: Point) -> None:
    for type_ in ("Job", "user", "Group"):
        assert await point.found("subject", subject={"type": type_}, action=READ, resource=BACKEND) == []


async def test_what_is_known_and_what_is_proposed_is_found_if_it_is_allowed(point: Point) -> None:
    ada = {"type": "User", "id": "ada"}
    asked: dict[str, Any] = {"subject": ada, "action": READ, "resource": {"type": "Secret"}}
    assert await point.found("resource", **asked) == ["shared"]
    proposed = ["plain", {"id": "mine", "properties": {"path": "backend/x"}}, {"type": "Secret", "id": "theirs"}]
    assert await point.found("resource", **asked, context={"candidates": proposed}) == ["mine", "shared"]
    bundle = {
        "subject": {"type": "User", "id": "ada"},
        "action": {"name": "policy:read"},
        "resource": {"type": "Bundle"},
    }
    assert await point.found("resource", **bundle) == []


async def test_what_someone_may_do_is_found(point: Point) -> None:
    ada = {"type": "User", "id": "ada"}
    assert await point.found("action", subject=ada, resource=BACKEND) == ["secret:read"]
    shared = {"type": "Secret", "id": "shared"}
    assert await point.found("action", subject=ada, resource=shared) == ["secret:list", "secret:read"]
    assert await point.found("action", subject={"type": "User", "id": "dora"}, resource=shared) == []


async def test_the_context_counts_as_it_does_in_an_evaluation(point: Point) -> None:
    asked: dict[str, Any] = {"subject": {"type": "User"}, "action": READ, "resource": {"type": "Secret", "id": "x"}}
    assert await point.found("subject", **asked) == []
    assert await point.found("subject", **asked, context={"ticket": "FIN-1"}) == ["carl"]


async def test_a_search_says_what_each_evaluation_says(point: Point) -> None:
    for resource in (BACKEND, {"type": "Secret", "id": "shared"}, {"type": "Secret", "id": "x"}):
        one_by_one = [
            name
            for name in ("ada", "bob", "carl", "dora")
            if await point.evaluated(subject={"type": "User", "id": name}, action=READ, resource=resource)
        ]
        assert await point.found("subject", subject={"type": "User"}, action=READ, resource=resource) == one_by_one


async def test_a_search_is_one_entry_with_what_it_found(point: Point) -> None:
    before = point.site.app.ledger.size
    answer = await point.ask("subject", subject={"type": "User"}, action=READ, resource=BACKEND)
    assert point.site.app.ledger.size == before + 1
    last = entries(point.site)[-1]
    assert (last["action"], last["decision"], last["resource"]) == (
        "decision:ask",
        "allow",
        {"type": "User", "id": "*"},
    )
    detail = last["detail"]
    assert (detail["search"], detail["examined"], detail["found"]) == ("subject", 4, 2)
    assert answer.json["context"]["index"] == before


async def all_pages(point: Point, limit: int, **asked: Any) -> list[list[str]]:
    pages: list[list[str]] = []
    token = ""
    while True:
        answer = await point.ask("subject", **asked, page={"token": token, "limit": limit})
        assert answer.status == 200, answer.body
        pages.append([one["id"] for one in answer.json["results"]])
        assert answer.json["page"]["count"] == len(pages[-1])
        if not (token := answer.json["page"]["next_token"]):
            return pages


async def test_pages_together_are_the_whole_and_end(point: Point, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {"subject": {"type": "User"}, "action": READ, "resource": BACKEND}
    assert await all_pages(point, 1, **asked) == [["ada"], ["bob"], []]
    assert await all_pages(point, 10**9, **asked) == [["ada", "bob"]]
    monkeypatch.setattr(authzen_search, "MAX_EXAMINED", 1)
    assert [id_ for page in await all_pages(point, 10, **asked) for id_ in page] == ["ada", "bob"]
    empty = await point.ask("subject", **asked, page={"limit": 0})
    assert (empty.json["results"], empty.json["page"]["count"]) == ([], 0)


async def test_attack_a_page_token_tells_nothing_and_is_good_for_nothing_else(point: Point) -> None:
    asked: dict[str, Any] = {"subject": {"type": "User"}, "action": READ, "resource": BACKEND}
    token = (await point.ask("subject", **asked, page={"limit": 1})).json["page"]["next_token"]
    assert "ada" not in token
    other = {**asked, "resource": {"type": "Secret", "id": "shared"}}
    forged = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")
    stranger = Point(point.site, await point.site.enrolled("Service", "other", "enforcement-points"))
    for answer in (
        await point.ask("subject", **other, page={"token": token}),
        await point.ask("subject", **asked, page={"token": forged}),
        await point.ask("subject", **asked, page={"token": "x"}),
        await stranger.ask("subject", **asked, page={"token": token}),
    ):
        assert answer.status == 400
        assert b"page.token" in answer.body


async def test_attack_who_may_not_ask_about_others_learns_nothing_by_searching(point: Point) -> None:
    eve = Point(point.site, await point.site.enrolled("Service", "eve"))
    before = point.site.app.ledger.size
    asks = (
        await eve.ask("subject", subject={"type": "User"}, action=READ, resource=BACKEND),
        await eve.ask("resource", subject={"type": "User", "id": "ada"}, action=READ, resource={"type": "Secret"}),
        await eve.ask("action", subject={"type": "User", "id": "ada"}, resource=BACKEND),
        await eve.ask("action", subject={"type": "User", "id": "nobody"}, resource=BACKEND),
    )
    assert [answer.status for answer in asks] == [403] * 4
    assert all(b"ada" not in answer.body or b'"ada"' in answer.body for answer in asks)
    assert point.site.app.ledger.size == before + 4
    assert {entry["decision"] for entry in entries(point.site)[-4:]} == {"deny"}
    own = await eve.found("action", subject={"type": "Service", "id": "eve"}, resource={"type": "Service", "id": "eve"})
    assert "identity:read" in own


async def test_attack_a_narrowed_token_does_not_search(point: Point) -> None:
    assert (await point.client.send("POST", "/access/v1/search/subject", {}, token="")).status == 401


async def test_attack_a_huge_directory_does_not_stall_the_others(point: Point, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others get their turn at least every so many decisions."""
    ids = [f"u{number:05}" for number in range(20_000)]
    monkeypatch.setattr("everproof.server.authzen_candidates.Candidates.principals", lambda _self, _type: ids)
    turns: list[int] = []
    supposed = 0
    suppose = point.site.app.authorizer.suppose

    def counted(*given: Any, **more: Any) -> bool:
        nonlocal supposed
        supposed += 1
        return suppose(*given, **more)

    monkeypatch.setattr(point.site.app.authorizer, "suppose", counted)
    sleep = asyncio.sleep

    async def yielding(seconds: float) -> None:
        turns.append(supposed)
        await sleep(seconds)

    monkeypatch.setattr("asyncio.sleep", yielding)
    answer = await point.ask("subject", subject={"type": "User"}, action=READ, resource=BACKEND)
    assert answer.json["results"] == []
    assert answer.json["page"]["next_token"]
    assert supposed <= authzen_search.MAX_EXAMINED + 1
    assert max(after - before for before, after in pairwise(turns)) <= authzen_search.TOGETHER


async def test_bad_candidates_and_pages_are_refused_with_their_place(point: Point) -> None:
    asked: dict[str, Any] = {"action": READ, "subject": {"type": "User", "id": "ada"}, "resource": {"type": "Secret"}}
    bad: list[Any] = [1, {"id": "x"}, ["x"] * 501, [""], [{"type": "Route", "id": "x"}], [{"id": "x", "properties": 1}]]
    for candidates in bad:
        answer = await point.ask("resource", **asked, context={"candidates": candidates})
        assert (answer.status, answer.headers["content-type"]) == (400, "text/plain; charset=utf-8")
        assert b"context.candidates" in answer.body
    pages: list[Any] = [1, {"limit": -1}, {"limit": "2"}, {"token": 1}, {"token": "x" * 9000}]
    for page in pages:
        answer = await point.ask("resource", **asked, page=page)
        assert (answer.status, b"page" in answer.body) == (400, True)


async def test_discovery_names_the_searches(point: Point) -> None:
    told = (await point.client.send("GET", "/.well-known/authzen-configuration")).json
    for what in ("subject", "resource", "action"):
        assert told[f"search_{what}_endpoint"] == f"{told['policy_decision_point']}/access/v1/search/{what}"
        assert (await point.client.send("POST", f"/access/v1/search/{what}", {})).status == 400


async def test_repositories_are_found_on_the_disk_and_no_link_leads_out(tmp_path: Path, point: Point) -> None:
    from everproof.server.authzen_candidates import Candidates

    for name in ("team/app.git", "outside/secret.git"):
        for part in ("objects", "refs"):
            (tmp_path / name / part).mkdir(parents=True)
        (tmp_path / name / "HEAD").write_text("ref: refs/heads/main\n")
    root = tmp_path / "team"
    (root / "link.git").symlink_to(tmp_path / "outside/secret.git")
    app = point.site.app
    candidates = Candidates(app.identity.directory, lambda: app.bundles.current, issuer="https://x", repositories=root)
    assert candidates.resources("Repository") == ["app"]
    assert candidates.resources("Audience") == ["https://x"]
    assert sorted(candidates.resources("Secret")) == ["shared"]
    assert "ada" in candidates.resources("User")


def test_the_answers_are_what_the_standard_names() -> None:
    found = authzen_search.FoundEntities((authzen_search.Entity("User", "ada"),), authzen_search.PageInfo("", 1), {})
    assert json.loads(msgspec.json.encode(found)) == {
        "results": [{"type": "User", "id": "ada"}],
        "page": {"next_token": "", "count": 1},
        "context": {},
    }
