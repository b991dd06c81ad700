"""Attempts to come by more than policy gives: by company, by a narrowed token, by an answer taken for a deed."""

from typing import Any

import msgspec
import pytest

from everproof.authorize import DecisionRecord
from everproof.kernel.words import Ref
from everproof.policy import Engine, load_bundle, starter_files
from tests.server.client import Client
from tests.server.conftest import Site

LEADS = b"""
@id("leads/developers")
@title("Leads look after developers")
@advice("ask a lead")
permit (
    principal in Group::"leads",
    action in [Action::"identity:enrol", Action::"identity:administer"],
    resource in Group::"developers"
);
"""
QUESTION: dict[str, Any] = {
    "subject": {"type": "User", "id": "alice"},
    "action": {"name": "secret:read"},
    "resource": {"type": "Secret", "id": "1"},
}


@pytest.fixture
async def lead(site: Site) -> Client:
    site.app.authorizer.engine = Engine(load_bundle({**starter_files(), "policies/leads.cedar": LEADS}))
    return await site.enrolled("Service", "lead", "leads", "developers")


@pytest.mark.parametrize("path", ["/v1/identity/invitations", "/v1/identity/join-tokens", "/v1/identity/principals"])
async def test_nobody_is_let_into_a_group_by_way_of_another(site: Site, lead: Client, path: str) -> None:
    """Whoever is in both groups is in the one that policy allows: each group needs a yes of its own."""
    who = {"type": "Service", "id": "newcomer"} if path.endswith("principals") else {}
    for groups in (["developers", "administrators"], ["administrators", "developers"], ["administrators"], []):
        assert (await lead.send("POST", path, {**who, "groups": groups})).status == 403, groups
    assert (await lead.send("POST", path, {**who, "groups": ["developers"]})).status == 201


async def test_nobody_is_moved_into_a_group_by_whoever_looks_after_another(site: Site, lead: Client) -> None:
    await site.enrolled("Service", "builder", "developers")
    for one in ("builder", "lead"):
        path = f"/v1/identity/principals/Service/{one}"
        for groups in (["developers", "administrators"], ["administrators"]):
            assert (await lead.send("POST", path, {"groups": groups})).status == 403, groups
        assert (await lead.send("POST", path, {"groups": ["developers"]})).status == 200
        found = site.app.identity.directory.principal(Ref("Service", one))
        assert found is not None
        assert Ref("Group", "administrators") not in found.parents


async def test_a_token_narrowed_to_something_else_does_not_ask_about_others(site: Site) -> None:
    point = await site.enrolled("Service", "gateway", "enforcement-points")
    await site.enrolled("Service", "ada", "administrators")
    question = {**QUESTION, "subject": {"type": "Service", "id": "ada"}}
    assert (await point.send("POST", "/access/v1/evaluation", question)).json["decision"] is True
    await point.credentials("service:gateway", scope="ledger:read")
    assert (await point.send("POST", "/access/v1/evaluation", question)).json["decision"] is False
    await point.credentials("service:gateway", scope="decision:ask")
    assert (await point.send("POST", "/access/v1/evaluation", question)).json["decision"] is True


async def test_an_answer_is_never_taken_for_a_deed(site: Site) -> None:
    """A caller says of the resource what it likes; its own question must not read like a revocation in the ledger."""
    caller = await site.enrolled("Service", "caller")
    question = {
        "subject": {"type": "Service", "id": "caller"},
        "action": {"name": "credential:revoke"},
        "resource": {"type": "Credential", "id": "another's", "properties": {"own": True}},
    }
    answer = (await caller.send("POST", "/access/v1/evaluation", question)).json
    record = msgspec.json.decode(site.app.ledger.read(answer["context"]["index"]).body, type=DecisionRecord)
    assert record.detail["asked_by"] == 'Service::"caller"'
