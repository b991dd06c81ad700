"""The scenes that go well."""

import json
import time

from demo.house import House, verify_elsewhere
from demo.jobs import OK
from demo.stage import expect, scene
from demo.world import EVERPROOF, Person, run


def work(
    person: Person, name: str, file: str, text: str, *, message: str = "Work", commit: tuple[str, ...] = ()
) -> None:
    """Write a file in the person's clone and commit it."""
    clone = person.home / name
    (clone / file).write_text(text)
    person.run("git", "add", file, at=clone)
    person.run("git", "commit", "-q", "-m", message, *commit, at=clone)


@scene("the first administrator enrols by the one-time link")
def enrol(house: House) -> str:
    alice = house.world.person("alice")
    house.world.kept["link"] = house.enrolment_link()
    said = alice.everproof("login", "--enrol", house.world.kept["link"], "--user", "alice")
    expect("alice" in said, said)
    return "alice is an administrator, by the SSH key she signs commits with"


@scene("the organisation's policy is a commit that alice has signed")
def policy(house: House) -> str:
    alice = house.world.person("alice")
    house.write_policy(alice)
    tested = alice.run(EVERPROOF, "policy", "test", at=house.policy)
    alice.run(EVERPROOF, "policy", "apply", "HEAD", at=house.policy)
    return f"it rules; its own tests: {tested.strip().splitlines()[-1]}"


@scene("two developers are invited, and log in with their keys")
def invite(house: House) -> str:
    alice = house.world.person("alice")
    for name in ("bob", "carol"):
        link = house.invite(alice, name, "developers")
        house.world.person(name).everproof("login", "--enrol", link, "--user", name)
    return "bob and carol are developers"


@scene("bob signs a commit and pushes it over SSH")
def push(house: House) -> str:
    bob = house.world.person("bob")
    bob.run("git", "clone", "-q", house.world.remote("acme/shop"), "shop")
    work(bob, "shop", "shop.py", "print('open')\n", message="Open the shop")
    bob.run("git", "push", "-q", "origin", "HEAD:main", at=bob.home / "shop")
    landed = run("git", "-C", str(house.repository("acme/shop")), "log", "-1", "--format=%s by %an", "main").strip()
    expect("Open the shop" in landed, landed)
    return f"accepted: {landed}"


@scene("bob signs the push itself (git push --signed), over a plain path")
def push_signed(house: House) -> str:
    bob = house.world.person("bob")
    work(bob, "shop", "shop.py", "print('open till six')\n", message="Close at six")
    path = str(house.repository("acme/shop"))
    bob.run("git", "push", "-q", "--signed=true", path, "HEAD:main", at=bob.home / "shop")
    return "accepted: the push certificate proves who pushes"


@scene("a pipeline job exchanges its platform's token for one bound to its key")
def exchange(house: House) -> str:
    token = house.issuer.mint(house.claims())
    first, again = (house.job_one.exchange(token) for _ in range(2))
    expect(first.status == OK, first.reason)
    expect(again.status == OK, f"the key that a token is bound to may use it again: {again.reason}")
    return f"good for {first.json['expires_in']} s, of type {first.json['token_type']}"


@scene("the job fetches its own source with the same key")
def fetch(house: House) -> str:
    world = house.world
    key = house.job_one.ssh_key(world.folder / "job-key")
    runner = world.made("runner")
    environment = {**house.environment, "GIT_SSH_COMMAND": world.ssh_command(key), "GIT_TERMINAL_PROMPT": "0"}
    run("git", "clone", "-q", world.remote("acme/shop"), "source", at=runner, environment=environment)
    return f"cloned: {(runner / 'source' / 'shop.py').read_text().strip()}"


@scene("the job asks what it may do (OpenID AuthZEN)")
def ask(house: House) -> str:
    job = house.job_one
    principal = job.call("GET", "/v1/identity/me", token=job.token).json["principal"]
    question = {
        "subject": principal["ref"],
        "action": {"name": "git:fetch"},
        "resource": {"type": "Repository", "id": "acme/shop", "properties": {"name": "acme/shop"}},
    }
    answer = job.call("POST", "/access/v1/evaluation", body=question, token=job.token)
    expect(answer.json.get("decision") is True, str(answer.json))
    question["resource"] = {"type": "Secret", "id": "production/database"}
    refused = job.call(
        "POST", "/access/v1/evaluation", body={**question, "action": {"name": "secret:read"}}, token=job.token
    )
    expect(refused.json.get("decision") is False, str(refused.json))
    return "its source: allowed; production's database password: denied"


@scene("a record's proof is verified offline, by a process that has only the public key")
def proof(house: House) -> str:
    size = len(house.everproof("ledger", "tail", "-n", "100000", "--json").splitlines())
    file = house.world.folder / "entry.tlog-proof"
    deadline = time.monotonic() + 15
    while True:  # checkpoints are published every few seconds
        try:
            house.everproof("ledger", "prove", str(size - 1), "-o", str(file), "--disclose")
            break
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
    key = json.loads(house.everproof("ledger", "key", "--json"))["key"]
    house.world.kept["key"] = key
    found = verify_elsewhere(file, key)
    return f"entry {found['index']} of {found['size']}: verified"


@scene("alice looks at what descends from the job's token")
def lineage(house: House) -> str:
    alice = house.world.person("alice")
    _, answer = house.job()
    drawn = alice.everproof("identity", "lineage", answer.json["credential"])
    expect("github/74" in drawn, drawn)
    return f"{len(drawn.strip().splitlines())} lines, up to the platform's token"
