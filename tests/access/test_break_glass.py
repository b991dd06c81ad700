from datetime import timedelta
from typing import Any

import pytest

from everproof.access.break_glass import Fetched, Opened, Plan
from everproof.access.kit_store import Kit
from everproof.authorize import Allowed, Denied
from everproof.identity import roster
from everproof.kernel.errors import InputError, UnauthenticatedError
from everproof.kernel.words import MAIN_SPACE, Action, Ref, Resource
from tests.access.house import House

LOGIN = Action("host:login")
WEB = Ref("Host", "web-1")
KEY = "wDe5LeQ7Nb3iUyPZCX2RSAzYxnJ0_o7ogqC0MGGWmY4"


async def prepared(house: House, *people: str, **more: Any) -> Kit:
    plan = Plan(people=people or ("rob", "ruth"), **{"actions": ("host:login",), "resource": MAIN_SPACE, **more})
    outcome = await house.access.break_glass.prepare(house.proof("ada"), plan)
    assert isinstance(outcome, Allowed), outcome
    found: Kit = outcome.outcome
    return found


async def fetched(house: House, kit: Kit, who: str) -> str:
    outcome = await house.access.break_glass.fetch(house.proof(who), kit.id)
    assert isinstance(outcome, Allowed), outcome
    found: Fetched = outcome.outcome
    assert found.half not in repr(found)
    return found.half


async def halves(house: House) -> tuple[Kit, str, str]:
    kit = await prepared(house)
    return kit, await fetched(house, kit, "rob"), await fetched(house, kit, "ruth")


async def opened(house: House, *shown: str) -> Opened:
    found = await house.access.break_glass.open(shown, key=KEY, reason="the provider is down")
    assert isinstance(found, Opened)
    return found


async def test_two_halves_open_for_an_hour_what_the_kit_is_for_and_everyone_hears(each_house: House) -> None:
    house = each_house
    kit, one, other = await halves(house)
    assert not await house.may("rob", LOGIN, WEB)
    found = await opened(house, one, other)
    assert found.principal == Ref("User", "rob")
    assert found.expires_in == 3600
    assert found.access_token not in repr(found)
    proof = house.app.identity.tokens.verify(found.access_token).proof
    assert (proof.principal.ref, proof.key) == (Ref("User", "rob"), KEY)
    login = Resource(ref=WEB, parents=(MAIN_SPACE,))
    assert isinstance(await house.app.authorizer.authorize(proof, LOGIN, login), Allowed)
    assert not await house.may("rob", LOGIN, WEB)  # in another session of theirs
    assert not await house.may("ruth", LOGIN, WEB)
    beyond = await house.app.authorizer.authorize(proof, Action("deployment:start"), login)
    assert isinstance(beyond, Denied)
    assert "scope" in beyond.reason
    notice = house.told[-1]
    assert notice.subject == "Break-glass was opened by rob and ruth"
    assert Ref("Group", "administrators") in notice.to
    assert "not reviewed" not in (house.access.break_glass.warning() or "")
    assert kit.id in (house.access.break_glass.warning() or "")
    house.clock.advance(timedelta(hours=1))
    assert isinstance(await house.app.authorizer.authorize(proof, LOGIN, login), Denied)


async def test_halves_of_one_person_open_nothing(house: House) -> None:
    _, one, _ = await halves(house)
    for shown in ((one, one), (one,), (), (one, one, one)):
        with pytest.raises(UnauthenticatedError):
            await house.access.break_glass.open(shown, key=KEY, reason="x")
    with pytest.raises(InputError):
        await prepared(house, "rob", "rob")
    assert not await house.may("rob", LOGIN, WEB)


async def test_half_relabelled_as_the_other_persons_opens_nothing(house: House) -> None:
    _, one, _ = await halves(house)
    with pytest.raises(UnauthenticatedError):
        await house.access.break_glass.open((one, one.replace(":rob:", ":ruth:")), key=KEY, reason="x")


async def test_halves_of_two_kits_open_nothing(house: House) -> None:
    _, one, _ = await halves(house)
    _, _, other = await halves(house)
    with pytest.raises(UnauthenticatedError):
        await house.access.break_glass.open((one, other), key=KEY, reason="x")


async def test_kit_opens_once_also_after_a_restart(house: House) -> None:
    kit, one, other = await halves(house)
    await opened(house, one, other)
    for _ in range(2):
        with pytest.raises(UnauthenticatedError):
            await house.access.break_glass.open((one, other), key=KEY, reason="again")
        await house.restart()
    assert kit.id in (house.access.break_glass.warning() or "")


async def test_half_is_fetched_once_and_only_by_its_person_with_a_fresh_factor(house: House) -> None:
    kit = await prepared(house)
    room = house.access.break_glass
    assert isinstance(await room.fetch(house.proof("rob", mfa_age=301), kit.id), Denied)
    await fetched(house, kit, "rob")
    for who in ("rob", "eve", "ada"):
        assert isinstance(await room.fetch(house.proof(who), kit.id), Denied)


async def test_being_named_for_a_kit_lets_nobody_make_or_withdraw_one(house: House) -> None:
    plan = Plan(people=("rob", "ruth"), actions=("host:login",), resource=MAIN_SPACE)
    room = house.access.break_glass
    assert isinstance(await room.prepare(house.proof("rob"), plan), Denied)
    kit = await prepared(house)
    assert isinstance(await room.withdraw(house.proof("rob"), kit.id), Denied)
    assert isinstance(await room.withdraw(house.proof("ada"), kit.id), Allowed)
    assert isinstance(await room.fetch(house.proof("rob"), kit.id), Denied)


async def test_half_of_somebody_disabled_since_opens_nothing(house: House) -> None:
    _, one, other = await halves(house)
    await house.app.storage.write(lambda tx: roster.disable(tx, Ref("User", "ruth"), "left"))
    found = await house.access.break_glass.open((one, other), key=KEY, reason="x")
    assert isinstance(found, Denied)
    with pytest.raises(UnauthenticatedError):
        await house.access.break_glass.open((other, one), key=KEY, reason="x")


async def test_nobody_reviews_what_they_opened_and_what_is_left_is_shown_until_done(house: House) -> None:
    kit, one, other = await halves(house)
    assert house.access.break_glass.left() == []
    await opened(house, one, other)
    room = house.access.break_glass
    await house.app.storage.write(lambda tx: roster.set_groups(tx, Ref("User", "rob"), ["administrators"]))
    assert isinstance(await room.review(house.proof("rob"), kit.id, report="fine"), Denied)
    assert len(room.left()) == 2
    assert isinstance(await room.review(house.proof("ada"), kit.id, report="it was right"), Allowed)
    assert isinstance(await room.review(house.proof("ada"), kit.id, report="again"), Denied)
    assert room.left() == ["break-glass was used, and no kit is ready since: everproof break-glass prepare"]
    await halves(house)
    assert room.left() == []
    assert room.warning() is None


async def test_open_kit_is_closed_by_revoking_its_credential(house: House) -> None:
    _, one, other = await halves(house)
    found = await opened(house, one, other)
    assert isinstance(await house.access.requests.revoke(house.proof("ada"), found.kit.grant), Allowed)
    assert not await house.may("rob", LOGIN, WEB)
    with pytest.raises(UnauthenticatedError):
        house.app.identity.tokens.verify(found.access_token)


async def test_break_glass_approves_nothing_and_makes_no_other_kit(house: House) -> None:
    kit = await prepared(house, "ada", "grace", actions=("host:login", "access:approve", "access:break-glass"))
    shown = [await fetched(house, kit, who) for who in ("ada", "grace")]
    found = await opened(house, *shown)
    proof = house.app.identity.tokens.verify(found.access_token).proof
    plan = Plan(people=("rob", "ruth"), actions=("host:login",), resource=MAIN_SPACE)
    assert isinstance(await house.access.break_glass.prepare(proof, plan), Denied)


@pytest.mark.parametrize("typed", ["", "kit_1:rob:AAAA", "x" * 10_000, "kit_" + "0" * 32 + ":rob:" + "A" * 32])
async def test_garbage_for_a_half_is_refused(house: House, typed: str) -> None:
    with pytest.raises(UnauthenticatedError):
        await house.access.break_glass.open((typed, typed), key=KEY, reason="x")


async def test_half_is_read_however_it_was_typed(house: House) -> None:
    _, one, other = await halves(house)
    kit, person, secret = one.split(":")
    found = await opened(house, f" {kit}:{person}:{secret.lower().replace('-', ' ')} ", other)
    assert found.kit.state == "used"
