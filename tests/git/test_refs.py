"""What happens to refs: rewriting, deleting, tags, and commits that come to a ref by a way round."""

import pytest

from tests.git.conftest import Running
from tests.git.lab import Clone, git, make_key


@pytest.fixture
async def alice(lab: Running) -> Clone:
    lab.repository()
    clone = await lab.clone(await lab.enrol(lab.person("alice")))
    await clone.commit("first")
    await clone.commit("second")
    assert (await clone.push()).ok
    return clone


def values(lab: Running) -> dict[str, object]:
    return lab.authorizer.asked[-1][2]


async def test_rewritten_protected_branch_is_refused(lab: Running, alice: Clone) -> None:
    await alice.ok("reset", "-q", "--hard", "HEAD~1")
    await alice.commit("other second")
    ran = await alice.push("main", "--force")
    assert not ran.ok
    assert values(lab)["rewrites_history"] is True
    assert values(lab)["commits"] == 1


async def test_protected_branch_put_back_to_an_old_good_commit_is_refused(lab: Running, alice: Clone) -> None:
    """A signature says nothing of the ref: the old commit is as good as ever."""
    ran = await alice.push("main", "--force", source="HEAD~1")
    assert not ran.ok
    assert values(lab)["rewrites_history"] is True
    assert values(lab)["known_commit"] is True
    assert values(lab)["commits"] == 0


async def test_deleted_protected_branch_is_refused(lab: Running, alice: Clone) -> None:
    await alice.push("topic")
    ran = await alice.git("push", "origin", ":main")
    assert not ran.ok
    assert values(lab)["deletes"] is True


async def test_old_good_commit_on_another_ref_is_a_fact(lab: Running, alice: Clone) -> None:
    ran = await alice.push("release", source="HEAD~1")
    assert ran.ok, ran.said
    assert values(lab)["creates"] is True
    assert values(lab)["known_commit"] is True


async def test_unsigned_commit_does_not_reach_the_protected_branch_by_way_of_another(
    lab: Running, alice: Clone
) -> None:
    """What is new is new to the ref: being in the repository already is no merit."""
    await alice.commit("unsigned", sign=False)
    assert (await alice.push("topic")).ok
    await alice.commit("signed on top")
    ran = await alice.push()
    assert not ran.ok
    assert values(lab)["commits"] == 2
    assert values(lab)["commits_unsigned"] == 1


async def test_unsigned_commit_does_not_reach_it_by_a_merge(lab: Running, alice: Clone) -> None:
    await alice.ok("checkout", "-q", "-b", "topic")
    await alice.commit("unsigned", sign=False)
    assert (await alice.push("topic")).ok
    await alice.ok("checkout", "-q", "main")
    await alice.ok("merge", "-q", "--no-ff", "-S", "-m", "signed merge", "topic")
    assert not (await alice.push()).ok
    assert values(lab)["commits_unsigned"] == 1


async def test_new_branch_is_judged_by_what_the_main_branch_lacks(lab: Running, alice: Clone) -> None:
    await alice.commit("unsigned", sign=False)
    assert (await alice.push("topic")).ok
    ran = await alice.push("release", source="HEAD")
    assert ran.ok
    assert values(lab)["commits"] == 1
    assert values(lab)["commits_unsigned"] == 1


async def test_one_refused_ref_refuses_the_whole_push(lab: Running, alice: Clone) -> None:
    await alice.commit("unsigned", sign=False)
    ran = await alice.git("push", "origin", "HEAD:refs/heads/topic", "HEAD:refs/heads/main")
    assert not ran.ok
    assert not (lab.bare("app") / "refs/heads/topic").exists()
    assert {asked[1] for asked in lab.authorizer.asked[-2:]} == {
        "team/app@refs/heads/main",
        "team/app@refs/heads/topic",
    }


async def test_signed_tag_is_verified(lab: Running, alice: Clone) -> None:
    await alice.ok("tag", "-s", "-m", "v1", "v1")
    ran = await alice.push("refs/tags/v1", source="v1")
    assert ran.ok, ran.said
    assert (values(lab)["tag"], values(lab)["tag_signed"], values(lab)["object_type"]) == (True, True, "tag")


async def test_tag_signed_by_a_stranger_is_not_a_signed_tag(lab: Running, alice: Clone) -> None:
    stranger = make_key(lab.folder, "stranger")
    await alice.ok("-c", f"user.signingkey={stranger}.pub", "tag", "-s", "-m", "v1", "v1")
    await alice.push("refs/tags/v1", source="v1")
    assert (values(lab)["tag"], values(lab)["tag_signed"]) == (True, False)


async def test_annotated_tag_of_a_signed_commit_is_not_signed_by_it(lab: Running, alice: Clone) -> None:
    await alice.ok("tag", "-a", "-m", "v1", "v1")
    await alice.push("refs/tags/v1", source="v1")
    assert (values(lab)["tag"], values(lab)["tag_signed"]) == (True, False)


async def test_lightweight_tag_and_moved_tag_are_facts(lab: Running, alice: Clone) -> None:
    await alice.push("refs/tags/v1", source="HEAD")
    assert (values(lab)["tag"], values(lab)["object_type"]) == (False, "commit")
    await alice.push("refs/tags/v1", "--force", source="HEAD~1")
    assert values(lab)["rewrites_history"] is True


async def test_ref_to_a_tree_shows_its_type(lab: Running, alice: Clone) -> None:
    (alice.path / "file").write_text("x")
    await alice.ok("add", "file")
    await alice.commit("with a file")
    await alice.push("refs/snapshots/one", source="HEAD^{tree}")
    assert values(lab)["object_type"] == "tree"


async def test_replace_ref_does_not_hide_a_commit(lab: Running, alice: Clone) -> None:
    """refs/replace/OID would make git show a good commit in the place of a bad one."""
    good = await alice.ok("rev-parse", "HEAD")
    bad = await alice.commit("unsigned", sign=False)
    ran = await alice.push(f"refs/replace/{bad}", source=good)
    assert ran.ok, ran.said
    assert not (await alice.push()).ok
    assert values(lab)["commits_unsigned"] == 1


async def test_symbolic_ref_is_not_a_way_round_the_policy_of_the_ref_it_stands_for(lab: Running, alice: Clone) -> None:
    git(lab.bare("app"), "symbolic-ref", "refs/heads/master", "refs/heads/main")
    await alice.commit("unsigned", sign=False)
    ran = await alice.push("master")
    assert not ran.ok
    assert "another name of refs/heads/main" in ran.said


async def test_terminal_sequences_in_a_commit_do_not_reach_the_pusher(lab: Running, alice: Clone) -> None:
    await alice.commit("\x1b[31mred\x1b[0m \u202eesrever", sign=False)
    ran = await alice.push()
    assert not ran.ok
    assert "?[31mred" in ran.said
    assert "\x1b[31mred" not in ran.said
    assert "\u202e" not in ran.said


async def test_push_of_two_hundred_commits_is_judged_whole(lab: Running, alice: Clone) -> None:
    stream = b"".join(
        b"commit refs/heads/main\ncommitter alice <alice@x.test> %d +0000\ndata 1\nx\n%s" % (1_700_000_000 + n, first)
        for n, first in enumerate([b"from refs/heads/main^0\n", *[b""] * 199])
    )
    await alice.ok("fast-import", "--quiet", stdin=stream)
    ran = await alice.push("main", source="main")
    assert not ran.ok
    assert values(lab)["commits_unsigned"] == 200
    assert "and 195 more" in ran.said


async def test_more_commits_than_can_be_judged_are_refused(lab: Running, alice: Clone) -> None:
    stream = b"".join(
        b"commit refs/heads/main\ncommitter alice <alice@x.test> %d +0000\ndata 1\nx\n%s" % (1_700_000_000 + n, first)
        for n, first in enumerate([b"from refs/heads/main^0\n", *[b""] * 5_000])
    )
    await alice.ok("fast-import", "--quiet", stdin=stream)
    ran = await alice.push("main", source="main")
    assert not ran.ok
    assert "more than 5000 commits" in ran.said
