"""The door of containment: who may, what is then refused, and that it holds against whoever is contained."""

from typing import Any

import pytest

from everproof.kernel.words import Ref
from tests.server.client import Client
from tests.server.conftest import Site

THIEF: dict[str, Any] = {"principal": {"type": "Service", "id": "thief"}}


@pytest.fixture
def database_url(tmp_path: Any) -> str:
    """What is tried here is the door; each database has its turn in tests/response."""
    return f"sqlite:///{tmp_path / 'everproof.db'}"


@pytest.fixture
async def ada(site: Site) -> Client:
    return await site.enrolled("Service", "ada", "administrators")


@pytest.fixture
async def thief(site: Site) -> Client:
    return await site.enrolled("Service", "thief")


async def credential_of(client: Client) -> str:
    answer = await client.send("GET", "/v1/identity/me")
    assert answer.status == 200
    return str(answer.json["credential"])


async def test_stolen_credential_is_contained_with_what_came_from_it(site: Site, ada: Client, thief: Client) -> None:
    stolen = await credential_of(thief)
    planned = await ada.send("POST", "/v1/contain/plan", {"credential": stolen})
    assert planned.json["credentials"] == 1
    assert planned.json["lineages"][0]["ancestors"][-1]["id"] == stolen
    assert (await thief.send("GET", "/v1/identity/me")).status == 200  # a dry run ends nothing
    done = await ada.send("POST", "/v1/contain", {"credential": stolen, "reason": "seen in a log"})
    assert done.status == 200
    record = done.json["containment"]
    assert (record["credentials"], record["finished"] is not None) == (1, True)
    assert record["reason"] == 'contained by Service::"ada": seen in a log'
    assert (await thief.send("GET", "/v1/identity/me")).status == 401
    assert (await thief.credentials("service:thief")).status == 200  # its principal is somebody else's to judge
    again = await ada.send("POST", "/v1/contain", {"credential": stolen})
    assert again.json["containment"]["credentials"] == 0
    told = await ada.send("GET", f"/v1/contain/{record['id']}")
    assert told.json == record


async def test_contained_principal_gets_nothing_by_any_proof_until_released(
    site: Site, ada: Client, thief: Client
) -> None:
    done = await ada.send("POST", "/v1/contain", THIEF)
    assert done.json["containment"]["credentials"] == done.json["refused"] > 0
    assert (await thief.send("GET", "/v1/identity/me")).status == 401
    refused = await thief.credentials("service:thief")  # it still has the key that it proves itself by
    assert refused.status in {400, 401, 403}
    assert "contained" in refused.body.decode()
    released = await ada.send("POST", "/v1/contain/release", THIEF)
    assert released.status == 200
    assert (await thief.credentials("service:thief")).status == 200
    assert (await ada.send("POST", "/v1/contain/release", THIEF)).status == 404


async def test_attack_whoever_is_anybody_contains_an_administrator(site: Site, ada: Client, thief: Client) -> None:
    of_ada = await credential_of(ada)
    body = {"principal": {"type": "Service", "id": "ada"}}
    for path, asked in (
        ("/v1/contain", body),
        ("/v1/contain", {"credential": of_ada}),
        ("/v1/contain/plan", body),
        ("/v1/contain/release", THIEF),
    ):
        assert (await thief.send("POST", path, asked)).status == 403, path
    assert (await thief.send("GET", "/v1/contain/cont_none")).status == 403
    nobody = {"principal": {"type": "User", "id": "no-such-person"}}
    assert (await thief.send("POST", "/v1/contain", nobody)).status == 403  # nor who is on record
    assert (await ada.send("GET", "/v1/identity/me")).status == 200
    assert Ref("Service", "ada") not in site.app.identity.credentials.held


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"credential": "cred_x", **THIEF},
        {"principal": {"type": "Credential", "id": "cred_x"}},
        {"credential": "cred_x", "reason": "x" * 300},
        {"credential": "cred_x", "dry_run": True},
        {"principal": {"type": "Group", "id": "administrators"}},
    ],
)
async def test_what_names_nothing_or_two_things_is_refused(ada: Client, body: dict[str, Any]) -> None:
    assert (await ada.send("POST", "/v1/contain", body)).status == 400


async def test_credential_or_person_that_is_not_there_is_not_contained(site: Site, ada: Client) -> None:
    nobody = {"principal": {"type": "User", "id": "no-such-person"}}
    assert (await ada.send("POST", "/v1/contain", nobody)).status == 404
    assert list(site.app.identity.credentials.held) == []
    assert (await ada.send("POST", "/v1/contain", {"credential": "cred_none"})).status == 404
