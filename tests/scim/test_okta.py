"""What Okta sends, in the shapes that its documentation publishes: its importer, its users, its group push."""

from typing import Any

import pytest

from everproof.kernel.words import Ref
from tests.scim.conftest import GROUP, PATCH, USER, Directory, Site


def profile(**changes: Any) -> dict[str, Any]:
    """A whole user as Okta pushes one."""
    return {
        "schemas": [USER],
        "userName": "isaac.brock@example.com",
        "name": {"givenName": "Isaac", "familyName": "Brock"},
        "emails": [{"primary": True, "value": "isaac.brock@example.com", "type": "work"}],
        "displayName": "Isaac Brock",
        "locale": "en-US",
        "externalId": "00ujl29u0le5T6Aj10h7",
        "groups": [],
        "password": "1mz050nq",
        "active": True,
        **changes,
    }


@pytest.fixture
async def okta(quick: Site) -> Directory:
    return await quick.directory("okta", dialect="okta")


async def test_a_user_is_looked_for_made_changed_and_ended(quick: Site, okta: Directory) -> None:
    asked = {"filter": 'userName eq "isaac.brock@example.com"', "startIndex": 1, "count": 100}
    none = await okta.get("/Users", **asked)
    assert (none["totalResults"], none["startIndex"], none["Resources"]) == (0, 1, [])
    made = await okta.send("POST", "/Users", profile())
    assert made.status == 201
    assert "password" not in made.json
    id_ = made.json["id"]
    assert (await okta.get("/Users", **asked))["totalResults"] == 1
    ref = Ref("User", "isaac.brock@example.com")
    record = quick.app.identity.directory.record(ref)
    assert (record.source, record.external_id, record.name) == ("scim:okta", "00ujl29u0le5T6Aj10h7", "Isaac Brock")
    assert quick.app.identity.directory.of_external("scim:okta", "00ujl29u0le5T6Aj10h7") == ref

    # Okta puts the whole user, with what only we say and with its id.
    put = await okta.send(
        "PUT", f"/Users/{id_}", profile(id=id_, title="Singer", meta={"resourceType": "User"}, active="true")
    )
    assert (put.status, put.json["title"], put.json["active"]) == (200, "Singer", True)
    assert quick.app.identity.directory.record(ref).attributes["title"] == "Singer"

    ended = await okta.patch(f"/Users/{id_}", {"op": "replace", "value": {"active": False}})
    assert (ended.status, ended.json["active"]) == (200, False)
    assert quick.app.identity.directory.principal(ref) is None
    back = await okta.patch(f"/Users/{id_}", {"op": "replace", "value": {"active": "true"}})
    assert back.json["active"] is True
    assert quick.app.identity.directory.principal(ref) is not None


async def test_a_user_who_is_there_already_is_a_conflict(okta: Directory) -> None:
    assert (await okta.send("POST", "/Users", profile())).status == 201
    again = await okta.send("POST", "/Users", profile(userName="Isaac.Brock@example.com", externalId="x"))
    assert (again.status, again.json["scimType"], again.json["schemas"]) == (
        409, "uniqueness", ["urn:ietf:params:scim:api:messages:2.0:Error"],
    )  # fmt: skip


async def test_a_group_is_pushed_renamed_and_emptied(quick: Site, okta: Directory) -> None:
    ids = [(await okta.create(f"u{number}@example.com"))["id"] for number in range(3)]
    made = await okta.send("POST", "/Groups", {"schemas": [GROUP], "displayName": "Test SCIMv2", "members": []})
    assert made.status == 201
    place = f"/Groups/{made.json['id']}"
    added = await okta.patch(
        place, {"op": "add", "path": "members", "value": [{"value": one, "display": "u"} for one in ids[:2]]}
    )
    assert added.status == 204
    renamed = await okta.patch(
        place, {"op": "replace", "value": {"id": made.json["id"], "displayName": "Test SCIMv2 anew"}}
    )
    assert renamed.status == 204
    swapped = await okta.patch(
        place,
        {"op": "remove", "path": f'members[value eq "{ids[0]}"]'},
        {"op": "add", "path": "members", "value": [{"value": ids[2], "display": "u2"}]},
    )
    assert swapped.status == 204
    told = await okta.get(place)
    assert told["displayName"] == "Test SCIMv2 anew"
    assert {one["value"] for one in told["members"]} == set(ids[1:])
    directory = quick.app.identity.directory
    assert directory.record(Ref("User", "u0@example.com")).groups == ()
    assert directory.record(Ref("User", "u2@example.com")).groups == ("okta/test-scimv2",)  # its id stays
    assert [one["display"] for one in (await okta.get(f"/Users/{ids[2]}"))["groups"]] == ["Test SCIMv2 anew"]
    replaced = await okta.patch(place, {"op": "replace", "path": "members", "value": [{"value": ids[0]}]})
    assert replaced.status == 204
    assert [one["value"] for one in (await okta.get(place))["members"]] == [ids[0]]
    assert (await okta.send("DELETE", place)).status == 204
    assert directory.record(Ref("User", "u0@example.com")).groups == ()


async def test_the_capital_letters_of_its_operations_do_not_count(okta: Directory) -> None:
    made = await okta.create("a@example.com")
    body = {"schemas": [PATCH], "operations": [{"OP": "Replace", "PATH": "nickName", "VALUE": "Al"}]}
    answer = await okta.send("PATCH", f"/Users/{made['id']}", body)
    assert (answer.status, answer.json["nickName"]) == (200, "Al")
