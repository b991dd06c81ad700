"""What Entra sends, in the shapes that Microsoft publishes."""

from typing import Any

import pytest

from everproof.kernel.words import Ref
from tests.scim.conftest import ENTERPRISE, GROUP, USER, Directory, Site


def profile(**changes: Any) -> dict[str, Any]:
    return {
        "schemas": [USER, ENTERPRISE],
        "externalId": "0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef",
        "userName": "Test_User_ab6490ee@testuser.com",
        "active": True,
        "emails": [{"primary": True, "type": "work", "value": "Test_User_fd0ea19b@testuser.com"}],
        "meta": {"resourceType": "User"},
        "name": {"formatted": "givenName familyName", "familyName": "familyName", "givenName": "givenName"},
        "roles": [],
        **changes,
    }


@pytest.fixture
async def entra(quick: Site) -> Directory:
    return await quick.directory("entra", dialect="entra")


async def test_a_user_is_looked_for_made_changed_and_ended(quick: Site, entra: Directory) -> None:
    assert await entra.found('userName eq "non-existent-user"') == []
    made = await entra.send("POST", "/Users", profile())
    assert made.status == 201
    place, ref = f"/Users/{made.json['id']}", Ref("User", "test_user_ab6490ee@testuser.com")
    for filter_ in (
        'userName eq "Test_User_ab6490ee@testuser.com"',
        'externalId eq "0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef"',
        'emails[type eq "work"].value eq "test_user_fd0ea19b@testuser.com"',
    ):
        assert len(await entra.found(filter_)) == 1, filter_
    changed = await entra.patch(
        place,
        {"op": "Replace", "path": 'emails[type eq "work"].value', "value": "updatedEmail@microsoft.com"},
        {"op": "Replace", "path": "name.familyName", "value": "updatedFamilyName"},
        {"op": "Add", "path": "title", "value": [{"value": "Head"}]},
        {"op": "Add", "path": f"{ENTERPRISE}:department", "value": "R&D"},
    )
    assert changed.status == 200, changed.body
    assert changed.json["emails"][0]["value"] == "updatedEmail@microsoft.com"
    assert changed.json["name"]["familyName"] == "updatedFamilyName"
    record = quick.app.identity.directory.record(ref)
    assert record.emails == ("updatedEmail@microsoft.com",)
    assert dict(record.attributes) == {"title": "Head", "department": "R&D"}
    ended = await entra.patch(place, {"op": "Replace", "path": "active", "value": "False"})
    assert ended.json["active"] is False
    assert quick.app.identity.directory.principal(ref) is None
    back = await entra.patch(place, {"op": "Replace", "path": "active", "value": "True"})
    assert back.json["active"] is True
    assert (await entra.send("DELETE", place)).status == 204
    assert quick.app.identity.directory.principal(ref) is None


async def test_values_that_are_not_there_yet_are_those_that_their_paths_describe(entra: Directory) -> None:
    made = await entra.create("a@example.com")
    answer = await entra.patch(
        f"/Users/{made['id']}",
        {"op": "Add", "path": 'emails[type eq "work"].value', "value": "a@example.com"},
        {"op": "Add", "path": 'phoneNumbers[type eq "mobile"].value', "value": "+1 234"},
        {"op": "Add", "path": 'addresses[type eq "work"].formatted', "value": "1 High Street"},
        {"op": "Replace", "path": 'addresses[type eq "work"].locality', "value": "London"},
        {"op": "Add", "path": 'roles[primary eq "True"].value', "value": "writer"},
    )
    assert answer.status == 200, answer.body
    told = answer.json
    assert told["emails"] == [{"type": "work", "value": "a@example.com"}]
    assert told["addresses"] == [{"formatted": "1 High Street", "locality": "London", "type": "work"}]
    assert told["roles"] == [{"primary": True, "value": "writer"}]
    again = await entra.patch(
        f"/Users/{made['id']}", {"op": "Replace", "path": 'roles[primary eq "True"].value', "value": "reader"}
    )
    assert again.json["roles"] == [{"primary": True, "value": "reader"}]


async def test_a_replacement_without_a_path_has_paths_as_its_members(entra: Directory) -> None:
    made = await entra.create("a@example.com", emails=[{"type": "work", "value": "old@example.com"}])
    value = {
        "displayName": "Anna",
        "name.givenName": "Anna",
        'emails[type eq "work"].value': "new@example.com",
        f"{ENTERPRISE}:employeeNumber": "7",
        "active": "True",
    }
    answer = await entra.patch(f"/Users/{made['id']}", {"op": "Replace", "value": value})
    assert answer.status == 200, answer.body
    told = answer.json
    assert (told["displayName"], told["name"]["givenName"], told["emails"][0]["value"]) == (
        "Anna", "Anna", "new@example.com",
    )  # fmt: skip
    assert told[ENTERPRISE]["employeeNumber"] == "7"


async def test_a_manager_is_an_id_as_plain_text(quick: Site, entra: Directory) -> None:
    boss = await entra.create("boss@example.com")
    made = await entra.create("a@example.com")
    place, path = f"/Users/{made['id']}", f"{ENTERPRISE}:manager"
    answer = await entra.patch(place, {"op": "Add", "path": path, "value": boss["id"]})
    assert answer.status == 200, answer.body
    assert answer.json[ENTERPRISE]["manager"]["value"] == boss["id"]
    principal = quick.app.identity.directory.principal(Ref("User", "a@example.com"))
    assert principal is not None
    assert principal.attributes["manager"] == {"type": "User", "id": "boss@example.com"}
    gone = await entra.patch(place, {"op": "Remove", "path": path})
    assert gone.status == 200
    assert "manager" not in gone.json.get(ENTERPRISE, {})


async def test_groups_as_it_keeps_them(entra: Directory) -> None:
    ids = [(await entra.create(f"u{number}@example.com"))["id"] for number in range(3)]
    body = {"schemas": [GROUP, "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"],
            "externalId": "8aa1a0c0", "displayName": "displayName", "meta": {"resourceType": "Group"}}  # fmt: skip
    made = await entra.send("POST", "/Groups", body)
    assert made.status == 201, made.body
    place = f"/Groups/{made.json['id']}"
    listed = await entra.get("/Groups", excludedAttributes="members", filter='displayName eq "displayName"')
    assert [one["id"] for one in listed["Resources"]] == [made.json["id"]]
    for one in ids:
        assert (await entra.patch(place, {"op": "Add", "path": "members", "value": [{"value": one}]})).status == 204
    # It sends what it has sent before, too.
    assert (await entra.patch(place, {"op": "Add", "path": "members", "value": [{"value": ids[0]}]})).status == 204
    assert "members" not in await entra.get(place, excludedAttributes="members")
    asked = f'id eq "{made.json["id"]}" and members eq "{ids[1]}"'
    assert (await entra.get("/Groups", filter=asked, attributes="id"))["totalResults"] == 1
    old = await entra.patch(place, {"op": "Remove", "path": "members", "value": [{"$ref": None, "value": ids[0]}]})
    new = await entra.patch(place, {"op": "Remove", "path": f'members[value eq "{ids[1]}"]'})
    assert (old.status, new.status) == (204, 204)
    assert [one["value"] for one in (await entra.get(place))["members"]] == [ids[2]]
    renamed = await entra.patch(place, {"op": "Replace", "path": "displayName", "value": "1879db59"})
    assert (renamed.status, (await entra.get(place))["displayName"]) == (204, "1879db59")


async def test_a_stranger_to_the_dialect_is_held_to_the_standard(quick: Site) -> None:
    corp = await quick.directory("corp")
    made = await corp.create("a@example.com")
    place = f"/Users/{made['id']}"
    text = await corp.patch(place, {"op": "replace", "path": "active", "value": "maybe"})
    assert (text.status, text.json["scimType"]) == (400, "invalidValue")
    nothing = await corp.patch(
        place, {"op": "replace", "path": 'emails[type eq "work"].value', "value": "b@example.com"}
    )
    assert (nothing.status, nothing.json["scimType"]) == (400, "noTarget")
