"""What is over is put on record and told, and years later it can still be found."""

import asyncio
from datetime import timedelta

import msgspec

from everproof.access import Query
from everproof.authorize import Allowed, Denied
from everproof.identity import roster
from everproof.kernel.words import Ref
from everproof.storage import Transaction
from tests.access.house import House


def events(house: House) -> list[str]:
    found = house.app.ledger.tail(-1, 1_000)
    bodies = (msgspec.json.decode(one.entry.body) for one in found if one.entry and one.entry.kind == "access")
    return [one["event"] for one in bodies]


async def settle(house: House) -> int:
    def settled(tx: Transaction) -> int:
        return house.access.settle(tx)

    return await house.app.storage.write(settled)


async def test_each_step_is_an_entry_and_its_people_are_told(house: House) -> None:
    request = await house.request()
    assert house.told[-1].to == (Ref("Group", "release"),)
    await house.approve("rob", request)
    await house.approve("ruth", request)
    assert (house.told[-1].to, house.told[-1].link) == ((Ref("User", "dev"),), f"/requests/{request.id}")
    house.clock.advance(timedelta(hours=1))
    assert await settle(house) == 1
    assert await settle(house) == 0
    assert house.told[-1].text == "Its time is over."
    assert events(house) == ["requested", "approved", "granted", "approved", "expired"]


async def test_request_that_nobody_answers_lapses_by_itself(house: House) -> None:
    request = await house.request("dev", resource=Ref("Environment", "staging"))
    house.clock.advance(timedelta(hours=1))
    assert house.access.read(request.id).state == "lapsed"
    assert isinstance(await house.try_approve("ada", request), Denied)
    assert await settle(house) == 1
    assert house.told[-1].subject.startswith("Lapsed")
    assert house.access.read(request.id).state == "lapsed"
    assert events(house) == ["requested", "lapsed"]


async def test_end_of_a_disabled_persons_grant_is_on_record_without_being_asked_for(house: House) -> None:
    request = await house.request()
    for who in ("rob", "ruth"):
        await house.approve(who, request)
    await house.app.storage.write(lambda tx: roster.disable(tx, Ref("User", "dev"), "left the company"))
    await asyncio.gather(*house.access._tasks)
    found = house.access.read(request.id)
    assert found.state == "revoked"
    assert found.grant is not None
    assert found.grant.reason == "left the company"
    assert events(house)[-1] == "revoked"


async def test_everything_stays_findable_by_whoever_may_see_it(each_house: House) -> None:
    house = each_house
    room = house.access.requests
    one = await house.request()
    assert isinstance(await room.refuse(house.proof("rob"), one.id, reason="no"), Allowed)
    two = await house.request("eve")
    assert isinstance(await room.cancel(house.proof("eve"), two.id), Allowed)
    await house.restart()
    room = house.access.requests

    async def seen(who: str, **query: object) -> list[str]:
        found = await room.find(house.proof(who), Query(**query))  # type: ignore[arg-type] # as a test draws it
        assert isinstance(found, list)
        return [request.id for request in found]

    assert await seen("dev") == [one.id]
    assert await seen("eve") == [two.id]
    assert await seen("rob") == await seen("ada") == [two.id, one.id]
    assert await seen("oli") == []
    assert await seen("ada", state=("refused",)) == [one.id]
    assert await seen("ada", requester="eve") == [two.id]
    assert await seen("ada", before=two.id) == [one.id]
    assert isinstance(await room.show(house.proof("oli"), one.id), Denied)


async def test_nobody_takes_back_what_is_not_theirs(house: House) -> None:
    request = await house.request()
    room = house.access.requests
    assert isinstance(await room.cancel(house.proof("eve"), request.id), Denied)
    assert isinstance(await room.cancel(house.proof("ada"), request.id), Denied)
    for who in ("rob", "ruth"):
        await house.approve(who, request)
    grant = house.access.read(request.id).grant
    assert grant is not None
    assert isinstance(await room.revoke(house.proof("eve"), grant.id), Denied)
    assert isinstance(await room.revoke(house.proof("rob"), grant.id, reason="enough"), Allowed)
    assert isinstance(await room.revoke(house.proof("rob"), grant.id), Denied)
    assert house.told[-1].text == "It was taken back by rob: enough."


async def test_request_that_would_change_nothing_is_refused(house: House) -> None:
    useless = await house.try_request(action="deployment:start", resource=Ref("Repository", "shop"))
    assert isinstance(useless, Denied)
    assert "no policy of this server honours a grant for that" in useless.reason
    needless = await house.try_request("ada", resource=Ref("Environment", "staging"))
    assert isinstance(needless, Denied)
    again = await house.request()
    twice = await house.try_request()
    assert isinstance(twice, Denied)
    assert again.id in twice.reason


async def test_grant_is_extended_only_by_another_request(house: House) -> None:
    request = await house.request(seconds=600)
    for who in ("rob", "ruth"):
        await house.approve(who, request)
    house.clock.advance(timedelta(minutes=9))
    second = await house.request(seconds=600)
    for who in ("rob", "ruth"):
        await house.approve(who, second)
    house.clock.advance(timedelta(minutes=9))
    assert await house.may()
    house.clock.advance(timedelta(minutes=1))
    assert not await house.may()


async def test_longer_than_the_rule_or_without_a_reason_is_refused(house: House) -> None:
    for more in ({"seconds": 7_201}, {"reason": " "}):
        assert isinstance(await house.try_request(**more), Denied)
    stranger = await house.try_request("rob", resource=Ref("Environment", "staging"))
    assert isinstance(stranger, Denied)
    assert "access.toml" in stranger.reason
