"""Memberships of both platforms, whose APIs answer as is published: planned, applied, undone, and found to drift."""

from datetime import timedelta

import pytest

from everproof.kernel.errors import ConflictError, Error, InputError, RefusedError
from everproof.kernel.words import Ref
from everproof.provisioning.memberships_file import memberships_of
from everproof.work import PostponedError
from tests.fakes.https import Said
from tests.memberships.conftest import ALICE, BOB, CAROL, MEMBERSHIPS, OWNER, ROBOT, STRANGER, Site

BOTH = pytest.mark.parametrize("name", ["acme", "shop"])


@BOTH
async def test_what_is_as_it_should_be_is_left_alone(site: Site, name: str) -> None:
    assert await site.told(name) == []
    with pytest.raises(RefusedError, match="nothing to change"):
        await site.apply(name)


async def test_a_mover_becomes_what_the_groups_say(site: Site) -> None:
    await site.groups("bob", "platform", "leads")
    await site.groups("carol", "platform")
    assert await site.told("acme") == [
        "organisation 9919: make carol (account 13) member",
        "team 42: make bob (bob-gh 12) maintainer instead of member",
        "team 42: make carol (account 13) member",
        "repository acme/shop: remove carol (carol-gh 13), write",
    ]
    assert (await site.apply("acme")).stage == "verified"
    assert [one for one, _ in site.github.invitations.values()] == [CAROL]
    assert site.github.teams[42].members[BOB] == "maintainer"
    assert site.github.repositories[1296269].collaborators == {}
    assert await site.told("acme") == []  # who is invited is waited for, not invited again
    assert (await site.apply("shop")).stage == "verified"
    assert site.gitlab.groups[100].members[CAROL] == 30
    assert site.gitlab.groups[101].members == {ALICE: 40, BOB: 40, CAROL: 30}
    assert await site.told("shop") == []


@BOTH
async def test_a_leaver_is_removed_everywhere_and_undo_does_not_bring_them_back(site: Site, name: str) -> None:
    await site.disable("bob")
    await site.disable("carol")
    effect = await site.apply(name)
    assert effect.stage == "verified"
    members = site.github.members if name == "acme" else site.gitlab.groups[100].members
    assert BOB not in members
    assert BOB not in site.github.teams[42].members or name == "shop"
    place = site.github.repositories[1296269].collaborators if name == "acme" else site.gitlab.projects[500].members
    assert place == {}
    await site.write(lambda tx: site.app.work.effects.undo(tx, effect.id, Ref("User", "root")))
    assert (await site.settled(effect.id)).stage == "undone"
    assert BOB not in members
    assert not site.github.invitations


@BOTH
async def test_undo_gives_back_what_was_taken_from_those_who_are_here(site: Site, name: str) -> None:
    await site.groups("carol")
    effect = await site.apply(name)
    await site.write(lambda tx: site.app.work.effects.undo(tx, effect.id, Ref("User", "root")))
    assert (await site.settled(effect.id)).stage == "undone"
    if name == "acme":
        assert list(site.github.repositories[1296269].invited.values()) == [(CAROL, "push")]
    else:
        assert site.gitlab.projects[500].members == {CAROL: 20}


@BOTH
async def test_the_last_owner_is_never_removed(site: Site, name: str) -> None:
    await site.disable("root")
    await site.groups("bob", "owners", "platform")
    report = await site.look(name)
    withheld = [one for one in report.changes if one.withheld]
    assert [(one.account, one.before) for one in withheld] == [(str(OWNER), "owner")]
    await site.apply(name)
    owners = {
        "acme": [one for one, role in site.github.members.items() if role == "admin"],
        "shop": [one for one, level in site.gitlab.groups[100].members.items() if level == 50],
    }
    assert sorted(owners[name]) == [OWNER, BOB]
    # Only now, that another one is there, does the old one go.
    await site.apply(name)
    assert await site.told(name) == []


async def test_strangers_are_reported_and_removed_only_where_told(site: Site) -> None:
    site.github.members[STRANGER] = "member"
    site.github.invitations[1] = (STRANGER, "member")
    report = await site.look("acme")
    assert [str(one) for one in report.changes] == ["organisation 9919: remove a stranger (stranger 99), member"]
    assert report.to_make == ()
    assert report.unknown == ("stranger",)
    await site.rule(MEMBERSHIPS.replace("keep = [90]", 'keep = [90]\nstrangers = "remove"'))
    assert (await site.apply("acme")).stage == "verified"
    assert STRANGER not in site.github.members
    assert ROBOT in site.github.members


async def test_an_emptied_directory_empties_no_organisation(site: Site) -> None:
    await site.rule(MEMBERSHIPS.replace("keep = [90]", "keep = [90]\nat_most = 1"))
    for person in ("alice", "bob", "carol"):
        await site.disable(person)
    with pytest.raises(RefusedError, match="3 accounts would lose a place, and 1 may at once"):
        await site.apply("acme")
    assert BOB in site.github.members


async def test_whoever_came_back_before_it_was_applied_is_not_removed(site: Site) -> None:
    await site.disable("bob")
    await site.groups("carol")
    report = await site.look("acme")
    await site.app.work.stop()
    made = await site.write(lambda tx: site.app.memberships.propose(tx, report, Ref("User", "root")))
    await site.groups("carol", "contractors")
    await site.app.work.start()
    assert (await site.settled(made.id)).stage == "verified"
    assert BOB not in site.github.members
    assert site.github.repositories[1296269].collaborators == {CAROL: "push"}


async def test_a_name_that_changed_hands_is_not_believed(site: Site) -> None:
    site.github.accounts[BOB].login, site.github.accounts[STRANGER].login = "bobby", "bob-gh"
    site.github.members[STRANGER] = "member"
    await site.disable("bob")
    await site.apply("acme")
    assert BOB not in site.github.members
    assert STRANGER in site.github.members
    site.github.id = 6666
    with pytest.raises(ConflictError, match="is the number 6666 by now, not 9919"):
        await site.look("acme")


async def test_limits_are_kept_and_pages_that_did_not_change_are_not_sent_again(site: Site) -> None:
    for number in range(1000, 1250):
        site.github.add(number, f"member-{number}", "member")
    report = await site.look("acme")
    assert len([one for one in report.changes if one.place.kind == "organisation"]) == 250
    site.github.asked.clear()
    await site.look("acme")
    assert all("if-none-match" in one.headers for one in site.github.asked)
    site.github.left, site.github.reset = 0, int(site.clock.now().timestamp()) + 90
    with pytest.raises(PostponedError) as limited:
        await site.look("acme")
    assert limited.value.after == timedelta(seconds=90)
    site.gitlab.says = [Said(429, {"message": "Retry later"}, {"retry-after": "7"})]
    with pytest.raises(PostponedError) as limited:
        await site.look("shop")
    assert limited.value.after == timedelta(seconds=7)


async def test_the_token_goes_to_no_other_host(site: Site) -> None:
    for link in (
        "https://evil.example/orgs/acme/members?page=2",
        f"{site.github.url}.evil.example/x",
        "http://127.0.0.1/",
    ):
        site.github.says = [
            Said(200, {"id": 9919}), *[Said(200, {"id": one, "login": "x"}) for one in (1, 11, 12, 13)],
            Said(200, [], {"link": f'<{link}>; rel="next"'}),
        ]  # fmt: skip
        with pytest.raises(Error, match="names a next page elsewhere"):
            await site.look("acme")


async def test_drift_is_found_by_itself_recorded_once_and_told(site: Site) -> None:
    del site.gitlab.groups[100].members[BOB]
    site.github.members[STRANGER] = "admin"
    for _ in range(2):
        site.clock.advance(timedelta(hours=2))
        site.app.work.wake()
        await site.app.work.idle()
    said = [(one["event"], one["organisation"], one["changes"], one["withheld"]) for one in site.entries("membership")]
    assert sorted(said) == [("drift", "acme", 0, 1), ("drift", "shop", 1, 0)]
    told = [one.body["data"]["text"] for one in site.github.asked if one.path == "/hook"]
    assert len(told) == len(site.app.work.jobs(verb="notify.hook")) == 2
    assert any("remove a stranger (stranger 99), owner (withheld" in one for one in told)
    last = site.app.memberships.last("shop")
    assert last is not None
    assert [one.account for one in last.changes] == [str(BOB)]
    await site.apply("shop")
    assert site.entries("membership")[-1]["event"] == "as-it-should-be"


async def test_the_door_decides_and_applies_only_what_was_seen(site: Site) -> None:
    await site.disable("bob")
    admin, nobody = await site.client("administrators"), await site.client()
    assert (await nobody.send("POST", "/v1/memberships/acme/plan", {})).status == 403
    seen = (await admin.send("POST", "/v1/memberships/acme/plan", {})).json
    assert (await admin.send("POST", "/v1/memberships/nowhere/plan", {})).status == 404
    body = {"digest": seen["digest"]}
    assert (await nobody.send("POST", "/v1/memberships/acme/apply", body)).status == 403
    await site.disable("carol")
    answer = await admin.send("POST", "/v1/memberships/acme/apply", body)
    assert (answer.status, answer.json["detail"]) == (409, "the plan is another one by now")
    seen = (await admin.send("POST", "/v1/memberships/acme/plan", {})).json
    answer = await admin.send("POST", "/v1/memberships/acme/apply", {"digest": seen["digest"]})
    assert answer.status == 200, answer.body
    assert (await site.settled(answer.json["id"])).stage == "verified"
    assert BOB not in site.github.members


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("accounts = { root = 1, alice = 11, bob = 11, carol = 13 }", "alice's already"),
        ("accounts = { root = 90, alice = 11, bob = 12, carol = 13 }", "is root's, and so not left"),
        ("accounts = { 'ROOT' = 1, alice = 11 }", "not a name"),
        ("accounts = { root = -1 }", ">= 1"),
        ("accounts = { root = 1 }\nsurprise = 1", "unknown field"),
    ],
)
def test_a_bad_file_is_refused_with_its_place(text: str, said: str) -> None:
    bad = MEMBERSHIPS.replace("accounts = { root = 1, alice = 11, bob = 12, carol = 13 }", text, 1)
    with pytest.raises(InputError, match=said) as refused:
        memberships_of({"memberships.toml": bad.encode()})
    assert "memberships.toml: organisations" in str(refused.value)


async def test_a_role_that_the_platform_has_not_is_refused(site: Site) -> None:
    await site.rule(MEMBERSHIPS.replace("maintainer = [", "boss = ["))
    with pytest.raises(InputError, match="there is no role boss in a team"):
        await site.look("acme")
    with pytest.raises(InputError, match="there is no role boss in a team"):  # nor does such a bundle come to rule
        site.app.memberships.check(site.app.bundles.current.files)
    lifecycle, bob = site.app.provisioning.lifecycle, Ref("User", "bob")
    assert lifecycle.look(lifecycle.movement(bob, "move", ["leads"])).items == ()
    assert len(lifecycle.look(lifecycle.movement(bob, "leave")).items) == 2  # a bad file keeps nobody in


async def test_a_leaver_by_decision_leaves_the_organisations_too(site: Site) -> None:
    lifecycle = site.app.provisioning.lifecycle
    movement = lifecycle.movement(Ref("User", "bob"), "leave")
    assert [one.at for one in lifecycle.look(movement).items] == ["github:acme", "gitlab:shop"]
    moved = await site.write(lambda tx: lifecycle.leave(tx, Ref("User", "bob"), Ref("User", "root")))
    assert (await site.settled(moved.effect.id)).stage == "verified"
    assert BOB not in site.github.members
    assert BOB not in site.gitlab.groups[101].members
    await site.write(lambda tx: site.app.work.effects.undo(tx, moved.effect.id, Ref("User", "root")))
    assert (await site.settled(moved.effect.id)).stage == "undone"
    assert [one for one, _ in site.github.invitations.values()] == [BOB]
    assert site.gitlab.groups[101].members[BOB] == 30


async def test_a_leaver_who_is_the_last_owner_is_shown_not_skipped(site: Site) -> None:
    lifecycle = site.app.provisioning.lifecycle
    moved = await site.write(lambda tx: lifecycle.leave(tx, Ref("User", "root"), Ref("User", "alice")))
    effect = await site.settled(moved.effect.id)
    assert (effect.stage, effect.error) == ("failed", "github:acme: root is the last owner")
    assert site.github.members[OWNER] == "admin"


async def test_a_mover_by_decision_moves_in_the_organisations_too(site: Site) -> None:
    lifecycle, bob = site.app.provisioning.lifecycle, Ref("User", "bob")
    record = site.app.identity.directory.record(bob)
    moved = await site.write(lambda tx: lifecycle.move(tx, record, ["contractors"], Ref("User", "root"), "move"))
    assert (await site.settled(moved.effect.id)).stage == "verified"
    assert BOB not in site.github.members
    assert list(site.github.repositories[1296269].invited.values()) == [(BOB, "push")]
    assert site.gitlab.projects[500].members == {CAROL: 20, BOB: 20}
    assert await site.told("acme") == await site.told("shop") == []


async def test_undo_does_not_give_a_leaver_the_higher_role_back_that_they_once_had(site: Site) -> None:
    await site.groups("bob", "platform", "leads", "owners")
    assert (await site.apply("acme")).stage == "verified"
    await site.groups("bob", "platform")
    effect = await site.apply("acme")  # which makes bob less, and does not remove him
    assert effect.stage == "verified"
    await site.disable("bob")
    assert (await site.apply("acme")).stage == "verified"
    assert BOB not in site.github.members
    await site.write(lambda tx: site.app.work.effects.undo(tx, effect.id, Ref("User", "root")))
    assert (await site.settled(effect.id)).stage == "undone"
    assert BOB not in site.github.members
    assert not site.github.invitations
