"""Each test is named for the attack. What is refused is refused in SCIM's own form, and never is anything let in."""

import json
import time
from typing import Any

import msgspec
import pytest
from sqlalchemy import insert, select

from everproof.identity import roster
from everproof.identity.directory import PRINCIPALS
from everproof.identity.provisioners import MAX_FAILURES, new_secret, provisioner_jwk
from everproof.identity.store import principals
from everproof.kernel.canonical import encode
from everproof.kernel.ids import new_id
from everproof.kernel.words import Ref
from everproof.provisioning.store import resources
from everproof.storage import Transaction
from tests.scim.conftest import GROUP, PATCH, USER, Directory, Site
from tests.server.client import Client

BULK = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
BOUND_SECONDS = 5.0


@pytest.fixture
async def corp(quick: Site) -> Directory:
    return await quick.directory()


def is_refused(answer: Any, status: int, word: str = "") -> bool:
    said = answer.json
    return bool(
        answer.status == status and said["schemas"] == [ERROR] and said["status"] == str(status)
        and said.get("scimType", "") == word and answer.headers["content-type"] == "application/scim+json"
    )  # fmt: skip


async def test_filter_bombs_are_refused_in_bounded_time(corp: Directory) -> None:
    await corp.create("a@example.com")
    deep = "(" * 1000 + "userName pr" + ")" * 1000
    began = time.monotonic()
    for filter_ in (
        deep,
        "not (" * 1000 + "userName pr" + ")" * 1000,
        " and ".join(["userName pr"] * 1000),
        'userName eq "' + "a" * 100_000 + '"',
        "emails[" * 500 + 'type eq "x"' + "]" * 500,
        "(" * 1900,
    ):
        assert is_refused(await corp.send("GET", "/Users", query={"filter": filter_}), 400, "invalidFilter"), filter_[
            :40
        ]
        body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "filter": filter_}
        assert is_refused(await corp.send("POST", "/.search", body), 400, "invalidFilter")
    assert time.monotonic() - began < BOUND_SECONDS


async def test_path_bombs_are_refused_in_bounded_time(corp: Directory) -> None:
    made = await corp.create("a@example.com")
    place = f"/Users/{made['id']}"
    began = time.monotonic()
    bomb = "emails[" + "(" * 1000 + 'type eq "x"' + ")" * 1000 + "].value"
    assert is_refused(await corp.patch(place, {"op": "replace", "path": bomb, "value": "x"}), 400, "invalidPath")
    assert is_refused(await corp.patch(place, {"op": "replace", "value": {bomb: "x"}}), 400, "invalidPath")
    many = [{"op": "add", "path": "title", "value": str(at)} for at in range(2000)]
    assert is_refused(await corp.patch(place, *many), 413, "tooMany")
    storm = [{"op": "remove", "path": f'members[value eq "{at}"]'} for at in range(40_000)]
    assert is_refused(await corp.patch("/Groups/x", *storm), 413, "tooMany")
    body = json.dumps({"schemas": [PATCH], "Operations": [{"op": "add", "path": "name", "value": 0}]}).replace(
        ": 0", ": " + '{"a":' * 5000 + "1" + "}" * 5000
    )
    assert is_refused(await corp.send("PATCH", place, body.encode()), 400, "invalidSyntax")
    assert time.monotonic() - began < BOUND_SECONDS


async def test_bodies_that_are_too_large_or_not_json_or_of_another_kind(corp: Directory) -> None:
    assert is_refused(await corp.send("POST", "/Users", b" " * 5_000_000), 413)
    assert is_refused(await corp.send("POST", "/Users", b"{"), 400, "invalidSyntax")
    assert is_refused(await corp.send("POST", "/Users", b'{"userName":"a","userName":"b"}'), 400, "invalidSyntax")
    assert is_refused(await corp.send("POST", "/Users", [1]), 400, "invalidSyntax")
    assert is_refused(await corp.send("POST", "/Users", b"<a/>", media="text/xml"), 415)
    assert is_refused(await corp.send("POST", "/Users", {"schemas": [USER], "userName": 7}), 400, "invalidValue")
    assert is_refused(await corp.send("POST", "/Users", {"schemas": [USER]}), 400, "invalidValue")
    large = {"schemas": [USER], "userName": "a", "nickName": "x" * 70_000}
    assert is_refused(await corp.send("POST", "/Users", large), 400, "invalidValue")
    assert is_refused(await corp.send("PUT", "/Users", {}), 405)
    assert is_refused(await corp.send("POST", "/Nothing", {}), 404)
    assert is_refused(await corp.send("GET", "/Users", query="count=one"), 400, "invalidValue")
    assert is_refused(await corp.send("GET", "/Users", query="filter=a&filter=b"), 400, "invalidValue")


@pytest.mark.parametrize("path", ["/Bulk", "/Users", "/Groups/.search"])
async def test_bodies_that_are_too_deep_are_refused_before_anything_walks_through_them(
    corp: Directory, path: str
) -> None:
    deep: Any = "x"
    for level in range(480):
        deep = [deep] if level % 2 else {"a": deep}
    operation = {"method": "POST", "path": "/Users", "bulkId": "a", "data": {"userName": "bob", "nested": deep}}
    body = {"schemas": [BULK], "Operations": [operation]} if path == "/Bulk" else {"schemas": [USER], "nested": deep}
    assert is_refused(await corp.send("POST", path, body), 400, "invalidSyntax")


async def test_a_bulk_searches_nothing(corp: Directory) -> None:
    search = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "filter": "title pr"}
    operation = {"method": "POST", "path": "/Users/.search", "bulkId": "a", "data": search}
    answer = await corp.send("POST", "/Bulk", {"schemas": [BULK], "Operations": [operation]})
    assert [one["status"] for one in answer.json["Operations"]] == ["400"]


async def test_names_that_look_like_another_or_hide_something_are_nobodys(corp: Directory) -> None:
    hidden = ["alice\u200b@example.com", "alice\u202e", "\u0000", "alice\n"]
    other = ["\u0430lice@example.com", "\uff41lice", "ali ce", "", "a" * 200, "../x"]
    for name in (*hidden, *other):
        answer = await corp.send("POST", "/Users", {"schemas": [USER], "userName": name})
        assert is_refused(answer, 400, "invalidValue"), answer.body
    assert (await corp.get("/Users"))["totalResults"] == 0


async def test_text_that_cannot_be_seen_is_refused_and_foreign_letters_are_not(quick: Site, corp: Directory) -> None:
    for hidden in ("A\u202eb", "A\u0007", "A\ue000", "A\u2028B"):
        body = {"schemas": [USER], "userName": "a@example.com", "displayName": hidden}
        assert is_refused(await corp.send("POST", "/Users", body), 400, "invalidValue")
        body = {"schemas": [USER], "userName": "a@example.com", "nickName": hidden}
        assert is_refused(await corp.send("POST", "/Users", body), 400, "invalidValue")
    await corp.create("a@example.com", displayName="Ωραία 北京", addresses=[{"formatted": "1 High St\nLondon"}])
    look_alike = await corp.group("\u0430dministrators")
    plain = await corp.group("Administrators")
    told = {one.id for one in quick.app.identity.directory.groups()}
    assert "administrators" not in told
    assert "corp/administrators" in told
    assert look_alike["id"] != plain["id"]
    assert sum(one.startswith("corp/") for one in told) == 2


async def test_two_people_with_one_address_are_a_conflict(quick: Site, corp: Directory) -> None:
    mine = [{"type": "work", "value": "A@Example.com"}]
    made = await corp.create("a@example.com", emails=mine, externalId="1")
    other = {"schemas": [USER], "userName": "b@example.com", "emails": [{"value": "a@example.com", "primary": True}]}
    assert is_refused(await corp.send("POST", "/Users", other), 409, "uniqueness")
    other = {"schemas": [USER], "userName": "b@example.com", "externalId": "1"}
    assert is_refused(await corp.send("POST", "/Users", other), 409, "uniqueness")
    twice = await corp.send(
        "PUT", f"/Users/{made['id']}", {"schemas": [USER], "userName": "a@example.com", "emails": [*mine, *mine]}
    )
    assert twice.status == 200  # one person's own address twice is once
    private = [{"type": "home", "value": "private@example.org"}]
    await corp.create("c@example.com", emails=private)
    assert quick.app.identity.directory.of_email("private@example.org") is None  # nobody commits as it


async def test_a_directory_takes_over_nobody_whom_another_keeps(quick: Site, corp: Directory) -> None:
    await quick.app.storage.write(lambda tx: roster.add_principal(tx, Ref("User", "root"), groups=("administrators",)))
    assert is_refused(await corp.send("POST", "/Users", {"schemas": [USER], "userName": "root"}), 409, "uniqueness")
    mine = await corp.create("a@example.com")
    other = await quick.directory("other")
    assert is_refused(
        await other.send("POST", "/Users", {"schemas": [USER], "userName": "A@example.com"}), 409, "uniqueness"
    )
    place = f"/Users/{mine['id']}"
    for answer in (
        await other.send("GET", place),
        await other.send("DELETE", place),
        await other.patch(place, {"op": "replace", "path": "active", "value": False}),
        await other.send("GET", f"/Groups/{mine['id']}"),
    ):
        assert is_refused(answer, 404)
    assert (await other.get("/Users"))["totalResults"] == 0
    stolen = await other.send(
        "POST", "/Groups", {"schemas": [GROUP], "displayName": "g", "members": [{"value": mine["id"]}]}
    )
    assert is_refused(stolen, 400, "invalidValue")


async def test_a_stolen_secret_makes_no_administrator_and_lets_none_be_somebody_else(
    quick: Site, corp: Directory
) -> None:
    made = await corp.create("root@example.com", externalId="1")
    team = await corp.group("operators", made["id"])
    await quick.app.storage.write(lambda tx: roster.put_group(tx, "corp/operators", groups=("administrators",)))
    directory, ref = quick.app.identity.directory, Ref("User", "root@example.com")
    principal = directory.principal(ref)
    assert principal is not None
    assert Ref("Group", "administrators") in principal.parents
    mallory = await corp.create("mallory@example.com")
    place, join = f"/Groups/{team['id']}", {"op": "add", "path": "members", "value": [{"value": mallory["id"]}]}
    inner = await corp.group("inner", mallory["id"])
    for answer in (
        await corp.patch(place, join),
        await corp.patch(place, {"op": "add", "path": "members", "value": [{"value": inner["id"]}]}),
        await corp.send(
            "PUT", place, {"schemas": [GROUP], "displayName": "operators", "members": [{"value": mallory["id"]}]}
        ),
        await corp.patch(f"/Users/{made['id']}", {"op": "replace", "path": "externalId", "value": "mine"}),
    ):
        assert is_refused(answer, 403), answer.body
    assert directory.record(Ref("User", "mallory@example.com")).groups == ("corp/inner",)
    # A leaver is out, whoever they were, even where the rest of what is said of them is not to be changed.
    out = await corp.patch(f"/Users/{made['id']}", {"op": "replace", "value": {"active": False, "externalId": "mine"}})
    assert out.status == 403
    assert directory.principal(ref) is None
    assert directory.record(ref).external_id == "1"
    back = await corp.patch(f"/Users/{made['id']}", {"op": "replace", "path": "active", "value": True})
    assert is_refused(back, 403)
    assert (await corp.patch(place, {"op": "remove", "path": "members"})).status == 204


async def test_a_secret_is_good_for_nothing_else_and_ends(quick: Site, corp: Directory) -> None:
    from tests.server.asgi import call

    bearer = {"authorization": f"Bearer {corp.secret}"}
    for path in ("/v1/identity/me", "/v1/identity/principals", "/access/v1/evaluation"):
        assert (await call(quick.doors, "GET", path, headers=bearer)).status in {401, 405}
    key = quick.app.identity.directory.keys_of(Ref("Service", "corp"))[0]
    assert key.twin is None  # nobody signs or logs in by what is sent about
    found = quick.app.identity.directory.client("service:corp")
    assert found is not None
    assert list(found[1]) == []
    assert corp.secret not in json.dumps(quick.entries())
    renewed = Directory(quick.doors, new_secret())
    ref = Ref("Service", "corp")
    await quick.app.storage.write(lambda tx: roster.add_client_key(tx, ref, provisioner_jwk(renewed.secret)))
    assert {(await one.send("GET", "/Users")).status for one in (corp, renewed)} == {200}
    await quick.app.storage.write(lambda tx: roster.revoke_key(tx, key.name, "superseded"))
    assert is_refused(await corp.send("GET", "/Users"), 401)
    assert (await renewed.send("GET", "/Users")).status == 200


async def test_guessing_secrets_is_slowed_down(quick: Site, corp: Directory) -> None:
    guess = Directory(quick.doors, new_secret())
    statuses = [(await guess.send("GET", "/Users")).status for _ in range(MAX_FAILURES + 2)]
    assert statuses == [401] * MAX_FAILURES + [429] * 2
    for scheme in ("Basic YTpi", "Bearer x", "", "Bearer esc_"):
        answer = await guess.send("GET", "/Users", authorization=scheme)
        assert is_refused(answer, answer.status)
        assert answer.status in {401, 429}


async def test_a_service_that_is_no_provisioner_and_a_person_keep_nobody(quick: Site) -> None:
    stranger = await quick.directory("billing", provisions=False)
    assert is_refused(await stranger.send("GET", "/Users"), 403)
    assert is_refused(await stranger.send("POST", "/Users", {"schemas": [USER], "userName": "a"}), 403)
    assert is_refused(await stranger.send("POST", "/Groups", {"schemas": [GROUP], "displayName": "a"}), 403)
    client = Client(quick.doors, "https://everproof.example", quick.clock)

    def add(tx: Transaction) -> None:
        roster.register_client(tx, Ref("Service", "sync"), [client.jwk], groups=("provisioners",))

    await quick.app.storage.write(add)
    assert (await client.credentials("service:sync")).status == 200
    assert (await client.send("GET", "/scim/v2/Users")).status == 200  # our usual tokens are as good
    made = await client.send("POST", "/scim/v2/Users", {"schemas": [USER], "userName": "a@example.com"})
    assert made.status == 201
    assert is_refused(await client.send("GET", "/scim/v2/Me"), 404)


async def test_ten_thousand_members_come_and_go(quick: Site, corp: Directory) -> None:
    first = await corp.create("u0@example.com")
    refs = [Ref("User", f"u{at}@example.com") for at in range(10_000)]
    ids = [first["id"], *(new_id("scim") for _ in refs[1:])]

    def fill(tx: Transaction) -> None:
        """As if each had been created: what is said of them is not looked at here."""
        row = tx.connection.execute(select(resources)).mappings().one()
        record = quick.app.identity.directory.record(refs[0])
        rows = [dict(row) | {"id": id_, "key": ref.id, "record": ref.id} for id_, ref in zip(ids, refs, strict=True)]
        people = [msgspec.structs.replace(record, ref=ref, emails=()) for ref in refs[1:]]
        tx.connection.execute(insert(resources), rows[1:])
        bodies = [(one.ref, encode(one)) for one in people]
        tx.connection.execute(
            insert(principals), [{"type": "User", "id": ref.id, "body": body} for ref, body in bodies]
        )
        for ref, body in bodies:
            tx.publish(PRINCIPALS, str(ref), body)

    await quick.app.storage.write(fill)
    members = [{"value": one} for one in ids]
    began = time.monotonic()
    made = await corp.send("POST", "/Groups", {"schemas": [GROUP], "displayName": "all", "members": members})
    assert made.status == 201
    place = f"/Groups/{made.json['id']}"
    took = time.monotonic() - began
    began = time.monotonic()
    assert (await corp.patch(place, {"op": "remove", "path": f'members[value eq "{ids[0]}"]'})).status == 204
    one = time.monotonic() - began
    assert (await corp.patch(place, {"op": "remove", "path": "members"})).status == 204
    assert quick.app.identity.directory.record(refs[5]).groups == ()
    assert took < 15
    assert one < BOUND_SECONDS
