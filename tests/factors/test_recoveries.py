"""How people who have lost their factors come to one again, and how nobody else does."""

from datetime import timedelta
from typing import Any

import pytest

from everproof.identity import roster
from tests.factors.conftest import Rule
from tests.factors.house import House, Person

RECOVERIES = "/v1/factors/recoveries"


async def _lost(house: House) -> Person:
    """Somebody who has a passkey on record, and not with them."""
    alice = await house.person("alice")
    await alice.add_passkey(house.key(), "lost")
    return await house.signed_in(alice.ref)


async def _administrator(house: House, name: str = "ada") -> Person:
    ada = await house.person(name, "administrators")
    assert (await ada.add_passkey(house.key())).status == 201
    return ada


async def _begun(person: Person, **body: str) -> tuple[str, str]:
    begun = await person.post(RECOVERIES, **body)
    assert begun.status == 201, begun.body
    return begun.json["recovery"]["id"], begun.json["ticket"]


async def _add(person: Person, ticket: str) -> int:
    key = person.house.key()
    asked = await person.post("/v1/factors/passkeys/options", recovery=ticket)
    if asked.status != 200:
        return asked.status
    credential = key.create(asked.json["options"])
    return (await person.post("/v1/factors/passkeys", name="new", credential=credential, recovery=ticket)).status


async def test_two_people_vouch(house: House) -> None:
    alice = await _lost(house)
    elsewhere = await house.signed_in(alice.ref)
    id_, ticket = await _begun(alice, reason="my bag was stolen")
    assert await _add(alice, ticket) in {401, 403}
    ada, bob = await _administrator(house), await _administrator(house, "bob")
    first = await ada.post(f"{RECOVERIES}/{id_}/vouch")
    assert (first.status, first.json["state"]) == (200, "asked")
    assert await _add(alice, ticket) in {401, 403}
    second = await bob.post(f"{RECOVERIES}/{id_}/vouch")
    assert (second.status, second.json["state"]) == (200, "good")
    assert await _add(alice, ticket) == 201
    held = house.app.factors.held(alice.ref).factors
    assert [factor.name for factor in held] == ["new"]
    assert house.app.identity.sessions.find(elsewhere.session) is None
    assert house.notices(alice.ref)[1:] == [
        "A recovery of your account was begun",
        "Somebody vouched for you",
        "Somebody vouched for you",
        "A factor was added to your account",
        "Your account was recovered",
    ]
    recorded = [event["event"] for event in house.events(alice.ref)]
    assert recorded == ["recovery-begun", "recovery-vouched", "recovery-vouched", "recovery-used"]


async def test_recovery_ends_what_a_thief_has_begun_a_moment_ago_at_another_process(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = await house.person("alice")
    await alice.add_passkey(house.key())
    id_, ticket = await _begun(alice)
    for name in ("ada", "bob"):
        assert (await (await _administrator(house, name)).post(f"{RECOVERIES}/{id_}/vouch")).status == 200
    fresh, thief = await house.signed_in(alice.ref), await house.signed_in(alice.ref)
    with monkeypatch.context() as patch:  # this process has not heard of it yet
        patch.setattr(house.app.identity.sessions, "of", lambda _ref: [])
        assert await _add(fresh, ticket) == 201
    assert house.app.identity.sessions.find(thief.session) is None
    assert house.app.identity.sessions.find(fresh.session) is not None


async def test_time_passes(house: House) -> None:
    alice = await _lost(house)
    id_, ticket = await _begun(alice)
    house.clock.advance(timedelta(hours=71))
    assert await _add(await house.signed_in(alice.ref), ticket) in {401, 403}
    house.clock.advance(timedelta(hours=1))
    house.app.work.wake()
    await house.app.work.idle()
    assert house.app.factors.recoveries.find(id_).state == "good"
    assert house.notices(alice.ref)[-1] == "A recovery of your account can be used now"
    later = await house.signed_in(alice.ref)
    assert await _add(later, ticket) == 201
    assert await _add(later, ticket) in {401, 403}


async def test_an_app_takes_the_place_of_all_that_was_lost(house: House) -> None:
    alice = await house.person("alice")
    await alice.add_totp()
    id_, ticket = await _begun(alice)
    for ada in (await _administrator(house), await _administrator(house)):
        await ada.post(f"{RECOVERIES}/{id_}/vouch")
    fresh = await house.signed_in(alice.ref)
    begun = await fresh.post("/v1/factors/totp", name="new phone", recovery=ticket)
    assert begun.status == 201, begun.body
    fresh.secret = begun.json["secret"]
    added = await fresh.post("/v1/factors/totp/confirm", id=begun.json["id"], code=fresh.code(), recovery=ticket)
    assert added.status == 200, added.body
    assert [factor.name for factor in house.app.factors.held(alice.ref).factors] == ["new phone"]


async def test_the_owner_hears_and_stops_it(house: House) -> None:
    alice = await _lost(house)
    thief = await house.signed_in(alice.ref)
    id_, ticket = await _begun(thief)
    assert house.notices(alice.ref)[-1] == "A recovery of your account was begun"
    assert (await alice.post(f"{RECOVERIES}/{id_}/stop")).status == 200
    house.clock.advance(timedelta(hours=73))
    house.app.work.wake()
    await house.app.work.idle()
    assert await _add(await house.signed_in(alice.ref), ticket) in {401, 403}
    assert house.app.factors.recoveries.find(id_).state == "cancelled"


# ── attacks ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_recovery_by_one_person_twice(house: House) -> None:
    alice = await _lost(house)
    id_, ticket = await _begun(alice)
    ada = await _administrator(house)
    assert (await ada.post(f"{RECOVERIES}/{id_}/vouch")).status == 200
    assert (await ada.post(f"{RECOVERIES}/{id_}/vouch")).status == 409
    assert await _add(alice, ticket) in {401, 403}


async def test_recovery_by_oneself(house: House) -> None:
    ada = await _administrator(house)
    id_, ticket = await _begun(ada)
    assert (await ada.post(f"{RECOVERIES}/{id_}/vouch")).status == 403
    assert house.app.factors.recoveries.find(id_).vouched_by == ()
    assert await _add(await house.signed_in(ada.ref), ticket) in {401, 403}


async def test_recovery_vouched_for_without_a_fresh_factor(house: House) -> None:
    alice = await _lost(house)
    id_, _ = await _begun(alice)
    ada = await _administrator(house)
    stolen = await house.signed_in(ada.ref)
    assert (await stolen.post(f"{RECOVERIES}/{id_}/vouch")).status in {401, 403}


async def test_recovery_vouched_for_by_whoever_likes(house: House) -> None:
    alice = await _lost(house)
    id_, _ = await _begun(alice)
    bob = await house.person("bob")
    await bob.add_passkey(house.key())
    assert (await bob.post(f"{RECOVERIES}/{id_}/vouch")).status == 403
    assert (await bob.post(f"{RECOVERIES}/{id_}/stop")).status == 403
    assert (await bob.post(RECOVERIES, person=alice.ref.id)).status == 403
    assert (await bob.send("GET", RECOVERIES, query="everyone=true")).status == 403


async def test_recovery_ticket_of_somebody_else(house: House) -> None:
    alice, mallory = await _lost(house), await _lost(house)
    id_, ticket = await _begun(alice)
    for ada in (await _administrator(house), await _administrator(house)):
        await ada.post(f"{RECOVERIES}/{id_}/vouch")
    assert await _add(mallory, ticket) in {401, 403}
    assert await _add(alice, ticket) == 201


async def test_recovery_ticket_that_was_made_up(house: House) -> None:
    alice = await _lost(house)
    for ticket in ("A" * 43, "not base64url!", "A" * 44):
        assert await _add(alice, ticket) in {400, 401, 403}


async def test_recovery_in_a_session_that_somebody_left_open(house: House) -> None:
    alice = await _lost(house)
    id_, ticket = await _begun(alice)
    for ada in (await _administrator(house), await _administrator(house)):
        await ada.post(f"{RECOVERIES}/{id_}/vouch")
    house.clock.advance(timedelta(minutes=11))
    assert await _add(alice, ticket) in {401, 403}


async def test_recovery_vouched_for_by_somebody_who_is_disabled_since(house: House) -> None:
    alice = await _lost(house)
    id_, ticket = await _begun(alice)
    ada, bob = await _administrator(house), await _administrator(house)
    await ada.post(f"{RECOVERIES}/{id_}/vouch")
    await house.app.storage.write(lambda tx: roster.disable(tx, ada.ref, "left"))
    half = await bob.post(f"{RECOVERIES}/{id_}/vouch")
    assert half.json["state"] == "asked"
    carol = await _administrator(house)
    assert (await carol.post(f"{RECOVERIES}/{id_}/vouch")).json["state"] == "good"
    await house.app.storage.write(lambda tx: roster.disable(tx, bob.ref, "left"))
    assert await _add(alice, ticket) in {401, 403}


async def test_recovery_of_a_disabled_person(house: House) -> None:
    alice = await _lost(house)
    ada = await _administrator(house)
    await house.app.storage.write(lambda tx: roster.disable(tx, alice.ref, "left"))
    assert (await ada.post(RECOVERIES, person=alice.ref.id)).status == 404


async def test_recovery_that_its_owner_cannot_hear_of(house: House) -> None:
    """A thief who waits for three days where no channel reaches the owner."""
    alice = await _lost(house)
    heard: Any = house.app.factors.telling._notices
    heard.reaches = False
    try:
        begun = (await alice.post(RECOVERIES)).json
    finally:
        heard.reaches = True
    assert begun["recovery"]["told"] is False
    house.clock.advance(timedelta(hours=73))
    house.app.work.wake()
    await house.app.work.idle()
    assert await _add(await house.signed_in(alice.ref), begun["ticket"]) in {401, 403}
    for ada in (await _administrator(house), await _administrator(house)):
        assert (await ada.post(f"{RECOVERIES}/{begun['recovery']['id']}/vouch")).status == 200
    assert await _add(await house.signed_in(alice.ref), begun["ticket"]) == 201


async def test_recovery_begun_twice(house: House) -> None:
    alice = await _lost(house)
    await _begun(alice)
    assert (await alice.post(RECOVERIES)).status == 409


async def test_recovery_that_nobody_used_in_time(house: House) -> None:
    alice = await _lost(house)
    id_, ticket = await _begun(alice)
    house.clock.advance(timedelta(hours=72 + 25))
    later = await house.signed_in(alice.ref)
    assert await _add(later, ticket) in {401, 403}
    ada = await _administrator(house)
    assert (await ada.post(f"{RECOVERIES}/{id_}/vouch")).status == 409
    again, _ = await _begun(later)
    assert [one["id"] for one in (await later.send("GET", RECOVERIES)).json["recoveries"]] == [again]


async def test_recovery_without_anything_to_lose(house: House) -> None:
    alice = await house.person("alice")
    assert (await alice.post(RECOVERIES)).status == 409


@pytest.mark.parametrize(
    "rules", ["[recovery]\nwait_hours = 1\n", "[recovery]\npeople = 1\n", "[recovery]\nnone = 1\n"]
)
async def test_rules_that_would_be_a_weaker_way_around(rule: Rule, rules: str) -> None:
    from everproof.kernel.errors import InputError

    with pytest.raises(InputError, match=r"factors\.toml: recovery"):
        rule(rules)
