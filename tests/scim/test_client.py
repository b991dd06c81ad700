"""A whole life by scim2-client: discovery, a person, a group, changes by PUT and PATCH, bulk, and the end."""

import asyncio
from typing import Any

import scim2_models
from scim2_models.exceptions import NotFoundException, PreconditionFailedException, UniquenessException

from everproof.kernel.words import Ref
from tests.scim.conftest import Site
from tests.scim.engine import Engine

scim: Any = scim2_models
"""What the library builds of what it discovers has no types beforehand."""


def live(client: Any) -> None:
    client.discover()
    user_type, group_type = client.get_resource_model("User"), client.get_resource_model("Group")
    assert user_type is not None
    assert group_type is not None
    make = {"user_name": "bjensen@example.com", "external_id": "701984", "display_name": "Barbara Jensen"}
    made = client.create(user_type(**make, name={"givenName": "Barbara", "familyName": "Jensen"}, active=True))
    assert isinstance(made, user_type)
    try:
        client.create(user_type(**make))
    except UniquenessException:
        pass
    else:
        raise AssertionError("two people of one name")

    team = client.create(group_type(display_name="Tour Guides", members=[{"value": made.id, "type": "User"}]))
    assert isinstance(team, group_type)
    found = client.query(user_type, made.id)
    assert isinstance(found, scim.Resource)
    assert [one.value for one in found["groups"]] == [team.id]

    stale = found.model_copy(deep=True)
    found["title"] = "Guide"
    replaced = client.replace(found)
    assert isinstance(replaced, scim.Resource)
    assert replaced["title"] == "Guide"
    assert replaced.meta.version != stale.meta.version
    try:
        client.replace(stale)
    except PreconditionFailedException:
        pass
    else:
        raise AssertionError("a change of what was changed meanwhile")

    nick = scim.PatchOperation(op=scim.PatchOperation.Op.add, path="nickName", value="Babs")
    patched = client.modify(user_type, made.id, scim.PatchOp[user_type](operations=[nick]))
    assert isinstance(patched, scim.Resource)
    assert patched["nickName"] == "Babs"

    listed = client.query(user_type, query_parameters=scim.SearchRequest(filter='userName sw "bj"', count=10))
    assert [one["userName"] for one in listed.resources] == ["bjensen@example.com"]
    both = client.search(scim.SearchRequest(filter='displayName co "e"', sort_by="displayName"))
    assert [one.meta.resource_type for one in both.resources] == ["User", "Group"]
    brief = client.query(user_type, made.id, query_parameters=scim.ResponseParameters(attributes=["userName"]))
    assert brief["title"] is None

    _in_bulk(client, user_type, group_type)
    client.delete(group_type, team.id)
    client.delete(user_type, made.id)
    try:
        client.query(user_type, made.id)
    except NotFoundException:
        pass
    else:
        raise AssertionError("who has left is still there")


def _in_bulk(client: Any, user_type: Any, group_type: Any) -> None:
    operations = [
        scim.BulkOperation[group_type](
            method="POST", path="/Groups", bulk_id="team",
            data=group_type(display_name="Buskers", members=[{"value": "bulkId:busker", "type": "User"}]),
        ),
        scim.BulkOperation[user_type](
            method="POST", path="/Users", bulk_id="busker", data=user_type(user_name="busker@example.com")
        ),
    ]  # fmt: skip
    bulk = client.bulk(scim.BulkRequest[user_type | group_type](operations=operations))
    assert [one.status for one in bulk.operations] == [201, 201]


async def test_a_whole_life_by_scim2_client(site: Site) -> None:
    client = Engine(await site.directory())
    await asyncio.to_thread(live, client)
    directory = site.app.identity.directory
    assert directory.principal(Ref("User", "bjensen@example.com")) is None
    record = directory.record(Ref("User", "busker@example.com"))
    assert record.groups == ("corp/buskers",)
    done = [one for one in site.entries() if one["action"] == "identity:provision"]
    assert [one["context"]["provisions"] for one in done] == [
        "create", "create", "change", "change", "create", "create", "delete", "delete",
    ]  # fmt: skip
    assert {(one["decision"], one["proof"]["kind"], one["context"]["key_bound"]) for one in done} == {
        ("allow", "scim-bearer", False)
    }
