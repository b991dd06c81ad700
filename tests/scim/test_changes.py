"""Versions, PATCH in all its ways, bulk, and what a leaver loses."""

import asyncio
from datetime import timedelta
from typing import Any

from everproof.identity import roster
from everproof.identity.records import Credential
from everproof.kernel.ids import new_id
from everproof.kernel.words import Ref
from tests.scim.conftest import ENTERPRISE, GROUP, PATCH, URL, USER, Site
from tests.server.client import Client

BULK = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"


async def test_versions_keep_two_who_change_the_same_apart(site: Site) -> None:
    corp = await site.directory()
    made = await corp.create("a@example.com")
    place, version = f"/Users/{made['id']}", made["meta"]["version"]
    same = await corp.send("GET", place, if_none_match=version)
    assert (same.status, same.body, same.headers["etag"]) == (304, b"", version)
    first = await corp.patch(place, {"op": "add", "path": "title", "value": "A"}, if_match=version)
    assert first.status == 200
    late = await corp.patch(place, {"op": "add", "path": "title", "value": "B"}, if_match=version)
    assert (late.status, late.json["status"]) == (412, "412")
    assert (await corp.send("DELETE", place, if_match=version)).status == 412
    assert (await corp.send("GET", place, if_none_match=version)).status == 200
    both = await asyncio.gather(
        *(corp.patch(place, {"op": "add", "path": "title", "value": str(at)}) for at in range(4))
    )
    assert {one.status for one in both} == {200}  # without a condition, each is made upon what is there
    team = await corp.group("team", made["id"])
    now = await corp.send("GET", place, if_none_match=both[-1].headers["etag"])
    assert now.status == 200  # the person is in a group that they were not in
    await corp.send("DELETE", f"/Groups/{team['id']}", if_match="*")
    assert (await corp.send("DELETE", place, if_match="*")).status == 204


async def test_patch_in_all_its_ways(quick: Site) -> None:
    corp = await quick.directory()
    made = await corp.create("a@example.com", emails=[{"type": "work", "value": "a@example.com", "primary": True}])
    place = f"/Users/{made['id']}"

    async def after(*operations: dict[str, Any]) -> dict[str, Any]:
        answer = await corp.patch(place, *operations)
        assert answer.status == 200, answer.body
        found: dict[str, Any] = answer.json
        return found

    told = await after({"op": "add", "path": "emails", "value": [{"type": "home", "value": "h@example.com"}]})
    assert [one["value"] for one in told["emails"]] == ["a@example.com", "h@example.com"]
    told = await after({"op": "replace", "path": 'emails[type eq "home"].primary', "value": True})
    assert [one.get("primary") for one in told["emails"]] == [False, True]  # one is preferred, and no two
    told = await after({"op": "remove", "path": 'emails[value ew "@example.com" and primary eq false]'})
    assert [one["value"] for one in told["emails"]] == ["h@example.com"]
    told = await after({"op": "add", "value": {"name": {"givenName": "A"}, f"{ENTERPRISE}": {"division": "D"}}})
    told = await after({"op": "replace", "path": "name.familyName", "value": "B"}, {"op": "remove", "path": "emails"})
    assert (told["name"], told[ENTERPRISE], "emails" in told) == (
        {"givenName": "A", "familyName": "B"}, {"division": "D"}, False,
    )  # fmt: skip
    told = await after({"op": "remove", "path": f"{ENTERPRISE}:division"})
    assert ENTERPRISE not in told["schemas"]
    before = await corp.get(place)
    for operations, word in (
        ([{"op": "replace", "path": "id", "value": "x"}], "mutability"),
        ([{"op": "remove", "path": "userName"}], "mutability"),
        ([{"op": "remove"}], "noTarget"),
        ([{"op": "add", "path": "nickName"}], "invalidValue"),
        ([{"op": "move", "path": "nickName", "value": "x"}], "invalidValue"),
        ([{"op": "replace", "path": "emails[", "value": "x"}], "invalidPath"),
        ([{"op": "replace", "path": 'emails[type eq "work"].value', "value": "x@example.com"}], "noTarget"),
        ([{"op": "add", "path": "title", "value": "kept?"}, {"op": "remove", "path": "userName"}], "mutability"),
    ):
        answer = await corp.patch(place, *operations)
        assert (answer.status, answer.json.get("scimType")) == (400, word), (operations, answer.body)
    assert await corp.get(place) == before  # all of a PATCH, or nothing


async def test_members_by_every_path(quick: Site) -> None:
    corp = await quick.directory()
    ids = [(await corp.create(f"u{at}@example.com"))["id"] for at in range(4)]
    inner = await corp.group("inner", ids[3])
    team = await corp.group("team", *ids[:3], inner["id"])
    place = f"/Groups/{team['id']}"
    directory = quick.app.identity.directory
    assert set(directory.ancestors(directory.record(Ref("User", "u3@example.com")).groups)) == {
        "corp/inner",
        "corp/team",
    }

    async def members(*operations: dict[str, Any]) -> set[int]:
        answer = await corp.patch(place, *operations)
        assert answer.status == 204, answer.body
        told = (await corp.get(place)).get("members", [])
        return {ids.index(one["value"]) if one["value"] in ids else -1 for one in told}

    assert await members({"op": "remove", "path": f'members[value eq "{ids[0]}" or value eq "{ids[1]}"]'}) == {2, -1}
    assert await members({"op": "remove", "path": 'members[type eq "Group"]'}) == {2}
    assert directory.ancestors(directory.record(Ref("User", "u3@example.com")).groups) == ("corp/inner",)
    assert await members({"op": "add", "value": {"members": [{"value": ids[0]}], "displayName": "Team"}}) == {0, 2}
    assert await members({"op": "replace", "path": "members", "value": [{"value": ids[1]}]}) == {1}
    assert await members({"op": "remove", "path": "members"}) == set()
    round_ = await corp.patch(
        f"/Groups/{inner['id']}", {"op": "add", "path": "members", "value": [{"value": inner["id"]}]}
    )
    assert round_.status == 400  # a group is not in itself
    for path in ("members.value", f'members[value eq "{ids[0]}"].type'):
        assert (await corp.patch(place, {"op": "replace", "path": path, "value": "x"})).json[
            "scimType"
        ] == "invalidPath"
    nobody = await corp.patch(place, {"op": "add", "path": "members", "value": [{"value": "scim_nobody"}]})
    assert (nobody.status, nobody.json["scimType"]) == (400, "invalidValue")


async def test_bulk_resolves_what_it_makes_and_stops_where_it_is_told(site: Site) -> None:
    corp = await site.directory()

    def user(name: str, bulk_id: str, **more: Any) -> dict[str, Any]:
        return {"method": "POST", "path": "/Users", "bulkId": bulk_id,
                "data": {"schemas": [USER], "userName": name, **more}}  # fmt: skip

    team = {"schemas": [GROUP], "displayName": "Team", "members": [{"value": "bulkId:a"}, {"value": "bulkId:b"}]}
    operations = [
        {"method": "POST", "path": "/Groups", "bulkId": "t", "data": team},
        user("a@example.com", "a", **{ENTERPRISE: {"manager": {"value": "bulkId:b"}}}),
        user("b@example.com", "b"),
        {"method": "PATCH", "path": "/Users/bulkId:b",
         "data": {"schemas": [PATCH], "Operations": [{"op": "add", "path": "title", "value": "B"}]}},
        user("a@example.com", "again"),
        {"method": "DELETE", "path": "/Users/nobody"},
    ]  # fmt: skip
    answer = await corp.send("POST", "/Bulk", {"schemas": [BULK], "Operations": operations})
    assert answer.status == 200
    told = answer.json["Operations"]
    assert [one["status"] for one in told] == ["201", "201", "201", "200", "409", "404"]
    assert told[4]["response"]["scimType"] == "uniqueness"
    assert told[2]["version"].startswith('W/"')
    assert told[0]["location"].endswith(told[0]["location"].rsplit("/", 1)[-1])
    record = site.app.identity.directory.record(Ref("User", "a@example.com"))
    assert (record.groups, record.attributes["manager"]) == (("corp/team",), {"type": "User", "id": "b@example.com"})
    assert [one["context"]["provisions"] for one in site.entries() if one["action"] == "identity:provision"] == [
        "create", "create", "create", "change",
    ]  # fmt: skip

    few = [
        user("a@example.com", "1"),
        user("c@example.com", "2"),
        user("b@example.com", "3"),
        user("d@example.com", "4"),
    ]
    stopped = await corp.send("POST", "/Bulk", {"schemas": [BULK], "failOnErrors": 2, "Operations": few})
    assert [one["status"] for one in stopped.json["Operations"]] == ["409", "201", "409"]
    circle = [
        user("x@example.com", "x", **{ENTERPRISE: {"manager": {"value": "bulkId:y"}}}),
        user("y@example.com", "y", **{ENTERPRISE: {"manager": {"value": "bulkId:x"}}}),
    ]
    round_ = await corp.send("POST", "/Bulk", {"schemas": [BULK], "Operations": circle})
    assert [one["status"] for one in round_.json["Operations"]] == ["409", "409"]
    for body in (
        {"schemas": [BULK], "Operations": [{"method": "GET", "path": "/Users"}]},
        {"schemas": [BULK], "Operations": [{"method": "POST", "path": "/Bulk", "bulkId": "1", "data": {}}]},
    ):
        answer = await corp.send("POST", "/Bulk", body)
        assert [one["status"] for one in answer.json["Operations"]] == ["400"]


async def test_who_leaves_loses_everything_and_whoever_comes_back_gets_none_of_it_again(site: Site) -> None:
    corp = await site.directory()
    made = await corp.create("a@example.com", externalId="1", emails=[{"type": "work", "value": "a@example.com"}])
    place, ref, app = f"/Users/{made['id']}", Ref("User", "a@example.com"), site.app
    token = Credential(
        id=new_id("cred"), parent=None, kind="access-token", principal=ref, key=None, issued=site.clock.now(),
        expires=site.clock.now() + timedelta(hours=1),
    )  # fmt: skip
    await app.storage.write(lambda tx: app.identity.credentials.issue(tx, token))
    assert (await corp.patch(place, {"op": "replace", "path": "active", "value": False})).status == 200
    assert not app.identity.credentials.is_live(token.id)
    assert (await corp.patch(place, {"op": "replace", "path": "active", "value": True})).json["active"] is True
    assert app.identity.directory.principal(ref) is not None
    assert not app.identity.credentials.is_live(token.id)
    assert (await corp.send("DELETE", place)).status == 204
    assert app.identity.directory.of_external("scim:corp", "1") is None
    assert app.identity.directory.of_email("a@example.com") is None

    # Whoever is called so later is somebody else.
    again = await corp.create("a@example.com", externalId="1", emails=[{"type": "work", "value": "a@example.com"}])
    assert again["id"] != made["id"]
    assert app.identity.directory.of_email("a@example.com") == Ref("User", "a@example.com-2")
    assert app.identity.directory.principal(ref) is None


async def test_whom_an_administrator_disabled_no_directory_brings_back(quick: Site) -> None:
    corp, directory = await quick.directory(), quick.app.identity.directory
    first = await corp.create("a@example.com", active=True)
    later = await corp.create("b@example.com", active=False)
    places = [f"/Users/{one['id']}" for one in (first, later)]
    for name in ("a@example.com", "b@example.com"):  # also of somebody whom the directory has let go before
        await quick.app.storage.write(lambda tx, name=name: roster.disable(tx, Ref("User", name), "disabled"))
    assert [(await corp.get(place))["active"] for place in places] == [False, False]
    for value in (False, True):
        for place in places:
            answer = await corp.patch(place, {"op": "replace", "path": "active", "value": value})
            assert (answer.status, answer.json["active"]) == (200, False)
    assert directory.principal(Ref("User", "a@example.com")) is None
    assert directory.principal(Ref("User", "b@example.com")) is None


async def test_a_person_sees_what_is_said_of_them_and_changes_none_of_it(quick: Site) -> None:
    corp = await quick.directory()
    made = await corp.create("a@example.com", title="Head")
    client = Client(quick.doors, URL, quick.clock)
    await quick.app.storage.write(lambda tx: roster.add_client_key(tx, Ref("User", "a@example.com"), client.jwk))
    assert (await client.credentials("user:a@example.com")).status == 200
    mine = await client.send("GET", "/scim/v2/Me")
    assert (mine.status, mine.json["id"], mine.json["title"]) == (200, made["id"], "Head")
    for method in ("PUT", "PATCH", "DELETE"):
        answer = await client.send(method, "/scim/v2/Me", {"schemas": [USER], "userName": "root"})
        assert answer.status == 403
    assert (await client.send("GET", f"/scim/v2/Users/{made['id']}")).status == 403
    assert (await client.send("GET", "/scim/v2/Users")).status == 403
