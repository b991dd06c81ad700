"""Attacks on passkeys and security keys, each named for what is tried."""

from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from everproof.identity import roster
from everproof.kernel.canonical import b64url, from_b64url
from everproof.kernel.words import Ref
from tests.factors.conftest import Rule
from tests.factors.house import URL, House, Person
from tests.fakes.authenticator import BE, BS, UP, UV, Authenticator, Lies, Maker


async def _ready(house: House, **how: Any) -> tuple[Person, Authenticator]:
    alice = await house.person("alice")
    key = house.key(**how)
    added = await alice.add_passkey(key)
    assert added.status == 201, added.body
    return alice, key


async def _answer(person: Person, key: Authenticator) -> dict[str, Any]:
    asked = await person.post("/v1/step-up/options")
    return key.get(asked.json["options"])


async def _step_up(person: Person, credential: dict[str, Any]) -> tuple[int, str]:
    shown = await person.post("/v1/step-up", method="passkey", credential=credential)
    return shown.status, shown.json.get("code", "")


async def test_replayed_assertion(house: House) -> None:
    alice, key = await _ready(house)
    credential = await _answer(alice, key)
    assert (await _step_up(alice, credential))[0] == 200
    assert (await _step_up(alice, credential))[0] == 403
    # A replay has the count of before, and is not taken for a copy of the authenticator.
    assert (await alice.show_passkey(key)).status == 200


async def test_replayed_assertion_of_an_authenticator_that_counts_nothing(house: House) -> None:
    alice, key = await _ready(house, counts=False)
    credential = await _answer(alice, key)
    assert (await _step_up(alice, credential))[0] == 200
    assert await _step_up(alice, credential) == (403, "denied")
    assert (await alice.show_passkey(key)).status == 200


async def test_replayed_sign_in(house: House) -> None:
    _, key = await _ready(house)
    visitor = house.stranger()
    asked = await visitor.post("/v1/login/passkey/options")
    credential = key.get(asked.json["options"])
    assert (await visitor.post("/v1/login/passkey", credential=credential)).status == 200
    assert (await house.stranger().post("/v1/login/passkey", credential=credential)).status == 403


async def test_challenge_of_another_session(house: House) -> None:
    alice, key = await _ready(house)
    elsewhere = await house.signed_in(alice.ref)
    credential = await _answer(elsewhere, key)
    assert (await _step_up(alice, credential))[0] == 401
    assert elsewhere.here.second_factor is None


async def test_challenge_of_another_person(house: House) -> None:
    _, key = await _ready(house)
    bob = await house.person("bob")
    await bob.add_passkey(house.key())
    asked = await bob.post("/v1/step-up/options")
    key.held[0].rp_id = asked.json["options"]["rpId"]
    credential = key.get({**asked.json["options"], "allowCredentials": []})
    assert await _step_up(bob, credential) == (403, "authenticator")


async def test_challenge_for_signing_in_is_none_for_step_up(house: House) -> None:
    alice, key = await _ready(house)
    asked = await alice.post("/v1/login/passkey/options")
    assert (await _step_up(alice, key.get(asked.json["options"])))[0] == 401


async def test_challenge_that_is_too_old(house: House) -> None:
    alice, key = await _ready(house)
    credential = await _answer(alice, key)
    house.clock.advance(timedelta(minutes=3))
    assert (await _step_up(alice, credential))[0] == 401


LIES = {
    "other origin": Lies(origin="https://everproof.example.evil.test"),
    "origin with a port": Lies(origin=f"{URL}:8443"),
    "other relying party": Lies(rp_id="evil.test"),
    "cross-origin iframe": Lies(client_data={"crossOrigin": True}),
    "iframe by its top origin": Lies(client_data={"crossOrigin": False, "topOrigin": "https://evil.test"}),
    "answer to another question": Lies(type="webauthn.create"),
    "made-up challenge": Lies(challenge=b64url(bytes(56))),
    "user verification stripped": Lies(flags_off=UV),
    "user presence stripped": Lies(flags_off=UP),
    "backup eligibility changed": Lies(flags_on=BE),
    "backed up, and not eligible": Lies(flags_on=BS),
    "somebody else's handle": Lies(handle=bytes(32)),
}


@pytest.mark.parametrize("lie", LIES)
async def test_assertion_that_lies(house: House, lie: str) -> None:
    alice, key = await _ready(house)
    house.clock.advance(timedelta(minutes=10))
    before = alice.here.factors["passkey"]
    key.lies = LIES[lie]
    assert (await _step_up(alice, await _answer(alice, key)))[0] in {401, 403}
    assert alice.here.factors["passkey"] == before
    assert (await alice.show_passkey(key)).status == 200


REGISTRATION_LIES = {
    "other origin": Lies(origin="https://evil.test"),
    "other relying party": Lies(rp_id="evil.test"),
    "cross-origin iframe": Lies(client_data={"crossOrigin": True}),
    "answer to another question": Lies(type="webauthn.get"),
    "made-up challenge": Lies(challenge=b64url(bytes(56))),
    "user verification stripped": Lies(flags_off=UV),
    "user presence stripped": Lies(flags_off=UP),
    "algorithm that was not asked for": Lies(algorithm=-35),
    "statement where none was made": Lies(statement=lambda _: {"sig": b"x"}),
}


@pytest.mark.parametrize("lie", REGISTRATION_LIES)
async def test_registration_that_lies(house: House, lie: str) -> None:
    alice = await house.person("alice")
    key = house.key()
    key.lies = REGISTRATION_LIES[lie]
    added = await alice.add_passkey(key)
    assert added.status in {401, 403}, added.body
    assert house.app.factors.held(alice.ref).factors == ()


async def test_signature_by_another_key(house: House) -> None:
    alice, key = await _ready(house)
    theirs = house.key()
    bob = await house.person("bob")
    await bob.add_passkey(theirs)
    forged = theirs.clone()
    forged.held[0].id = key.held[0].id
    assert await _step_up(alice, await _answer(alice, forged)) == (403, "authenticator")


async def test_sign_count_rollback(house: House) -> None:
    alice, key = await _ready(house)
    visitor = house.stranger()
    entered = (await visitor.enter(key)).json["session"]
    key.held[0].count = 0
    key.lies = Lies(count=1)
    assert await _step_up(alice, await _answer(alice, key)) == (403, "copied")
    held = house.app.factors.held(alice.ref).factors
    assert held[0].state == "suspended"
    assert "may have been copied" in held[0].suspended_for
    assert house.notices(alice.ref)[-1] == "A factor of yours was suspended"
    assert house.app.identity.sessions.find(entered) is None
    suspended = [one for one in house.events(alice.ref) if one["event"] == "factor-suspended"]
    assert [(one["counted"], one["before"]) for one in suspended] == [(1, 1)]
    assert (await house.stranger().enter(key)).status == 403
    assert (await alice.post("/v1/step-up/options")).json["methods"] == []


async def test_sign_count_rollback_without_the_key_suspends_nothing(house: House) -> None:
    alice, key = await _ready(house)
    assert (await alice.show_passkey(key)).status == 200
    forger = key.clone()
    forger.held[0].key = ec.generate_private_key(ec.SECP256R1())
    forger.lies = Lies(count=0)
    assert await _step_up(alice, await _answer(alice, forger)) == (403, "authenticator")
    assert house.app.factors.held(alice.ref).factors[0].state == "live"


async def test_cloned_authenticator(house: House) -> None:
    alice, key = await _ready(house)
    assert (await alice.show_passkey(key)).status == 200
    clone = key.clone()
    assert (await alice.show_passkey(key)).status == 200
    stolen = await house.signed_in(alice.ref)
    shown = await stolen.show_passkey(clone)
    assert (shown.status, shown.json["code"]) == (403, "copied")
    assert stolen.here.second_factor is None
    assert (await house.stranger().enter(key)).status == 403


async def test_cloned_authenticator_that_was_shown_before_its_owners(house: House) -> None:
    """The thief was first: what the clone has shown in their session counts no more once there are seen to be two."""
    alice, key = await _ready(house)
    assert (await alice.show_passkey(key)).status == 200
    clone = key.clone()
    stolen = await house.signed_in(alice.ref)
    assert (await stolen.show_passkey(clone)).status == 200
    assert "passkey" in stolen.here.factors
    assert (await alice.show_passkey(key)).json["code"] == "copied"
    assert stolen.here.second_factor is None
    assert "passkey" not in stolen.here.strength


async def test_a_factor_that_was_removed_counts_no_more_where_a_thief_showed_it(house: House) -> None:
    alice, key = await _ready(house)
    stolen = await house.signed_in(alice.ref)
    assert (await stolen.show_passkey(key)).status == 200
    assert (await alice.add_totp()).status == 200
    id_ = next(one.id for one in house.app.factors.held(alice.ref).factors if one.kind == "passkey")
    assert (await alice.send("DELETE", f"/v1/factors/{id_}")).status == 200
    assert stolen.here.second_factor is None
    assert alice.here.second_factor == "passkey"


async def test_first_factor_again_after_the_only_one_was_suspended(house: House) -> None:
    """Who gets somebody's only factor suspended does not put their own in its place."""
    alice, key = await _ready(house)
    assert (await alice.show_passkey(key)).status == 200
    key.lies = Lies(count=1)
    assert (await alice.show_passkey(key)).json["code"] == "copied"
    thief = await house.signed_in(alice.ref)
    asked = await thief.post("/v1/factors/passkeys/options")
    assert asked.status == 401
    assert asked.json["code"] == "insufficient_user_authentication"


async def test_factor_on_somebody_elses_session(house: House) -> None:
    alice, key = await _ready(house)
    bob = await house.person("bob")
    asked = await alice.post("/v1/step-up/options", session=bob.session)
    assert asked.status == 404
    credential = await _answer(alice, key)
    shown = await alice.post("/v1/step-up", session=bob.session, method="passkey", credential=credential)
    assert shown.status == 404
    assert bob.here.second_factor is None


async def test_enrolling_on_somebody_elses_session(house: House) -> None:
    """What was begun in one session is finished in no other, whoever's it is."""
    alice, bob = await house.person("alice"), await house.person("bob")
    key = house.key()
    asked = await alice.post("/v1/factors/passkeys/options")
    credential = key.create(asked.json["options"])
    assert (await bob.post("/v1/factors/passkeys", name="mine", credential=credential)).status == 401
    again = await house.signed_in(alice.ref)
    assert (await again.post("/v1/factors/passkeys", name="mine", credential=credential)).status == 401
    assert (await alice.post("/v1/factors/passkeys", name="mine", credential=credential)).status == 201


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "https://evil.test"},
        {"origin": "https://evil.test", "sec-fetch-site": "same-origin"},
        {"origin": URL, "sec-fetch-site": "cross-site"},
        {"origin": "null"},
        {"sec-fetch-site": "same-site"},
    ],
    ids=str,
)
async def test_csrf_on_enrol(house: House, headers: dict[str, str]) -> None:
    alice = await house.person("alice")
    key = house.key()
    asked = await alice.post("/v1/factors/passkeys/options")
    body = {"name": "theirs", "credential": key.create(asked.json["options"])}
    assert (await alice.send("POST", "/v1/factors/passkeys", body, headers=headers)).status in {401, 403}
    assert (await alice.send("POST", "/v1/factors/totp", {}, headers=headers)).status in {401, 403}
    assert house.app.factors.held(alice.ref).factors == ()


async def test_csrf_that_signs_a_visitor_in_as_somebody_else(house: House) -> None:
    _, key = await _ready(house)
    visitor = house.stranger()
    asked = await visitor.post("/v1/login/passkey/options")
    body = {"credential": key.get(asked.json["options"])}
    for headers in ({}, {"origin": "https://evil.test"}, {"origin": "null"}):
        answer = await visitor.send("POST", "/v1/login/passkey", body, headers=headers)
        assert answer.status == 403
        assert visitor.cookie == ""


async def test_factor_of_a_disabled_person(house: House) -> None:
    alice, key = await _ready(house)
    await house.app.storage.write(lambda tx: roster.disable(tx, alice.ref, "left"))
    assert (await house.stranger().enter(key)).status == 403
    assert (await alice.post("/v1/step-up/options")).status == 401
    await house.app.storage.write(lambda tx: roster.enable(tx, alice.ref))
    assert (await house.stranger().enter(key)).status == 200


async def test_credential_id_collision_with_another_person(house: House) -> None:
    alice, key = await _ready(house)
    mallory = await house.person("mallory")
    twin = house.key()
    twin.lies = Lies(credential=key.held[0].id)
    added = await mallory.add_passkey(twin)
    assert added.status == 409
    assert house.app.factors.held(mallory.ref).factors == ()
    assert (await house.stranger().enter(key)).json["principal"]["id"] == alice.ref.id


async def test_handle_of_another_person(house: House) -> None:
    """A credential proves its owner, whatever handle is said with it."""
    _, key = await _ready(house)
    bob = await house.person("bob")
    theirs = house.key()
    await bob.add_passkey(theirs)
    key.lies = Lies(handle=theirs.held[0].handle)
    assert (await house.stranger().enter(key)).status == 403


async def test_security_key_alone_signs_nobody_in(house: House) -> None:
    alice = await house.person("alice")
    key = house.key(verifies=False)
    await alice.add_passkey(key, kind="security-key")
    key.held[0].discoverable = True
    assert (await house.stranger().enter(key)).status == 403


async def test_security_key_where_the_user_must_be_verified(house: House, rule: Rule) -> None:
    rule('[passkeys]\nuser_verification = "required"\n')
    alice = await house.person("alice")
    assert (await alice.post("/v1/factors/passkeys/options", kind="security-key")).status == 403


# ── attestation ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_attestation_by_an_untrusted_root(house: House, rule: Rule) -> None:
    rule(f'[passkeys]\nroots = ["""{Maker().pem}"""]\n')
    alice = await house.person("alice")
    for attestation in ("x5c", "self", "none"):
        added = await alice.add_passkey(house.key(attestation=attestation))
        assert added.status == 403, added.body
    assert house.app.factors.held(alice.ref).factors == ()


async def test_attestation_for_another_model(house: House, rule: Rule) -> None:
    maker = Maker()
    rule(f'[passkeys]\nroots = ["""{maker.pem}"""]\n')
    alice = await house.person("alice")
    key = house.key(attestation="x5c", maker=maker)
    key.aaguid = bytes(range(16))
    added = await alice.add_passkey(key)
    assert (added.status, added.json["code"]) == (403, "unattested")


async def test_attestation_by_a_certificate_of_the_maker_that_is_for_something_else(house: House, rule: Rule) -> None:
    maker = Maker()
    rule(f'[passkeys]\nroots = ["""{maker.pem}"""]\n')
    alice = await house.person("alice")
    key = house.key(attestation="x5c", maker=maker)
    key.model = maker.certify(unit="Web Server")
    added = await alice.add_passkey(key)
    assert (added.status, added.json["code"]) == (403, "unattested")


async def test_model_that_is_not_accepted(house: House, rule: Rule) -> None:
    maker = Maker()
    rules = f'[passkeys]\nroots = ["""{maker.pem}"""]\naaguids = ["2fc0579f-8113-47ea-b116-bb5a8db9202a"]\n'
    rule(rules)
    alice = await house.person("alice")
    added = await alice.add_passkey(house.key(attestation="x5c", maker=maker))
    assert (added.status, added.json["code"]) == (403, "unattested")


async def test_passkey_from_before_the_rules_asked_for_its_make(house: House, rule: Rule) -> None:
    alice, key = await _ready(house)
    rule(f'[passkeys]\nroots = ["""{Maker().pem}"""]\n')
    assert (await alice.show_passkey(key)).status == 403
    assert (await house.stranger().enter(key)).status == 403


async def test_passkey_of_a_maker_whose_root_was_taken_out(house: House, rule: Rule) -> None:
    maker, other = Maker("One"), Maker("Other")
    rule(f'[passkeys]\nroots = ["""{maker.pem}""", """{other.pem}"""]\n')
    alice = await house.person("alice")
    key = house.key(attestation="x5c", maker=maker)
    assert (await alice.add_passkey(key)).status == 201
    assert (await alice.show_passkey(key)).status == 200
    rule(f'[passkeys]\nroots = ["""{other.pem}"""]\n')
    assert (await alice.show_passkey(key)).status == 403


# ── sizes and forms ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_oversized_client_data(house: House) -> None:
    alice, key = await _ready(house)
    credential = await _answer(alice, key)
    credential["response"]["clientDataJSON"] = b64url(
        from_b64url(credential["response"]["clientDataJSON"])[:-1] + b',"x":"' + b"a" * 5_000 + b'"}'
    )
    assert (await _step_up(alice, credential))[0] == 400


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("clientDataJSON", b64url(b"[" * 1500)),
        ("clientDataJSON", b64url(b'{"type":"webauthn.get"}')),
        ("clientDataJSON", b64url(b"\xff\xfe")),
        ("clientDataJSON", "not base64url!"),
        ("authenticatorData", b64url(bytes(36))),
        ("authenticatorData", b64url(bytes(2000))),
        ("signature", ""),
        ("signature", "A" * 3_000),
        ("userHandle", "A" * 200),
    ],
)
async def test_malformed_assertion(house: House, field: str, value: str) -> None:
    alice, key = await _ready(house)
    credential = await _answer(alice, key)
    credential["response"][field] = value
    assert (await _step_up(alice, credential))[0] in {400, 401, 403}


@pytest.mark.parametrize(
    "attestation",
    [b"", b"\x9f" * 2000, b"\x81" * 30_000, b"\xa1\x63fmt\x64none", bytes(20_000), b"\xff"],
    ids=["empty", "endless arrays", "deep arrays", "no data", "zeros", "break"],
)
async def test_malformed_attestation(house: House, attestation: bytes) -> None:
    alice = await house.person("alice")
    asked = await alice.post("/v1/factors/passkeys/options")
    credential = house.key().create(asked.json["options"])
    credential["response"]["attestationObject"] = b64url(attestation)
    added = await alice.post("/v1/factors/passkeys", name="bomb", credential=credential)
    assert added.status in {400, 401, 403}, added.body


async def test_more_factors_than_anybody_carries(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("everproof.identity.factors.room.MAX_FACTORS", 1)
    alice, _ = await _ready(house)
    assert (await alice.post("/v1/factors/passkeys/options")).status == 403


async def test_passkey_of_somebody_who_is_contained(house: House) -> None:
    alice, key = await _ready(house)
    found = house.app.containment.look(alice.ref)
    await house.app.storage.write(
        lambda tx: house.app.containment.begin(tx, found, by=Ref("User", "ada"), reason="stolen")
    )
    assert (await house.stranger().enter(key)).status == 403
    assert (await alice.post("/v1/step-up/options")).status == 401


async def test_a_first_factor_that_is_not_the_first_any_more(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two at once: a session that was stolen adds the first factor while its person does."""
    alice = await house.person("alice")
    thief = await house.signed_in(alice.ref)
    before = house.app.factors.held(alice.ref)
    assert (await alice.add_totp()).status == 200
    with monkeypatch.context() as patch:
        patch.setattr(house.app.factors, "held", lambda _person: before)
        added = await thief.add_passkey(house.key())
    assert added.status == 403, added.body
    assert "meanwhile" in added.json["detail"]
    assert house.app.factors.telling.kinds(alice.ref) == {"totp"}
    assert thief.here.second_factor is None


async def test_the_last_two_factors_removed_at_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else whoever has just shown one factor gets rid of both, and adds their own as the first."""
    alice = await house.person("alice")
    ids = [(await alice.add_passkey(house.key(), name)).json["id"] for name in ("one", "other")]
    before = house.app.factors.held(alice.ref)
    assert (await alice.send("DELETE", f"/v1/factors/{ids[0]}")).status == 200
    with monkeypatch.context() as patch:
        patch.setattr(house.app.factors, "held", lambda _person: before)
        assert (await alice.send("DELETE", f"/v1/factors/{ids[1]}")).status == 403
    assert [one.id for one in house.app.factors.held(alice.ref).factors] == [ids[1]]
