"""Who pushes: every way to be taken for someone else, tried against the hook and the SSH command."""

import asyncio
import sys
from pathlib import Path

import pytest

from everproof.cli.git.serve import read_command
from everproof.cli.git.socket import UnansweredError
from everproof.identity.roster import disable, set_groups
from everproof.kernel.errors import InputError, NotFoundError
from everproof.kernel.words import Ref
from everproof.server.git import GitDoor
from everproof.server.git.repositories import Repositories
from everproof.server.git.wire import Push, PushAnswer
from everproof.server.http.call import Peer
from tests.git.conftest import Running
from tests.git.lab import GIT, Clone, Lab, call, git, public, run


@pytest.fixture
async def alice(lab: Running) -> Clone:
    lab.repository()
    clone = await lab.clone(await lab.enrol(lab.person("alice")))
    await clone.commit("first")
    assert (await clone.push("main", "--signed")).ok
    return clone


def keep_certificates(lab: Lab, name: str = "app") -> Path:
    """Let the hook note the certificate's name before it asks, as anyone who can read the repository could."""
    hook = lab.bare(name) / "hooks" / "pre-receive"
    kept = lab.folder / f"certificate-{name}"
    hook.write_text(hook.read_text().replace("exec ", f"echo $GIT_PUSH_CERT > {kept}\nexec ", 1))
    return kept


async def hook(lab: Lab, update: str, **env: str) -> str:
    """Run the hook as git does, but with variables of an attacker's choice."""
    bare = lab.bare("app")
    ran = await run(bare / "hooks" / "pre-receive", cwd=bare, env=lab.environment | env, stdin=f"{update}\n".encode())
    assert not ran.ok, ran.said
    return ran.said


async def test_push_without_any_proof_is_refused(lab: Running, alice: Clone) -> None:
    await alice.commit()
    ran = await alice.push_here()
    assert not ran.ok
    assert "nobody is proved to be pushing" in ran.said
    assert "git push --signed" in ran.said


async def test_forged_variables_prove_nobody(lab: Running, alice: Clone) -> None:
    await alice.commit()
    ran = await alice.push_here(
        "main",
        GIT_PUSH_CERT_STATUS="G",
        GIT_PUSH_CERT_SIGNER="alice@x.test",
        GIT_PUSH_CERT_KEY="SHA256:forged",
        GIT_PUSH_CERT_NONCE_STATUS="OK",
        SSH_ORIGINAL_COMMAND="git-receive-pack 'team/app.git'",
        SSH_USER_AUTH="publickey",
        REMOTE_USER="alice",
        EVERPROOF_KEY=public(alice.person.key),
        EVERPROOF_PRINCIPAL="alice",
        EVERPROOF_SESSION="1",
        EVERPROOF_STATE=str(lab.folder / "elsewhere"),
    )
    assert not ran.ok
    assert "nobody is proved to be pushing" in ran.said


async def test_certificate_of_an_earlier_push_in_a_forged_variable_is_refused(lab: Running, alice: Clone) -> None:
    """GIT_PUSH_CERT reaches the hook from outside where the push itself has no certificate."""
    kept = keep_certificates(lab)
    await alice.commit()
    assert (await alice.push("main", "--signed")).ok
    certificate = kept.read_text().strip()
    await alice.commit()
    ran = await alice.push_here("main", GIT_PUSH_CERT=certificate)
    assert not ran.ok
    assert "signed for another push" in ran.said


async def test_replayed_push_certificate_is_refused(lab: Running, alice: Clone) -> None:
    """The same certificate for the same updates: somebody put the ref back and plays the push again."""
    kept = keep_certificates(lab)
    before = await alice.ok("rev-parse", "HEAD")
    after = await alice.commit()
    assert (await alice.push("main", "--signed")).ok
    git(lab.bare("app"), "update-ref", "refs/heads/main", before)
    said = await hook(lab, f"{before} {after} refs/heads/main", GIT_PUSH_CERT=kept.read_text().strip())
    assert "used before" in said


async def test_push_certificate_for_other_refs_is_refused(lab: Running, alice: Clone) -> None:
    kept = keep_certificates(lab)
    after = await alice.commit()
    assert (await alice.push("topic", "--signed")).ok
    before = await alice.ok("rev-parse", "HEAD~1")
    said = await hook(lab, f"{before} {after} refs/heads/main", GIT_PUSH_CERT=kept.read_text().strip())
    assert "signed for another push" in said


async def test_push_certificate_of_another_repository_is_refused(lab: Running, alice: Clone) -> None:
    lab.repository("web")
    kept = keep_certificates(lab, "web")
    after = await alice.commit()
    ran = await alice.git("push", "--signed", str(lab.bare("web")), "HEAD:refs/heads/main")
    assert ran.ok, ran.said
    certificate = git(lab.bare("web"), "cat-file", "blob", kept.read_text().strip()) + "\n"
    copied = git(lab.bare("app"), "hash-object", "-w", "--stdin", stdin=certificate.encode())
    git(lab.bare("app"), "fetch", "-q", str(alice.path), "main")
    zeros = "0" * 40
    said = await hook(lab, f"{zeros} {after} refs/heads/main", GIT_PUSH_CERT=copied)
    assert "another repository" in said


async def test_push_certificate_with_a_nonce_of_another_seed_is_refused(lab: Running, alice: Clone) -> None:
    kept = keep_certificates(lab)
    before = await alice.ok("rev-parse", "HEAD")
    after = await alice.commit()
    assert (await alice.push("main", "--signed")).ok
    lab.bare("app").joinpath("refs/heads/main").write_text(before + "\n")
    git(lab.bare("app"), "config", "receive.certNonceSeed", "another")
    said = await hook(lab, f"{before} {after} refs/heads/main", GIT_PUSH_CERT=kept.read_text().strip())
    assert "not a fresh one" in said


async def test_push_certificate_by_an_unknown_key_is_refused(lab: Running, alice: Clone) -> None:
    stranger = await lab.clone(lab.person("stranger"), "app")
    await stranger.commit()
    ran = await stranger.push_here("topic", "--signed")
    assert not ran.ok
    assert "error:" in ran.said


async def test_certificate_and_connection_of_two_people_are_refused(lab: Running, alice: Clone) -> None:
    bob = await lab.enrol(lab.person("bob"))
    await alice.commit()
    ran = await alice.push("main", "--signed", GIT_SSH_COMMAND=lab.ssh(bob.key))
    assert not ran.ok
    assert "the connection is bob's" in ran.said


async def test_session_of_one_repository_does_not_count_in_another(lab: Running, alice: Clone) -> None:
    """A hook that calls another repository's hook would lend it its pusher."""
    lab.repository("web")
    other = lab.bare("web") / "hooks" / "pre-receive"
    mine = lab.bare("app") / "hooks" / "pre-receive"
    mine.write_text(f"#!/bin/sh\ncd {lab.bare('web')}\nunset GIT_QUARANTINE_PATH\nGIT_DIR=. exec {other}\n")
    await alice.commit(sign=False)
    ran = await alice.push("refs/tags/x")
    assert not ran.ok
    assert lab.authorizer.asked[-1][0] == "git:fetch"


async def test_process_that_nobody_serves_cannot_take_a_session(lab: Running, alice: Clone) -> None:
    """While alice's push is under way, another process of git's account asks for her."""
    waiting, going = lab.folder / "waiting", lab.folder / "going"
    pre_receive = lab.bare("app") / "hooks" / "pre-receive"
    text = pre_receive.read_text()
    pre_receive.write_text(text.replace("exec ", f"mkfifo {going}; : > {waiting}; read _ < {going}\nexec ", 1))
    oid = await alice.commit()
    push = asyncio.create_task(alice.push())
    while not waiting.exists():  # noqa: ASYNC110 - the hook is another process, and can set no event here
        await asyncio.sleep(0.001)
    old = await alice.ok("rev-parse", "HEAD~1")
    pre_receive.write_text(text)
    quarantine = next(path for path in (lab.bare("app") / "objects").iterdir() if path.name.startswith("tmp_objdir"))
    said = await hook(
        lab,
        f"{old} {oid} refs/heads/main",
        GIT_OBJECT_DIRECTORY=str(quarantine),
        GIT_ALTERNATE_OBJECT_DIRECTORIES=str(lab.bare("app") / "objects"),
    )
    assert "nobody is proved" in said
    await asyncio.to_thread(going.write_text, "go\n")
    ran = await push
    assert ran.ok, ran.said


async def test_fetch_of_another_teams_repository_is_refused(lab: Running, alice: Clone) -> None:
    other = await lab.clone(await lab.enrol(lab.person("other")))
    ran = await other.git("fetch", "origin")
    assert not ran.ok
    assert "other may not" in ran.said
    assert "no policy permits" in ran.said
    ran = await other.push("topic")
    assert not ran.ok
    assert lab.authorizer.asked[-1][0] == "git:fetch"


async def test_job_fetches_its_own_source_and_cannot_push(lab: Running, alice: Clone) -> None:
    lab.repository("web")
    job = await lab.job(lab.person("job", kind="ecdsa"), "team/app")
    clone = await lab.clone(job)
    await clone.ok("fetch", "origin")
    assert "first" in await clone.ok("log", "-1", "--format=%s", "origin/main")
    await clone.ok("reset", "-q", "--hard", "origin/main")
    await clone.commit("sneaked in")
    ran = await clone.push("topic")
    assert not ran.ok
    assert "no policy permits" in ran.said
    await clone.ok("remote", "set-url", "origin", "git@localhost:team/web.git")
    ran = await clone.git("fetch", "origin")
    assert not ran.ok
    assert "no policy permits" in ran.said


async def test_revoked_key_is_told_so(lab: Running, alice: Clone) -> None:
    await lab.revoke(alice.person, "compromised")
    ran = await alice.git("fetch", "origin")
    assert not ran.ok
    assert "revoked" in ran.said


@pytest.mark.parametrize(
    "wish",
    [
        "",
        "sh",
        "git-upload-archive 'team/app.git'",
        "git-shell",
        "git upload-pack --exec=sh 'team/app.git'",
        "git-upload-pack '--upload-pack=sh'",
        "git-upload-pack team/app.git; sh",
        "git-upload-pack 'team/app.git' 'x'",
        "git-upload-pack 'team/app.git\n'",
        "git-receive-pack ''",
        "git  upload-pack team/app.git",
    ],
)
def test_wish_that_is_not_a_fetch_or_a_push_is_refused(wish: str) -> None:
    with pytest.raises(UnansweredError):
        read_command(wish)


def test_name_that_could_lead_elsewhere_is_refused(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.repository()
    repositories = Repositories(lab.root)
    found = {repositories.named(name) for name in ("team/app", "team/app.git", "/team/app.git", "/team/app.git/")}
    assert {repository.name for repository in found} == {"team/app"}
    for name in ("../../etc", "team/../team/app", "team//app", "~root/app", "$(id)", "team/app.git/objects", "team",
                 "", "/", ".", "-x", "team/-x", "team/app.git.git", "team/" + "a" * 300, "team/app\0"):  # fmt: skip
        with pytest.raises((InputError, NotFoundError)):
            repositories.named(name)


async def test_refused_wish_is_explained(lab: Running, alice: Clone) -> None:
    serve = [sys.executable, "-I", "-m", "everproof.cli.git.serve", str(lab.socket), GIT, public(alice.person.key)]
    for wish, why in (("sh", "nothing else"), ("", "no shell"), ("git-upload-pack '../x'", "not the name")):
        ran = await run(*serve, cwd=lab.folder, env=lab.environment | {"SSH_ORIGINAL_COMMAND": wish})
        assert ran.code == 1
        assert why in ran.said


async def test_link_out_of_the_folder_of_repositories_is_refused(lab: Running, alice: Clone) -> None:
    outside = lab.folder / "outside.git"
    call(GIT, "init", "-q", "--bare", outside)
    (lab.root / "team" / "link.git").symlink_to(outside)
    await alice.ok("remote", "set-url", "origin", "git@localhost:team/link.git")
    ran = await alice.git("fetch", "origin")
    assert not ran.ok
    assert "not under the folder" in ran.said


async def test_environment_of_the_client_does_not_reach_git(lab: Running, alice: Clone) -> None:
    """AcceptEnv may let anything in: here a configuration that would run a program before packing."""
    trace = lab.folder / "ran"
    ran = await alice.git(
        "ls-remote",
        "origin",
        GIT_SSH_COMMAND=f"env GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=uploadpack.packObjectsHook GIT_CONFIG_VALUE_0=false "
        f"GIT_TRACE={trace} {lab.ssh(alice.person.key)}",
    )
    assert ran.ok, ran.said
    assert not trace.exists()


async def test_server_that_is_gone_refuses_everything(lab: Running, alice: Clone) -> None:
    await alice.commit()
    await lab.stop()
    ran = await alice.push_here("main", "--signed")
    assert not ran.ok
    assert "cannot be reached" in ran.said
    ran = await alice.push()
    assert not ran.ok
    assert "cannot be reached" in ran.said


async def test_nonsense_from_the_server_is_a_refusal(lab: Running, alice: Clone) -> None:
    await alice.commit()
    await lab.stop()
    answers = [b""]

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answers[-1]), answers[-1]))
        await writer.drain()
        writer.close()

    async with await asyncio.start_unix_server(reply, lab.socket):
        for nonsense in (b"", b"{}", b"[]", b"yes", b'{"allowed":"true","lines":[]}', b'{"allowed":true}'):
            answers.append(nonsense)
            ran = await alice.push_here("main", "--signed")
            assert not ran.ok
            assert "everproof refused" in ran.said
            assert not (await alice.push()).ok


async def test_key_of_a_revoked_job_token_fetches_no_more(lab: Running, alice: Clone) -> None:
    job = await lab.job(lab.person("job", kind="ecdsa"), "team/app")
    clone = await lab.clone(job)
    await clone.ok("fetch", "origin")
    await lab.revoke(job, "compromised")
    ran = await clone.git("fetch", "origin")
    assert not ran.ok
    assert "nobody here has the key" in ran.said


async def test_observing_door_lets_pass_and_says_what_it_would_refuse(lab: Running, alice: Clone) -> None:
    await lab.stop()
    await lab.serve("observe")
    await alice.commit("unsigned", sign=False)
    ran = await alice.push()
    assert ran.ok, ran.said
    assert "would refuse" in ran.said
    await alice.commit("unsigned too", sign=False)
    ran = await alice.push_here()
    assert ran.ok, ran.said
    assert "would refuse" in ran.said


@pytest.mark.parametrize("change", ["left the team", "was disabled", "lost the key"])
async def test_push_in_a_session_that_was_opened_before_its_person_lost_the_right_is_refused(
    lab: Running, alice: Clone, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """git-receive-pack waits for its client as long as the client likes: a session may be days old."""
    who = Ref("User", "alice")
    push = GitDoor.push

    async def later(door: GitDoor, peer: Peer | None, question: Push) -> PushAnswer:
        if change == "left the team":
            await lab.storage.write(lambda tx: set_groups(tx, who, ()))
        elif change == "was disabled":
            await lab.storage.write(lambda tx: disable(tx, who, "left"))
        else:
            await lab.revoke(alice.person, "superseded")
        return await push(door, peer, question)

    monkeypatch.setattr(GitDoor, "push", later)
    ran = await alice.push("topic")
    assert not ran.ok, ran.said
