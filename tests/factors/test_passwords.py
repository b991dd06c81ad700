"""One-time passwords and recovery codes, and attacks on them."""

import asyncio
import re
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from everproof.identity import roster
from everproof.identity.factors import throttle, totp
from everproof.identity.factors.recovery_codes import hash_of, new_codes
from everproof.kernel.errors import NotFoundError
from tests.factors.conftest import Rule
from tests.factors.house import House, Person

STEP = timedelta(seconds=30)


async def _with_app(house: House) -> Person:
    alice = await house.person("alice")
    added = await alice.add_totp()
    assert added.status == 200, added.body
    house.clock.advance(STEP * 2)
    return alice


async def _with_codes(house: House) -> tuple[Person, list[str]]:
    alice = await house.person("alice")
    await alice.add_passkey(house.key())
    made = await alice.send("POST", "/v1/factors/recovery-codes")
    assert made.status == 201, made.body
    return alice, made.json["codes"]


@pytest.mark.parametrize(
    ("seconds", "code"), [(59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (20000000000, "353130")]
)
def test_codes_are_those_of_rfc_6238(seconds: int, code: str) -> None:
    assert totp.code_at(b"12345678901234567890", seconds // 30) == code


async def test_an_app_is_added_by_its_first_code_and_shown(house: House) -> None:
    alice = await _with_app(house)
    assert alice.here.second_factor == "totp"
    shown = await alice.show_code(alice.code())
    assert shown.status == 200, shown.body
    assert shown.json["method"] == "totp"
    assert alice.here.strength["totp"] == {"user_verified": False}


async def test_the_secret_is_given_once(house: House) -> None:
    alice = await house.person("alice")
    begun = (await alice.post("/v1/factors/totp")).json
    address = urlsplit(begun["uri"])
    said = {name: values[0] for name, values in parse_qs(address.query).items()}
    assert said == {
        "secret": begun["secret"], "issuer": "everproof.example", "algorithm": "SHA1", "digits": "6", "period": "30",
    }  # fmt: skip
    assert (address.scheme, address.netloc) == ("otpauth", "totp")
    assert begun["qr"]["svg"].startswith("<svg ")
    assert re.fullmatch(r"(M\d+ \d+h1v1h-1z)+", begun["qr"]["path"])
    held = (await alice.send("GET", "/v1/factors")).body
    assert begun["secret"].encode() not in held
    entries = [house.app.ledger.read(index) for index in range(house.app.ledger.size)]
    assert not any(begun["secret"].encode() in bytes(entry.body) for entry in entries)
    assert begun["secret"] not in repr(house.app.factors.held(alice.ref))


async def test_an_app_whose_first_code_never_came_counts_for_nothing(house: House) -> None:
    alice = await house.person("alice")
    begun = (await alice.post("/v1/factors/totp")).json
    alice.secret = begun["secret"]
    assert (await alice.send("GET", "/v1/factors")).json["factors"] == []
    assert (await alice.show_code(alice.code())).status == 403
    house.clock.advance(timedelta(minutes=11))
    late = await house.signed_in(alice.ref)
    late.secret = alice.secret
    assert (await late.post("/v1/factors/totp/confirm", id=begun["id"], code=late.code())).status == 403


async def test_only_one_app(house: House) -> None:
    alice = await _with_app(house)
    assert (await alice.post("/v1/factors/totp")).status == 409


async def test_one_time_passwords_are_not_accepted_where_the_rules_say_so(house: House, rule: Rule) -> None:
    rule("[totp]\naccepted = false\n")
    alice = await house.person("alice")
    assert (await alice.add_totp()).status == 403


@pytest.mark.parametrize(("steps", "status"), [(-2, 403), (-1, 200), (0, 200), (1, 200), (2, 403)])
async def test_codes_of_one_step_before_and_after(house: House, steps: int, status: int) -> None:
    alice = await _with_app(house)
    assert (await alice.show_code(alice.code(steps))).status == status


# ── attacks ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_totp_replay_within_its_step(house: House) -> None:
    alice = await _with_app(house)
    code = alice.code()
    assert (await alice.show_code(code)).status == 200
    thief = await house.signed_in(alice.ref)
    replayed = await thief.show_code(code)
    assert (replayed.status, replayed.json["code"]) == (403, "wrong-code")
    assert thief.here.second_factor is None


async def test_totp_of_the_step_before_the_one_that_was_shown(house: House) -> None:
    alice = await _with_app(house)
    before = alice.code()
    house.clock.advance(STEP)
    assert (await alice.show_code(alice.code())).status == 200
    assert (await alice.show_code(before)).status == 403


async def test_the_first_code_is_none_to_be_shown_again(house: House) -> None:
    alice = await house.person("alice")
    await alice.add_totp()
    assert (await alice.show_code(alice.code())).status == 403


async def test_totp_shown_twice_at_once(house: House) -> None:
    alice = await _with_app(house)
    thief = await house.signed_in(alice.ref)
    code = alice.code()
    answers = await asyncio.gather(*(who.show_code(code) for who in (alice, thief) for _ in range(2)))
    assert sorted(one.status for one in answers).count(200) == 1


async def test_totp_brute_force_is_throttled(house: House) -> None:
    alice = await _with_app(house)
    wrong = f"{(int(alice.code()) + 1) % 1_000_000:06}"
    statuses = [(await alice.show_code(wrong)).status for _ in range(throttle.FREE + 2)]
    assert statuses == [403] * throttle.FREE + [429] * 2
    refused = await alice.show_code(alice.code())
    assert refused.status == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert (await alice.post("/v1/step-up/options")).json["wait_seconds"]["totp"] >= 1
    failed = [one["failures"] for one in house.events(alice.ref) if one["event"] == "factor-failed"]
    assert failed == [1, 2, 3]
    house.clock.advance(timedelta(seconds=10))
    assert (await alice.show_code(alice.code())).status == 200
    assert (await alice.show_code("000000")).status == 403


async def test_totp_brute_force_at_once_is_throttled(house: House) -> None:
    alice = await _with_app(house)
    answers = await asyncio.gather(*(alice.show_code(f"{number:06}") for number in range(12)))
    assert [one.status for one in answers].count(403) <= throttle.FREE
    assert [one.status for one in answers].count(429) >= 12 - throttle.FREE


async def test_brute_force_waits_grow_and_end_with_the_factor(house: House) -> None:
    waits = [throttle.wait_after(failures) for failures in range(1, throttle.MAX_FAILURES)]
    assert waits == sorted(waits)
    assert waits[: throttle.FREE - 1] == [timedelta()] * (throttle.FREE - 1)
    assert waits[-1] == throttle.LONGEST_WAIT
    alice = await _with_app(house)
    for _ in range(throttle.MAX_FAILURES):
        house.clock.advance(throttle.LONGEST_WAIT)
        thief = await house.signed_in(alice.ref)
        assert (await thief.show_code("not a code")).status == 403
        await house.app.storage.write(
            lambda tx: house.app.identity.sessions.end(tx, thief.session, "tried")  # noqa: B023 - awaited here
        )
    held = house.app.factors.held(alice.ref).factors
    assert held[0].state == "suspended"
    assert house.notices(alice.ref)[-2:] == [
        "Wrong codes were tried on your account",
        "A factor of yours was suspended",
    ]


async def test_throttle_is_no_lockout_of_other_ways_in(house: House) -> None:
    alice = await house.person("alice")
    key = house.key()
    await alice.add_passkey(key)
    await alice.add_totp()
    for _ in range(throttle.FREE + 1):
        await alice.show_code("000000")
    assert (await alice.show_code(alice.code())).status == 429
    assert (await alice.show_passkey(key)).status == 200


async def test_totp_of_somebody_else(house: House) -> None:
    alice, bob = await _with_app(house), await _with_app(house)
    assert (await bob.show_code(alice.code())).status == 403
    begun = (await (await house.person("carol")).post("/v1/factors/totp")).json
    dave = await house.person("dave")
    dave.secret = begun["secret"]
    assert (await dave.post("/v1/factors/totp/confirm", id=begun["id"], code=dave.code())).status == 403


async def test_code_of_a_disabled_person(house: House) -> None:
    alice = await _with_app(house)
    await house.app.storage.write(lambda tx: roster.disable(tx, alice.ref, "left"))
    assert (await alice.show_code(alice.code())).status == 401


async def test_downgrade_from_passkey_to_totp_where_policy_wants_a_passkey(house: House) -> None:
    """Adding factors, for whoever has a passkey, is such a thing: a code that was phished is not enough."""
    alice = await house.person("alice")
    await alice.add_passkey(house.key())
    await alice.add_totp()
    house.clock.advance(STEP * 2)
    thief = await house.signed_in(alice.ref)
    thief.secret = alice.secret
    assert (await thief.show_code(thief.code())).status == 200
    asked = await thief.post("/v1/factors/passkeys/options")
    assert asked.status in {401, 403}
    assert (await thief.send("POST", "/v1/factors/recovery-codes")).status in {401, 403}
    # A code after the passkey does not lend the passkey its freshness.
    house.clock.advance(STEP)
    await alice.show_code(alice.code())
    assert (await alice.post("/v1/factors/passkeys/options")).status in {401, 403}


async def test_adding_a_factor_makes_a_session_no_stronger(house: House) -> None:
    """Who has shown a code and adds a passkey has not shown that, and a new app does not take a passkey's place."""
    alice, bob = await _with_app(house), await house.person("bob")
    await alice.add_passkey(house.key())
    assert alice.here.second_factor == "totp"
    await bob.add_passkey(house.key())
    await bob.add_totp()
    assert bob.here.second_factor == "passkey"


# ── recovery codes ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_recovery_codes_are_ten_and_read_however_they_are_typed() -> None:
    codes = new_codes()
    assert len(set(codes)) == 10
    assert all(re.fullmatch(r"([0-9A-HJKMNP-TV-Z]{4}-){3}[0-9A-HJKMNP-TV-Z]{4}", code) for code in codes)
    assert hash_of("0O1I-LABC-DEFG-HJKM", factor="f") == hash_of("00 11 1abc defghjkm", factor="f")
    assert hash_of(codes[0], factor="f") != hash_of(codes[0], factor="g")


async def test_recovery_code_twice(house: House) -> None:
    alice, codes = await _with_codes(house)
    shown = await alice.show_code(codes[0], "recovery-code")
    assert shown.status == 200, shown.body
    assert house.notices(alice.ref)[-1] == "A recovery code of yours was used"
    again = await alice.show_code(codes[0], "recovery-code")
    assert (again.status, again.json["code"]) == (403, "wrong-code")
    assert (await alice.send("GET", "/v1/factors")).json["codes_left"] == 9


async def test_recovery_code_twice_at_once(house: House) -> None:
    alice, codes = await _with_codes(house)
    answers = await asyncio.gather(*(alice.show_code(codes[0], "recovery-code") for _ in range(3)))
    assert [one.status for one in answers].count(200) == 1


async def test_new_recovery_codes_end_the_old_ones(house: House) -> None:
    alice, codes = await _with_codes(house)
    made = await alice.send("POST", "/v1/factors/recovery-codes")
    assert made.status == 201
    assert (await alice.show_code(codes[0], "recovery-code")).status == 403
    assert (await alice.show_code(made.json["codes"][0].lower(), "recovery-code")).status == 200


async def test_recovery_codes_of_somebody_else(house: House) -> None:
    _, codes = await _with_codes(house)
    bob, _ = await _with_codes(house)
    assert (await bob.show_code(codes[0], "recovery-code")).status == 403


async def test_recovery_codes_without_a_factor_to_lose(house: House) -> None:
    alice = await house.person("alice")
    assert (await alice.send("POST", "/v1/factors/recovery-codes")).status == 409


async def test_recovery_code_lets_a_lost_passkey_be_replaced(house: House) -> None:
    alice, codes = await _with_codes(house)
    later = await house.signed_in(alice.ref)
    assert (await later.post("/v1/factors/passkeys/options")).status in {401, 403}
    assert (await later.show_code(codes[3], "recovery-code")).status == 200
    assert (await later.add_passkey(house.key())).status == 201


async def test_last_factor_stays(house: House) -> None:
    alice = await house.person("alice")
    first = (await alice.add_passkey(house.key())).json["id"]
    await alice.send("POST", "/v1/factors/recovery-codes")
    assert (await alice.send("DELETE", f"/v1/factors/{first}")).status == 403
    second = (await alice.add_passkey(house.key())).json["id"]
    assert (await alice.send("DELETE", f"/v1/factors/{first}")).status == 200
    assert (await alice.send("DELETE", f"/v1/factors/{second}")).status == 403


async def test_factor_of_somebody_else_is_not_removed(house: House) -> None:
    alice, mallory = await house.person("alice"), await house.person("mallory")
    first = (await alice.add_passkey(house.key())).json["id"]
    await mallory.add_passkey(house.key())
    assert (await mallory.send("DELETE", f"/v1/factors/{first}")).status == 403
    assert (await mallory.send("PATCH", f"/v1/factors/{first}", {"name": "mine"})).status == 404
    assert (await mallory.send("GET", "/v1/factors", query=f"person={alice.ref.id}")).status == 403


async def test_administrator_removes_a_lost_factor_and_its_owner_hears(house: House) -> None:
    alice, ada = await house.person("alice"), await house.person("ada", "administrators")
    first = (await alice.add_passkey(house.key())).json["id"]
    assert (await ada.send("DELETE", f"/v1/factors/{first}")).status in {401, 403}
    await ada.add_passkey(house.key())
    assert (await ada.send("DELETE", f"/v1/factors/{first}")).status == 200
    assert house.notices(alice.ref)[-1] == "A factor was removed from your account"


async def test_first_factor_in_a_session_of_this_morning(house: House) -> None:
    alice = await house.person("alice")
    house.clock.advance(timedelta(minutes=11))
    assert (await alice.post("/v1/factors/passkeys/options")).status in {401, 403}
    assert (await alice.post("/v1/factors/totp")).status in {401, 403}


@pytest.mark.parametrize("name", ["", " ", "a\u202eb", "x" * 65, "line\nbreak"])
async def test_name_that_is_none(house: House, name: str) -> None:
    alice = await house.person("alice")
    assert (await alice.post("/v1/factors/totp", name=name)).status == 400


async def test_what_nobody_looks_at_is_forgotten(house: House) -> None:
    alice = await house.person("alice")
    await alice.post("/v1/factors/totp")
    await alice.add_passkey(house.key())
    begun = (await alice.post("/v1/factors/recoveries")).json["recovery"]["id"]
    house.clock.advance(timedelta(hours=100))
    await house.app.storage.write(lambda tx: house.app.factors.forget(tx, tx.now))
    assert [factor.kind for factor in house.app.factors.held(alice.ref).factors] == ["passkey"]
    with pytest.raises(NotFoundError):
        house.app.factors.recoveries.find(begun)
