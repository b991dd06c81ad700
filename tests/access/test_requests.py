from datetime import timedelta

from everproof.authorize import Allowed
from everproof.kernel.words import Ref
from tests.access.house import House


async def test_two_people_grant_and_it_ends_by_itself(each_house: House) -> None:
    house = each_house
    assert not await house.may()
    request = await house.request()
    assert (request.state, request.needs) == ("requested", 2)
    assert (await house.approve("rob", request)).state == "approved"
    assert not await house.may()
    granted = await house.approve("ruth", request, message="go")
    assert granted.state == "granted"
    assert granted.grant is not None
    assert granted.grant.approvers == (Ref("User", "rob"), Ref("User", "ruth"))
    assert [one.method for one in granted.approvals] == ["passkey", "passkey"]
    assert await house.may()
    house.clock.advance(timedelta(minutes=59))
    assert await house.may()
    house.clock.advance(timedelta(minutes=1))
    assert not await house.may()
    assert house.access.read(request.id).state == "expired"


async def test_a_grant_is_taken_back_by_its_holder(house: House) -> None:
    request = await house.request()
    await house.approve("rob", request)
    grant = (await house.approve("ruth", request)).grant
    assert grant is not None
    outcome = await house.access.requests.revoke(house.proof("dev"), grant.id, reason="done")
    assert isinstance(outcome, Allowed)
    assert not await house.may()
    found = house.access.read(request.id)
    assert found.state == "revoked"
    assert found.grant is not None
    assert (found.grant.by, found.grant.reason) == (Ref("User", "dev"), "done")
