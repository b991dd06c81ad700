"""Attacks on requests, approvals and grants; each test is named for what it tries."""

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import update

from everproof.access import Wanted, store
from everproof.access.plain import MAX_TEXT
from everproof.access.requests import MAX_AN_HOUR
from everproof.authorize import Allowed, Denied
from everproof.identity import roster
from everproof.identity.holding import hold
from everproof.kernel.clock import ClockBehindError
from everproof.kernel.errors import InputError, NotFoundError
from everproof.kernel.words import MAIN_SPACE, Action, Principal, Proof, Ref
from everproof.storage import Transaction
from tests.access.house import DEPLOY, PRODUCTION, RULES, House, files


async def granted(house: House, **more: Any) -> Any:
    request = await house.request(**more)
    await house.approve("rob", request)
    found = await house.approve("ruth", request)
    assert found.grant is not None
    return found


async def test_approving_oneself_is_refused_whatever_policy_says(house: House) -> None:
    lax = '@id("lax") @title("Everyone approves") permit (principal, action == Action::"access:approve", resource);'
    await house.rule(_without_forbids(files(lax=lax)))
    request = await house.request("dev")
    outcome = await house.try_approve("dev", request)
    assert isinstance(outcome, Denied)
    assert "nobody approves their own request" in outcome.reason
    assert not (await house.approve("eve", request)).grant


async def test_administrator_approving_their_own_request_is_refused(house: House) -> None:
    """They may do everything already, so they ask for what a forbid keeps from everyone without a grant."""
    closed = (
        '@id("closed") @title("Only by grant") forbid (principal, action == Action::"deployment:start", resource) '
        "unless { context has granted && context.granted };"
    )
    await house.rule(files(closed=closed))
    request = await house.request("ada")
    outcome = await house.try_approve("ada", request)
    assert isinstance(outcome, Denied)
    assert not await house.may("ada")


async def test_one_person_approving_twice_is_refused(each_house: House) -> None:
    house = each_house
    request = await house.request()
    await house.approve("rob", request)
    outcome = await house.try_approve(await house.session("rob"), request)
    assert isinstance(outcome, Denied)
    assert "approved this already" in outcome.reason
    assert len(house.access.read(request.id).approvals) == 1
    assert not await house.may()


async def test_service_of_a_person_approving_as_a_second_account_is_refused(house: House) -> None:
    lax = '@id("lax") @title("Everyone approves") permit (principal, action == Action::"access:approve", resource);'
    await house.rule(files(lax=lax))
    request = await house.request()
    await house.approve("rob", request)
    service = Principal(ref=Ref("Service", "of-rob"), attributes={}, parents=(MAIN_SPACE,))
    proof = Proof(kind="test", principal=service, at=house.clock.now(), claims={"mfa_age": 1})
    outcome = await house.try_approve(proof, request)
    assert isinstance(outcome, Denied)
    assert "answered by people" in outcome.reason


async def test_approval_on_the_word_of_a_service_is_refused(house: House) -> None:
    request = await house.request()
    vouched = msgspec.structs.replace(house.proof("rob"), vouched_by=Ref("Service", "gateway"))
    assert isinstance(await house.try_approve(vouched, request), Denied)


async def test_approval_of_another_request_replayed_is_refused(house: House) -> None:
    harmless = await house.request("eve", reason="look at a log")
    await house.approve("rob", harmless)
    request = await house.request("dev")
    outcome = await house.try_approve("rob", request, digest=harmless.digest)
    assert isinstance(outcome, Denied)
    assert "of another request" in outcome.reason

    def copy(tx: Transaction) -> None:
        kept = store.find_request(tx.connection, harmless.id)
        assert kept is not None
        store.put_answer(tx, request.id, kept.answers[0])

    await house.app.storage.write(copy)
    assert (await house.approve("ruth", request)).state == "approved"  # the copied one does not count
    assert not await house.may("dev")


async def test_request_changed_after_an_approval_is_not_granted(house: House) -> None:
    request = await house.request(seconds=600)
    await house.approve("rob", request)

    def longer(tx: Transaction) -> None:
        kept = store.find_request(tx.connection, request.id)
        assert kept is not None
        body = msgspec.structs.replace(kept.body, seconds=7200)
        changed = update(store.requests).where(store.requests.c.id == request.id)
        tx.connection.execute(changed.values(body=msgspec.json.encode(body, order="sorted")))

    await house.app.storage.write(longer)
    outcome = await house.try_approve("ruth", request)
    assert isinstance(outcome, Denied)
    assert "not what it was" in outcome.reason
    assert not await house.may()


async def test_request_changed_with_its_digest_loses_its_approvals(house: House) -> None:
    request = await house.request(seconds=600)
    await house.approve("rob", request)

    def longer(tx: Transaction) -> None:
        kept = store.find_request(tx.connection, request.id)
        assert kept is not None
        body = msgspec.structs.replace(kept.body, seconds=7200)
        changed = update(store.requests).where(store.requests.c.id == request.id)
        tx.connection.execute(
            changed.values(body=msgspec.json.encode(body, order="sorted"), digest=body.digest)
        )  # fmt: skip

    await house.app.storage.write(longer)
    assert isinstance(await house.try_approve("ruth", request), Denied)
    seen_anew = house.access.read(request.id)
    assert (await house.approve("ruth", seen_anew)).state == "approved"
    assert not await house.may()


@pytest.mark.parametrize("how", ["disabled", "contained", "moved", "session ended"])
async def test_approver_who_lost_the_right_before_the_last_approval_does_not_count(house: House, how: str) -> None:
    request = await house.request()
    rob = await house.session("rob")
    await house.approve(rob, request)

    def lose(tx: Transaction) -> None:
        if how == "disabled":
            roster.disable(tx, Ref("User", "rob"), "left")
        elif how == "contained":
            hold(tx, Ref("User", "rob"), "stolen")
        elif how == "moved":
            roster.set_groups(tx, Ref("User", "rob"), ["developers"])
        else:
            assert rob.credential is not None
            house.app.identity.credentials.revoke(tx, rob.credential, "logged out")

    await house.app.storage.write(lose)
    assert (await house.approve("ruth", request)).state == "approved"
    assert not await house.may()


async def test_approver_disabled_in_the_very_batch_of_the_last_approval_does_not_count(each_house: House) -> None:
    """Memory has not heard of it yet: what counts is what the commit sees."""
    house = each_house
    request = await house.request()
    await house.approve("rob", request)
    proof = house.proof("ruth")
    disabling = house.app.storage.write(lambda tx: roster.disable(tx, Ref("User", "rob"), "left"))
    outcome, _ = await asyncio.gather(house.try_approve(proof, request), disabling)
    assert isinstance(outcome, Denied) or outcome.outcome.grant is None
    assert not await house.may()


async def test_last_approver_disabled_while_their_approval_is_on_its_way_does_not_count(house: House) -> None:
    request = await house.request()
    await house.approve("rob", request)
    proof = house.proof("ruth")
    await house.app.storage.write(lambda tx: roster.disable(tx, Ref("User", "ruth"), "left"))
    assert isinstance(await house.try_approve(proof, request), Denied)
    assert not await house.may()


async def test_requester_disabled_before_the_last_approval_gets_nothing(house: House) -> None:
    request = await house.request()
    await house.approve("rob", request)
    await house.app.storage.write(lambda tx: roster.disable(tx, Ref("User", "dev"), "left"))
    outcome = await house.try_approve("ruth", request)
    assert isinstance(outcome, Denied)
    assert "disabled" in outcome.reason


@pytest.mark.parametrize("age", [None, 300, 86_400])
async def test_approvers_session_without_a_fresh_factor_is_refused(house: House, age: int | None) -> None:
    request = await house.request()
    outcome = await house.try_approve(house.proof("rob", mfa_age=age), request)
    assert isinstance(outcome, Denied)
    assert house.access.read(request.id).approvals == ()


async def test_grant_used_by_another_person_opens_nothing(house: House) -> None:
    await granted(house)
    assert await house.may("dev")
    assert not await house.may("eve")


async def test_grant_used_for_another_resource_or_action_opens_nothing(house: House) -> None:
    await granted(house)
    assert not await house.may("dev", DEPLOY, Ref("Environment", "staging"))
    assert not await house.may("dev", DEPLOY, Ref("Deployment", "production"))
    assert not await house.may("dev", Action("deployment:rollback"))


@pytest.mark.parametrize(
    "name",
    [
        "pr\N{GREEK SMALL LETTER OMICRON}duction",
        "production ",
        "production\u200b",
        "pro\u202eduction",
        "Production",
        "production\0",
        "",
    ],
)
async def test_look_alike_resource_name_is_refused_or_another_thing(house: House, name: str) -> None:
    try:
        outcome = await house.try_request(resource=Ref("Environment", name))
    except InputError:
        return
    if isinstance(outcome, Allowed):
        for who in ("rob", "ruth"):
            await house.try_approve(who, house.access.read(outcome.outcome.id))
    assert not await house.may()


@pytest.mark.parametrize("reason", ["\x1b[2Jok", "a\nApproved by: ada", "\u202etxt.exe", "x" * 1_000_000, "a\0b"])
async def test_reason_that_hides_or_floods_is_refused(house: House, reason: str) -> None:
    with pytest.raises(InputError):
        await house.try_request(reason=reason)
    assert len(reason) < MAX_TEXT or len(reason) == 1_000_000
    request = await house.request()
    with pytest.raises(InputError):
        await house.try_approve("rob", request, message=reason)


async def test_clock_set_back_during_a_grant_does_not_lengthen_it(house: House) -> None:
    await granted(house, seconds=600)
    house.clock.advance(timedelta(seconds=599))
    assert await house.may()
    house.clock.advance(timedelta(seconds=1))
    assert not await house.may()
    house.clock.advance(-timedelta(hours=1))
    assert not await house.may()
    await house.restart()
    assert not await house.may()


async def test_nothing_is_granted_while_the_clock_is_behind(house: House) -> None:
    request = await house.request()
    await house.approve("rob", request)
    house.clock.advance(timedelta(minutes=5))
    await house.may()
    house.clock.advance(-timedelta(minutes=5))
    with pytest.raises(ClockBehindError):
        await house.try_approve("ruth", request)


async def test_expired_grant_stays_expired_across_a_restart(house: House) -> None:
    found = await granted(house, seconds=600)
    await house.restart()
    assert await house.may()
    house.clock.advance(timedelta(minutes=10))
    await house.restart()
    assert not await house.may()
    assert house.access.read(found.id).state == "expired"


async def test_revoked_grant_stays_revoked_across_a_kill(house: House) -> None:
    found = await granted(house)
    await house.access.requests.revoke(house.proof("dev"), found.grant.id)
    await house.restart()
    assert not await house.may()


@pytest.mark.parametrize("first", ["approve", "refuse"])
async def test_refusal_and_last_approval_at_one_moment_leave_one_answer(each_house: House, first: str) -> None:
    house = each_house
    request = await house.request()
    await house.approve("rob", request)
    yes = house.try_approve("ruth", request)
    no = house.access.requests.refuse(house.proof("ada"), request.id, reason="not today")
    outcomes = await asyncio.gather(*((yes, no) if first == "approve" else (no, yes)))
    assert sorted(isinstance(one, Allowed) for one in outcomes) == [False, True]
    found = house.access.read(request.id)
    assert (found.state == "granted") == await house.may()
    assert found.state in {"granted", "refused"}


async def test_two_last_approvals_at_one_moment_make_one_grant(each_house: House) -> None:
    house = each_house
    request = await house.request()
    await house.approve("rob", request)
    outcomes = await asyncio.gather(house.try_approve("ruth", request), house.try_approve("ada", request))
    assert sorted(isinstance(one, Allowed) for one in outcomes) == [False, True]
    with house.app.storage.reading() as connection:
        assert len(store.open_grants(connection)) == 1


async def test_holder_disabled_loses_the_grant_at_once_and_enabling_does_not_bring_it_back(house: House) -> None:
    await granted(house)
    proof = house.proof("dev")
    await house.app.storage.write(lambda tx: roster.disable(tx, Ref("User", "dev"), "left"))
    await house.app.storage.write(lambda tx: roster.enable(tx, Ref("User", "dev")))
    assert not await house.may("dev")
    assert proof.principal.ref == Ref("User", "dev")


async def test_policy_that_honours_grants_no_more_ends_what_they_open(house: House) -> None:
    await granted(house)
    assert await house.may()
    closed = '@id("closed") @title("Frozen") forbid (principal, action == Action::"deployment:start", resource);'
    await house.rule(files(closed=closed))
    assert not await house.may()


async def test_rule_that_asks_for_more_people_by_now_holds_for_what_was_requested_before(house: House) -> None:
    request = await house.request()
    await house.approve("rob", request)
    stricter = files()["access.toml"].decode().replace("people = 2", "people = 3")
    await house.rule(files(stricter))
    assert (await house.approve("ruth", request)).state == "approved"
    assert (await house.approve("ada", request)).state == "granted"


async def test_approver_whom_the_rule_names_no_more_does_not_count(house: House) -> None:
    request = await house.request()
    await house.approve("rob", request)
    await house.rule(files(RULES.replace('Group::"release"', 'User::"ada"')))
    assert isinstance(await house.try_approve("ruth", request), Denied)
    assert (await house.approve("ada", request)).state == "approved"  # rob, who was an owner, counts no more
    assert (await house.approve("grace", request)).state == "granted"


async def test_requests_made_and_taken_back_over_and_over_flood_nobody(house: House) -> None:
    for _ in range(MAX_AN_HOUR):
        request = await house.request()
        assert isinstance(await house.access.requests.cancel(house.proof("dev"), request.id), Allowed)
    told = len(house.told)
    outcome = await house.try_request("dev", "deployment:start", PRODUCTION, 3600, "once more")
    assert isinstance(outcome, Denied)
    assert "within an hour" in outcome.reason
    assert len(house.told) == told
    house.clock.advance(timedelta(hours=1))
    await house.request()


async def test_request_that_no_rule_has_any_more_is_not_granted(house: House) -> None:
    request = await house.request()
    await house.approve("rob", request)
    await house.rule(files("[[rule]]\nactions = ['host:login']\nresources = ['Host::\"*\"']\n"))
    assert isinstance(await house.try_approve("ruth", request), Denied)


async def test_grant_credential_shown_as_a_token_is_nobody(house: House) -> None:
    """It is on record as a credential, and nothing that can be shown stands for it."""
    found = await granted(house)
    with pytest.raises(Exception, match="token"):
        house.app.identity.tokens.verify(found.grant.id)


async def test_request_for_another_person_cannot_be_said(house: House) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(
            {
                "action": "deployment:start",
                "resource": {"type": "Environment", "id": "production"},
                "seconds": 60,
                "requester": {"type": "User", "id": "ada"},
            },
            Wanted,
        )


async def test_request_of_a_job_is_refused(house: House) -> None:
    job = Principal(ref=Ref("Job", "github/74/1"), attributes={}, parents=(MAIN_SPACE,))
    wanted = Wanted(action="deployment:start", resource=PRODUCTION, seconds=60, reason="x")
    proof = Proof(kind="ci-token", principal=job, at=house.clock.now())
    assert isinstance(await house.access.requests.request(proof, wanted), Denied)


async def test_answer_to_a_request_that_there_is_not_is_not_found(house: House) -> None:
    with pytest.raises(NotFoundError):
        await house.access.requests.approve(house.proof("ada"), "req_nothing", digest="0" * 64)


async def test_grant_for_a_repository_holds_for_its_branches_and_for_no_others(house: House) -> None:
    push, shop = Action("git:push"), Ref("Repository", "shop")
    own = (
        '@id("own") @title("Push by grant") permit (principal is User, action == Action::"git:push", resource) '
        "when { context has granted && context.granted };"
    )
    await house.rule(files(own=own))
    request = await house.request("eve", "git:push", shop)
    await house.approve("ada", request)
    branch = Ref("Branch", "shop@refs/heads/main")
    assert await house.may("eve", push, branch, parents=(shop,))
    assert not await house.may("eve", push, branch)
    assert not await house.may("eve", push, branch, parents=(Ref("Repository", "shop-2"),))


def _without_forbids(bundle: dict[str, bytes]) -> dict[str, bytes]:
    """The starter without what it keeps back of access, and without its tests: the hard rules alone are left."""
    path = "policies/access.cedar"
    text = bundle[path].decode().partition("// From here on nothing is given")[0]
    return {
        name: content
        for name, content in {**bundle, path: text.encode()}.items()
        if not name.endswith(".test.toml")
    }  # fmt: skip
