"""Passkeys and security keys, through the doors, with an authenticator of our own."""

from datetime import timedelta

import pytest

from tests.factors.conftest import Rule
from tests.factors.house import House
from tests.fakes.authenticator import Algorithm, Maker


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256"])
async def test_a_passkey_is_added_and_shown(house: House, algorithm: Algorithm) -> None:
    alice = await house.person("alice")
    key = house.key(algorithm=algorithm)
    added = await alice.add_passkey(key)
    assert added.status == 201, added.body
    assert added.json["kind"] == "passkey"
    assert added.json["name"] == "my key"
    house.clock.advance(timedelta(minutes=6))
    shown = await alice.show_passkey(key)
    assert shown.status == 200, shown.body
    assert shown.json["method"] == "passkey"
    assert alice.here.second_factor == "passkey"
    assert alice.here.strength["passkey"]["user_verified"] is True
    assert house.notices(alice.ref) == ["A factor was added to your account"]
    assert house.app.factors.telling.kinds(alice.ref) == {"passkey"}


async def test_who_has_a_passkey_signs_in_by_it_alone(house: House) -> None:
    alice = await house.person("alice")
    key = house.key()
    await alice.add_passkey(key)
    visitor = house.stranger()
    entered = await visitor.enter(key)
    assert entered.status == 200, entered.body
    assert entered.json["principal"] == {"type": "User", "id": alice.ref.id}
    session = house.app.identity.sessions.find(entered.json["session"])
    assert session is not None
    assert session.provider == "passkey"
    assert session.second_factor == "passkey"
    assert (await visitor.send("GET", "/v1/factors")).json["methods"] == ["passkey"]


async def test_a_security_key_counts_for_what_it_is(house: House) -> None:
    alice = await house.person("alice")
    key = house.key(verifies=False)
    added = await alice.add_passkey(key, kind="security-key")
    assert added.status == 201, added.body
    shown = await alice.show_passkey(key)
    assert shown.json["method"] == "security-key"
    assert alice.here.strength["security-key"]["user_verified"] is False


async def test_the_options_keep_to_what_is_accepted_and_say_nothing_of_the_person(house: House) -> None:
    alice = await house.person("alice")
    key = house.key()
    await alice.add_passkey(key)
    options = (await alice.post("/v1/factors/passkeys/options")).json["options"]
    assert [one["alg"] for one in options["pubKeyCredParams"]] == [-7, -8, -257]
    assert options["rp"] == {"id": "everproof.example", "name": "Everproof"}
    assert options["authenticatorSelection"]["userVerification"] == "required"
    assert [one["transports"] for one in options["excludeCredentials"]] == [["usb", "nfc"]]
    again = (await alice.post("/v1/factors/passkeys/options")).json["options"]
    assert options["user"]["id"] == again["user"]["id"]
    assert b"alice" not in options["user"]["id"].encode()
    assert options["challenge"] != again["challenge"]


async def test_backup_flags_are_facts(house: House) -> None:
    alice, bob = await house.person("alice"), await house.person("bob")
    await alice.add_passkey(house.key(synced=True))
    await bob.add_passkey(house.key(synced=False))
    assert house.facts(alice) == {"factors": ["passkey"], "passkey_backed_up": True, "passkey_backup_eligible": True}
    assert house.facts(bob) == {"factors": ["passkey"], "passkey_backed_up": False, "passkey_backup_eligible": False}
    carol = await house.person("carol")
    assert house.facts(carol) == {"factors": []}


async def test_a_synced_passkey_is_not_accepted_where_the_rules_say_so(house: House, rule: Rule) -> None:
    rule("[passkeys]\nsynced = false\n")
    alice = await house.person("alice")
    added = await alice.add_passkey(house.key(synced=True))
    assert added.status == 403
    assert "cloud" in added.json["detail"]
    assert (await alice.add_passkey(house.key())).status == 201


async def test_an_authenticator_of_an_accepted_make_is_accepted(house: House, rule: Rule) -> None:
    maker = Maker()
    rule(f'[passkeys]\nroots = ["""{maker.pem}"""]\n')
    alice = await house.person("alice")
    added = await alice.add_passkey(house.key(attestation="x5c", maker=maker))
    assert added.status == 201, added.body
    assert added.json["attested"] is True


@pytest.mark.parametrize("attestation", ["none", "self", "x5c"])
async def test_without_roots_any_make_is_accepted_and_none_is_believed(house: House, attestation: str) -> None:
    alice = await house.person("alice")
    added = await alice.add_passkey(house.key(attestation=attestation))
    assert added.status == 201, added.body
    assert added.json["attested"] is False


async def test_a_factor_is_named_and_removed_and_its_sessions_end(house: House) -> None:
    alice = await house.person("alice")
    key, other = house.key(), house.key()
    first = (await alice.add_passkey(key)).json["id"]
    await alice.add_passkey(other, "another")
    renamed = await alice.send("PATCH", f"/v1/factors/{first}", {"name": "blue one"})
    assert renamed.json["name"] == "blue one"
    visitor = house.stranger()
    entered = (await visitor.enter(key)).json["session"]
    removed = await alice.send("DELETE", f"/v1/factors/{first}")
    assert removed.status == 200, removed.body
    assert house.app.identity.sessions.find(entered) is None
    assert (await house.stranger().enter(key)).status == 403
    assert house.notices(alice.ref)[-1] == "A factor was removed from your account"
    names = [one["name"] for one in (await alice.send("GET", "/v1/factors")).json["factors"]]
    assert names == ["another"]
