"""How people and machines come in, over a whole server, with real SSH keys."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from everproof.identity.challenges import (
    ENROL_NAMESPACE,
    LOGIN_NAMESPACE,
    enrolment_message,
    login_message,
)
from everproof.identity.enrolment import invite
from everproof.kernel.words import Ref
from tests.identity.ssh import Key
from tests.server.asgi import Answer, call
from tests.server.client import Client
from tests.server.conftest import URL, Site


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return Key(tmp_path)


async def first_link(site: Site) -> str:
    return (await site.app.storage.write(lambda tx: invite(tx, groups=("administrators",)))).secret


async def enrol(site: Site, key: Key, secret: str, user: str = "alice", **changes: Any) -> Answer:
    asked = (await call(site.doors, "POST", "/v1/enrol/challenge")).json
    message = enrolment_message(
        server=URL, challenge=asked["challenge"], at=datetime.fromisoformat(asked["at"]), user=user
    )
    body = {
        "secret": secret,
        "user": user,
        "name": "Alice",
        "emails": [f"{user}@example.com"],
        "public_key": key.line,
        "challenge": asked["challenge"],
        "signature": key.sign(message, ENROL_NAMESPACE).decode(),
        **changes,
    }
    return await call(site.doors, "POST", "/v1/enrol", body)


async def login(site: Site, key: Key, client: Client | None = None) -> tuple[Client, Answer]:
    client = client or site.client()
    asked = (await client.send("POST", "/v1/login/challenge")).json
    at = datetime.fromisoformat(asked["at"])
    message = login_message(server=URL, challenge=asked["challenge"], at=at, key=client.thumbprint)
    body = {"challenge": asked["challenge"], "signature": key.sign(message, LOGIN_NAMESPACE).decode()}
    answer = await client.send("POST", "/v1/login", body)
    if answer.status == 200:
        client.token = answer.json["access_token"]
    return client, answer


@pytest.fixture
async def admin(site: Site, key: Key) -> Client:
    assert (await enrol(site, key, await first_link(site))).status == 201
    client, answer = await login(site, key)
    assert answer.status == 200, answer.body
    return client


async def test_the_first_administrator_enrols_and_logs_in(site: Site, admin: Client) -> None:
    me = (await admin.send("GET", "/v1/identity/me")).json
    assert me["principal"]["ref"] == {"type": "User", "id": "alice"}
    assert {"type": "Group", "id": "administrators"} in me["principal"]["parents"]
    assert me["key"] == admin.thumbprint


async def test_a_link_is_good_once(site: Site, key: Key, tmp_path: Path) -> None:
    secret = await first_link(site)
    assert (await enrol(site, key, secret)).status == 201
    again = await enrol(site, Key(tmp_path, "other"), secret, "mallory")
    assert again.status == 401
    assert (await login(site, Key(tmp_path, "third")))[1].status == 401


async def test_enrolling_with_a_key_that_is_not_held_is_refused(site: Site, key: Key, tmp_path: Path) -> None:
    other = Key(tmp_path, "other")
    answer = await enrol(site, key, await first_link(site), public_key=other.line)
    assert answer.status == 401
    assert b"secret" not in answer.body.lower()


async def test_a_login_is_good_for_the_key_that_was_signed_for(site: Site, key: Key, admin: Client) -> None:
    thief = site.client()
    asked = (await thief.send("POST", "/v1/login/challenge")).json
    at = datetime.fromisoformat(asked["at"])
    message = login_message(server=URL, challenge=asked["challenge"], at=at, key=admin.thumbprint)
    body = {"challenge": asked["challenge"], "signature": key.sign(message, LOGIN_NAMESPACE).decode()}
    assert (await thief.send("POST", "/v1/login", body)).status == 401
    first, again = await admin.send("POST", "/v1/login", body), await admin.send("POST", "/v1/login", body)
    assert (first.status, again.status) == (200, 403)


async def test_a_login_without_a_key_of_its_own_is_refused(site: Site, key: Key, admin: Client) -> None:
    asked = (await admin.send("POST", "/v1/login/challenge")).json
    answer = await call(site.doors, "POST", "/v1/login", {"challenge": asked["challenge"], "signature": "x"})
    assert answer.status == 401


async def test_an_administrator_invites_into_a_group(site: Site, admin: Client, tmp_path: Path) -> None:
    made = await admin.send("POST", "/v1/identity/invitations", {"user": "bob", "groups": ["developers"]})
    assert made.status == 201, made.body
    bob = Key(tmp_path, "bob")
    server, _, secret = made.json["link"].partition("/enrol#")
    assert server == URL
    assert (await enrol(site, bob, secret, "mallory")).status == 401
    assert (await enrol(site, bob, secret, "bob")).status == 201
    client, _ = await login(site, bob)
    refused = await client.send("POST", "/v1/identity/invitations", {"groups": ["administrators"]})
    assert (refused.status, refused.json["code"]) == (403, "denied")
    assert refused.json["extra"]["receipt"]["index"] > 0


async def test_a_machine_joins_once_and_then_proves_itself(site: Site, admin: Client) -> None:
    made = await admin.send("POST", "/v1/identity/join-tokens", {"groups": ["runners"]})
    assert made.status == 201, made.body
    machine = site.client()
    body = {"token": made.json["token"], "machine": "runner-1", "jwk": machine.jwk}
    joined = await machine.send("POST", "/v1/identity/join", body)
    assert joined.status == 201, joined.body
    assert joined.json["groups"] == ["runners"]
    assert (await machine.credentials("machine:runner-1")).status == 200
    thief = site.client()
    again = await thief.send("POST", "/v1/identity/join", {**body, "machine": "runner-2", "jwk": thief.jwk})
    assert again.status == 401


async def test_a_machine_cannot_join_with_a_key_that_it_does_not_show(site: Site, admin: Client) -> None:
    token = (await admin.send("POST", "/v1/identity/join-tokens", {})).json["token"]
    answer = await site.client().send(
        "POST", "/v1/identity/join", {"token": token, "machine": "runner-1", "jwk": site.client().jwk}
    )
    assert answer.status == 401


async def test_an_invitation_ends(site: Site, admin: Client, key: Key, tmp_path: Path) -> None:
    made = await admin.send("POST", "/v1/identity/invitations", {"lifetime_seconds": 60})
    site.clock.advance(timedelta(seconds=61))
    secret = made.json["link"].partition("#")[2]
    assert (await enrol(site, Key(tmp_path, "late"), secret, "late")).status == 401


async def test_disabling_someone_ends_their_tokens_at_once(site: Site, admin: Client) -> None:
    service = await site.enrolled("Service", "billing")
    changed = await admin.send("POST", "/v1/identity/principals/Service/billing", {"disabled": True})
    assert changed.status == 200, changed.body
    assert changed.json["principal"]["disabled"]
    assert (await service.send("GET", "/v1/identity/me")).status == 401
    assert (await service.credentials("service:billing")).status == 401


async def test_people_and_keys_are_administered(site: Site, admin: Client, tmp_path: Path) -> None:
    carol = Key(tmp_path, "carol")
    new = {"type": "User", "id": "carol", "emails": ["carol@example.com"], "ssh_keys": [carol.line]}
    made = await admin.send("POST", "/v1/identity/principals", new)
    assert made.status == 201, made.body
    assert (await admin.send("POST", "/v1/identity/principals", new)).status == 409
    second = await admin.send("POST", "/v1/identity/principals/User/carol/keys", {"ssh": Key(tmp_path, "second").line})
    assert second.status == 201
    known = (await admin.send("GET", "/v1/identity/principals/User/carol")).json
    assert [one["kind"] for one in known["keys"]] == ["ssh", "ssh"]
    listed = (await admin.send("GET", "/v1/identity/principals", query="type=User")).json["principals"]
    assert [one["ref"]["id"] for one in listed] == ["alice", "carol"]
    await admin.send("POST", "/v1/identity/groups/platform", {"groups": ["developers"]})
    moved = await admin.send("POST", "/v1/identity/principals/User/carol", {"groups": ["platform"]})
    assert moved.json["principal"]["groups"] == ["platform"]
    carols, _ = await login(site, carol)
    parents = (await carols.send("GET", "/v1/identity/me")).json["principal"]["parents"]
    assert {"type": "Group", "id": "developers"} in parents
    denied = await carols.send("POST", "/v1/identity/principals/User/carol", {"groups": ["administrators"]})
    assert denied.status == 403


async def test_revoking_a_key_ends_what_came_of_it_and_lineage_shows_it(
    site: Site, admin: Client, key: Key, tmp_path: Path
) -> None:
    carol = Key(tmp_path, "carol")
    new = {"type": "User", "id": "carol", "ssh_keys": [carol.line]}
    name = (await admin.send("POST", "/v1/identity/principals", new)).json["keys"][0]["name"]
    carols, _ = await login(site, carol)
    credential = (await carols.send("GET", "/v1/identity/me")).json["credential"]
    lineage = (await carols.send("GET", f"/v1/identity/credentials/{credential}/lineage")).json
    assert [one["kind"] for one in lineage["ancestors"]] == ["ssh-key", "session", "access-token"]
    ended = await admin.send("POST", "/v1/identity/revoke", {"key": name, "reason": "compromised"})
    assert ended.status == 200, ended.body
    assert credential in ended.json["ended"]
    assert (await carols.send("GET", "/v1/identity/me")).status == 401
    assert (await login(site, carol))[1].status == 401


async def test_everyone_revokes_their_own_credential_and_no_others(site: Site, admin: Client) -> None:
    service = await site.enrolled("Service", "billing")
    mine = (await service.send("GET", "/v1/identity/me")).json["credential"]
    admins = (await admin.send("GET", "/v1/identity/me")).json["credential"]
    assert (await service.send("POST", "/v1/identity/revoke", {"credential": admins})).status == 403
    assert (await service.send("POST", "/v1/identity/revoke", {"credential": mine})).status == 200
    assert (await service.send("GET", "/v1/identity/me")).status == 401


async def test_a_person_asks_only_about_themselves_and_a_point_about_others(site: Site, admin: Client) -> None:
    question = {
        "subject": {"type": "User", "id": "alice"},
        "action": {"name": "secret:read"},
        "resource": {"type": "Secret", "id": "1"},
    }
    point = await site.enrolled("Service", "gateway", "enforcement-points")
    stranger = await site.enrolled("Service", "stranger")
    assert (await point.send("POST", "/access/v1/evaluation", question)).json["decision"] is True
    assert (await stranger.send("POST", "/access/v1/evaluation", question)).json["decision"] is False
    own = {**question, "subject": {"type": "Service", "id": "stranger"}}
    denied = (await stranger.send("POST", "/access/v1/evaluation", own)).json
    assert denied["decision"] is False
    assert denied["context"]["reason_user"]["403"]
    record = site.app.ledger.read(denied["context"]["index"])
    assert record.id == denied["context"]["id"]


async def test_nobody_can_vouch_for_whom_is_disabled(site: Site, admin: Client) -> None:
    point = await site.enrolled("Service", "gateway", "enforcement-points")
    await site.enrolled("Service", "billing")
    await admin.send("POST", "/v1/identity/principals/Service/billing", {"disabled": True})
    question = {
        "subject": {"type": "Service", "id": "billing"},
        "action": {"name": "secret:read"},
        "resource": {"type": "Secret", "id": "1"},
    }
    answer = (await point.send("POST", "/access/v1/evaluation", question)).json
    assert answer["decision"] is False
    assert "is disabled" in answer["context"]["reason_admin"]["403"]
    assert site.app.ledger.read(answer["context"]["index"]).id == answer["context"]["id"]
    assert site.app.identity.directory.principal(Ref("Service", "billing")) is None
