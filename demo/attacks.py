"""The attacks: each must be refused, and say why."""

import json
import shutil
import sqlite3
from pathlib import Path

from demo.good import work
from demo.house import House
from demo.jobs import OK, UNAVAILABLE, Job
from demo.refusing import not_given, refused
from demo.stage import expect, scene
from demo.world import EVERPROOF, Failed, Person


def push_back(person: Person) -> None:
    """Put a clone back to what the server has."""
    person.run("git", "fetch", "-q", "origin", at=person.home / "shop")
    person.run("git", "reset", "-q", "--hard", "origin/main", at=person.home / "shop")


@scene("the enrolment link is used a second time", attack=True)
def link_again(house: House) -> str:
    mallory = house.world.person("mallory")
    return refused(
        house,
        mallory,
        EVERPROOF,
        "login",
        "--enrol",
        house.world.kept["link"],
        why="used|not good|no such|unknown|expired",
    )


@scene("a commit without a signature is pushed", attack=True)
def unsigned(house: House) -> str:
    bob = house.world.person("bob")
    work(bob, "shop", "shop.py", "print('hurry')\n", commit=("--no-gpg-sign",))
    said = refused(house, bob, "git", "push", "-q", "origin", "HEAD:main", why="not signed", at=bob.home / "shop")
    push_back(bob)
    return said


@scene("bob writes alice's name into his commit", attack=True)
def spoofed(house: House) -> str:
    bob = house.world.person("bob")
    work(bob, "shop", "shop.py", "print('free')\n", commit=("--author", "Alice <alice@shop.example>"))
    said = refused(
        house, bob, "git", "push", "-q", "origin", "HEAD:main", why="alice@shop.example", at=bob.home / "shop"
    )
    push_back(bob)
    return said


@scene("bob rewrites the history of main", attack=True)
def rewritten(house: House) -> str:
    bob = house.world.person("bob")
    bob.run("git", "commit", "-q", "--amend", "-m", "It was always so", at=bob.home / "shop")
    said = refused(
        house, bob, "git", "push", "-q", "--force", "origin", "HEAD:main", why="histor|rewrit", at=bob.home / "shop"
    )
    push_back(bob)
    return said


@scene("mallory, whom nobody knows, pushes over SSH", attack=True)
def stranger(house: House) -> str:
    mallory = house.world.person("mallory")
    return refused(house, mallory, "git", "clone", "-q", house.world.remote("acme/shop"), "x", why="Permission denied")


@scene("a stolen job token is exchanged with another key", attack=True)
def replayed(house: House) -> str:
    token = house.issuer.mint(house.claims())
    first = Job(house.world.url, house.ca).exchange(token)
    expect(first.status == OK, first.reason)
    return not_given(house, Job(house.world.url, house.ca).exchange(token), "another|key|bound")


@scene("a job token that was made for another service", attack=True)
def other_audience(house: House) -> str:
    return not_given(house, house.job(aud="sts.amazonaws.com")[1], "audience|aud")


@scene("a job of a fork's pull request", attack=True)
def fork(house: House) -> str:
    changes = {"event_name": "pull_request", "ref": "refs/pull/7/merge", "ref_protected": "false"}
    return not_given(
        house, house.job(sub="repo:acme/shop:pull_request", head_ref="evil", **changes)[1], "binding|event|ref"
    )


@scene("a job that pull_request_target has started", attack=True)
def pull_request_target(house: House) -> str:
    return not_given(house, house.job(event_name="pull_request_target")[1], "event_name|pull_request_target")


@scene("a repository that took the name after it was given up", attack=True)
def resurrected(house: House) -> str:
    return not_given(house, house.job(repository_id="666")[1], "repository_id|binding")


@scene("a token stolen from the job is used without the job's key", attack=True)
def stolen(house: House) -> str:
    thief = Job(house.world.url, house.ca)
    return not_given(house, thief.call("GET", "/v1/identity/me", token=house.job_one.token), "key")


@scene("a captured request is sent again", attack=True)
def captured(house: House) -> str:
    from everproof.cli.session import dpop_proof

    job = house.job_one
    job.call("GET", "/v1/identity/me", token=job.token)
    proof = dpop_proof(job.key, "GET", f"{house.world.url}/v1/identity/me", nonce=job.nonce, token=job.token)
    first = job.call("GET", "/v1/identity/me", token=job.token, proof=proof)
    expect(first.status == OK, first.reason)
    return not_given(house, job.call("GET", "/v1/identity/me", token=job.token, proof=proof), "used|replay|again")


@scene("a compromised script in the job asks for production's database password", attack=True)
def other_secret(house: House) -> str:
    job = house.job_one
    principal = job.call("GET", "/v1/identity/me", token=job.token).json["principal"]
    question = {
        "subject": principal["ref"],
        "action": {"name": "secret:read"},
        "resource": {"type": "Secret", "id": "production/database"},
    }
    answer = job.call("POST", "/access/v1/evaluation", body=question, token=job.token)
    house.refusals.append((answer.asked, json.dumps(answer.json, indent=2, ensure_ascii=False)))
    expect(answer.json.get("decision") is False, str(answer.json))
    return "denied, with its reason and its entry"


@scene("the job fetches the source of another team", attack=True)
def other_team(house: House) -> str:
    runner = house.world.person("runner")
    key = house.job_one.ssh_key(runner.key)
    key.with_suffix(".pub").unlink()  # it is of the key that lay there before
    return refused(
        house, runner, "git", "clone", "-q", house.world.remote("acme/payroll"), "x", why="payroll|permit|denied"
    )


@scene("the job pushes to its own repository", attack=True)
def job_pushes(house: House) -> str:
    runner = house.world.person("runner")
    runner.run("git", "clone", "-q", house.world.remote("acme/shop"), "shop")
    work(runner, "shop", "shop.py", "print('mine')\n")
    return refused(
        house,
        runner,
        "git",
        "push",
        "-q",
        "origin",
        "HEAD:main",
        why="signed with|permit|nobody",
        at=runner.home / "shop",
    )


@scene("bob's laptop is stolen: his key is revoked, and used", attack=True)
def revoked(house: House) -> str:
    alice, bob = house.world.person("alice"), house.world.person("bob")
    fingerprint = bob.run("ssh-keygen", "-lf", str(bob.key)).split()[1]
    alice.everproof("revoke", fingerprint, "--reason", "compromised")
    return refused(house, bob, "git", "fetch", "-q", "origin", why="Permission denied|revoked", at=bob.home / "shop")


@scene("a policy with an error is signed and applied", attack=True)
def bad_policy(house: House) -> str:
    alice = house.world.person("alice")
    file = house.policy / ".everproof" / "policies" / "git.cedar"
    good = file.read_text()
    file.write_text(good.replace("context.commits_unsigned == 0", "context.comits_unsigned == 0"))
    house.commit_policy(alice, "A slip of the pen")
    said = refused(
        house, alice, EVERPROOF, "policy", "apply", "HEAD", why="comits_unsigned|git.cedar:", at=house.policy
    )
    file.write_text(good)
    house.commit_policy(alice, "Mended")
    return said


@scene("carol, who may not, signs a policy and applies it", attack=True)
def carols_policy(house: House) -> str:
    carol = house.world.person("carol")
    carol.run("git", "config", "--global", "safe.directory", "*")
    (house.policy / ".everproof" / "policies" / "carol.cedar").write_text(
        '@id("carol/all") @title("Carol may do everything")\npermit (principal == User::"carol", action, resource);\n'
    )
    house.commit_policy(carol, "More for me")
    said = refused(house, carol, EVERPROOF, "policy", "apply", "HEAD", why="policy:change|permit", at=house.policy)
    house.world.person("alice").run("git", "reset", "-q", "--hard", "HEAD~1", at=house.policy)
    return said


@scene("a row of the ledger is changed in the database", attack=True)
def changed_row(house: House) -> str:
    copy = house.world.folder / "changed"
    _copy_state(house, copy)
    with sqlite3.connect(copy / "everproof.db") as database:
        database.execute("update ledger_entries set commitment = zeroblob(32) where idx = 3")
    database.close()
    try:
        said = house.everproof("ledger", "verify", state=copy)
    except Failed as failure:
        house.refusals.append(("everproof ledger verify", failure.output))
        expect("3" in failure.output, failure.output)
        return f"found: {_line(failure.output, '3')}"
    expect(condition=False, otherwise=f"not found: {said}")
    return ""


@scene("the storage is put back to an older state, and the server started", attack=True)
def rolled_back(house: House) -> str:
    older = house.world.folder / "older"
    house.server.stop()
    _copy_state(house, older)
    house.server = house.start_server("server-2")
    job, answer = house.job()
    expect(answer.status == OK, answer.reason)
    house.server.stop()  # which signs a checkpoint for what came last
    newer = house.world.folder / "newer"
    house.world.state.rename(newer)
    shutil.copytree(older, house.world.state)
    rolled = house.start_server("server-rolled-back")
    after = job.exchange(house.issuer.mint(house.claims()))
    rolled.stop()
    shutil.rmtree(house.world.state)
    newer.rename(house.world.state)
    house.server = house.start_server("server-3")
    expect(after.status == UNAVAILABLE, f"status {after.status}: {after.json}")
    house.refusals.append((after.asked, json.dumps(after.json, indent=2, ensure_ascii=False)))
    return f"it signs nothing: {after.reason}"


def _copy_state(house: House, folder: Path) -> None:
    """The state as a backup would have it: what SQLite says is there, and the keys."""
    folder.mkdir(mode=0o700)
    for file in house.world.state.iterdir():
        if file.is_file() and not file.name.startswith("everproof."):
            shutil.copy2(file, folder / file.name)
    source = sqlite3.connect(house.world.state / "everproof.db")
    copy = sqlite3.connect(folder / "everproof.db")
    source.backup(copy)
    copy.close()
    source.close()


def _line(text: str, part: str) -> str:
    return next(line.strip() for line in text.splitlines() if part in line)
