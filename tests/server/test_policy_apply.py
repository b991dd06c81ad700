"""Letting another bundle rule: what a signer, a caller and an old commit might try."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from everproof.app import Everproof
from everproof.authorize import Allowed
from everproof.authorize.replaying import Replay
from everproof.identity.roster import add_principal, add_ssh_key, restate
from everproof.kernel.settings import BundleSource, Settings
from everproof.kernel.words import MAIN_SPACE, Action, Principal, Proof, Ref, Resource
from everproof.policy import starter_files
from everproof.policy.replay_findings import Findings
from everproof.server import policy_apply
from everproof.server.application import application
from tests.conftest import SettableClock
from tests.git.lab import GIT, call, make_key, public_line
from tests.server.asgi import Answer
from tests.server.client import Client
from tests.server.conftest import URL, Site

ADA = Ref("User", "ada")
FETCH = Action("git:fetch")
SHOP = Resource(ref=Ref("Repository", "shop"), parents=(MAIN_SPACE,))
OWN = '@id("own") @title("Own") forbid (principal == User::"nobody", action, resource);'
LOCKOUT = '@id("out") @title("Out") forbid (principal == User::"bob", action, resource);'
NO_DESPITE = """
@id("policy/warned")
@title("Nobody lets a bundle rule in spite of its replay, or an older one")
@advice("sign a commit that locks nobody out")
forbid (principal, action == Action::"policy:change", resource)
when { (context has despite && context.despite) || (context has downgrade && context.downgrade) };
"""


class Source:
    """The bundle's repository, whose commits ada signs; and the server that it is of."""

    def __init__(self, folder: Path, site: Site, caller: Client) -> None:
        self.folder = folder
        self.site = site
        self.caller = caller
        self.key = make_key(folder.parent, "ada")

    def git(self, *arguments: str) -> str:
        return call(GIT, "-C", self.folder, *arguments).decode().strip()

    def commit(self, **files: str) -> str:
        """A signed commit of the starter and ``files`` beside it, on top of what is checked out."""
        more = {f"policies/{name}.cedar": text.encode() for name, text in {"own": OWN, **files}.items()}
        for path, content in (starter_files() | more).items():
            file = self.folder / ".everproof" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        self.git("add", "-A")
        person = ("-c", "user.name=ada", "-c", "user.email=ada@x.test", "-c", f"user.signingkey={self.key}.pub")
        self.git(*person, "-c", "gpg.format=ssh", "commit", "-q", "--allow-empty", "-S", "-m", "policy")
        return self.git("rev-parse", "HEAD")

    async def apply(self, commit: str, caller: Client | None = None, **wish: Any) -> Answer:
        return await (caller or self.caller).send("POST", "/v1/policy/apply", {"commit": commit, **wish})

    async def fetch(self, name: str, *groups: str) -> bool:
        principal = Principal(ref=Ref("User", name), parents=(*(Ref("Group", one) for one in groups), MAIN_SPACE))
        proof = Proof(kind="test", principal=principal, at=self.site.clock.now())
        return isinstance(await self.site.app.authorizer.authorize(proof, FETCH, SHOP), Allowed)

    def last(self, count: int = 1) -> list[Any]:
        found = self.site.app.ledger.tail(None, count)
        return [json.loads(bytes(one.entry.body)) for one in found if one.entry]


@pytest.fixture
async def source(tmp_path: Path, clock: SettableClock) -> AsyncIterator[Source]:
    folder = tmp_path / "policy"
    call(GIT, "init", "-q", "-b", "main", folder)
    clock.time = datetime.now(UTC)
    settings = Settings(state=tmp_path / "state", url=URL, bundle=BundleSource(folder))
    app = Everproof(settings, clock=clock)
    await app.start()
    site = Site(app, application(app), clock, None)  # type: ignore[arg-type]  # no issuer is asked
    source = Source(folder, site, await site.enrolled("Service", "ci", "administrators"))
    await app.storage.write(lambda tx: add_principal(tx, ADA, emails=["ada@x.test"], groups=["administrators"]))
    await app.storage.write(lambda tx: add_ssh_key(tx, ADA, public_line(source.key)))
    yield source
    await app.stop()


@pytest.fixture
def nothing_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The replay finds nothing, and at once."""

    async def found(*_given: Any, **_more: Any) -> Replay:
        return Replay(digest="", findings=Findings(), of=0, complete=True, seconds=0.0)

    monkeypatch.setattr(policy_apply, "replay_ledger", found)


async def test_a_bundle_that_locks_nobody_out_rules_and_its_entry_says_what_was_found(source: Source) -> None:
    assert await source.fetch("bob", "developers")
    commit = source.commit()
    answer = await source.apply(commit)
    assert answer.status == 200, answer.body
    assert (answer.json["state"], answer.json["commit"], answer.json["signer"]) == ("applied", commit, 'User::"ada"')
    assert source.site.app.bundles.current.commit == commit
    found = answer.json["replay"]["findings"]
    assert found["decisions"] >= 1
    caller, signer = source.last(2)
    for entry in (caller, signer):
        assert entry["context"]["replay_denies"] == 0
        assert entry["context"]["replay_complete"] is True
    assert (signer["principal"]["id"], signer["detail"]["commit"]) == ("ada", commit)


async def test_a_lockout_is_refused_and_recorded_and_let_through_only_if_told(source: Source) -> None:
    for _ in range(3):
        assert await source.fetch("bob", "developers")
    before = source.site.app.bundles.current
    commit = source.commit(out=LOCKOUT)
    refused = await source.apply(commit)
    assert (refused.status, refused.json["code"]) == (403, "not-applied")
    assert "would have denied 3 decisions" in refused.json["detail"]
    assert "--despite" in refused.json["todo"]
    replay = msgspec.convert(refused.json["extra"]["replay"], Replay)
    [group] = replay.findings.groups
    assert (group.principal.id, group.policies, group.count) == ("bob", ("out",), 3)
    assert source.site.app.bundles.current is before
    [*_, denied, _read] = source.last(3)
    assert (denied["decision"], denied["principal"]["id"]) == ("deny", "ada")
    assert "would have denied 3" in denied["refusal"]
    assert (await source.apply(commit, at_most="99%")).status == 403
    assert (await source.apply(commit, at_most=3)).status == 200
    assert source.last(2)[0]["context"]["despite"] is True


@pytest.mark.usefixtures("nothing_found")
async def test_attack_an_old_commit_that_was_once_signed_does_not_come_to_rule_again(source: Source) -> None:
    first = source.commit()
    second = source.commit(own=OWN.replace("nobody", "noone"))
    assert (await source.apply(second)).status == 200
    refused = await source.apply(first)
    assert (refused.status, refused.json["code"]) == (403, "not-applied")
    assert f"does not come after {second[:12]}" in refused.json["detail"]
    assert source.last()[0]["context"]["downgrade"] is True
    source.git("checkout", "-q", "--orphan", "other")
    assert (await source.apply(source.commit())).status == 403
    assert (await source.apply(second)).status == 200
    assert (await source.apply(first, downgrade=True)).status == 200
    assert source.site.app.bundles.current.commit == first


@pytest.mark.usefixtures("nothing_found")
async def test_policy_may_forbid_what_is_told_in_spite_of_a_warning(source: Source) -> None:
    strict = source.commit(strict=NO_DESPITE)
    assert (await source.apply(strict)).status == 200
    for wish in ({"despite": True}, {"downgrade": True}, {"at_most": 1}, {"at_most": "1%"}):
        refused = await source.apply("HEAD", **wish)
        assert (refused.status, refused.json["code"]) == (403, "denied"), wish
        assert "policy/warned" in refused.json["extra"]["reason"]
    assert (await source.apply("HEAD", at_most=0)).status == 200


async def test_attack_a_signer_who_may_not_change_policy_is_refused_by_policy_first(source: Source) -> None:
    """The reason is the signer's, not how many would be locked out: that is told to nobody who may not."""
    await source.site.app.storage.write(
        lambda tx: restate(tx, ADA, name="", emails=("ada@x.test",), groups=(), space="main")
    )
    assert await source.fetch("bob", "developers")
    refused = await source.apply(source.commit(out=LOCKOUT))
    assert (refused.status, refused.json["code"]) == (403, "denied")
    assert "replay" not in refused.json["extra"]


async def test_whom_it_locks_out_is_told_to_those_who_may_read_the_ledger(source: Source) -> None:
    blind = '@id("blind") @title("Blind") forbid (principal is Service, action == Action::"ledger:read", resource);'
    assert (await source.apply(source.commit(blind=blind))).status == 200
    assert await source.fetch("bob", "developers")
    refused = await source.apply(source.commit(blind=blind, out=LOCKOUT))
    findings = refused.json["extra"]["replay"]["findings"]
    assert (findings["denied"], findings["groups"], findings["shares"]) == (1, [], [])


async def test_attack_what_could_not_be_replayed_in_time_is_not_taken_for_good(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle that is slow to decide by, or a flood of newer entries, hides nobody."""

    async def late(*_given: Any, **_more: Any) -> Replay:
        return Replay(digest="", findings=Findings(entries=20), of=1000, complete=False, seconds=60.0)

    monkeypatch.setattr(policy_apply, "replay_ledger", late)
    commit = source.commit()
    refused = await source.apply(commit)
    assert (refused.status, refused.json["code"]) == (403, "not-applied")
    assert "only the newest 20 of the 1000 entries" in refused.json["detail"]
    assert source.last()[0]["context"]["replay_complete"] is False
    assert (await source.apply(commit, despite=True)).status == 200


async def test_a_long_replay_is_told_of_and_asked_for_again_by_its_caller_alone(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = asyncio.Event()

    async def slowly(*_given: Any, progress: Any, **_more: Any) -> Replay:
        progress(5, 10)
        await go_on.wait()
        return Replay(digest="", findings=Findings(), of=10, complete=True, seconds=9.0)

    monkeypatch.setattr(policy_apply, "replay_ledger", slowly)
    monkeypatch.setattr(policy_apply, "PATIENCE_SECONDS", 0.3)
    commit = source.commit()
    answer = (await source.apply(commit)).json
    while answer.get("of") != 10:
        answer = (await source.caller.send("GET", f"/v1/policy/apply/{answer['ticket']}")).json
    assert (answer["state"], answer["done"]) == ("replaying", 5)
    other = await source.site.enrolled("Service", "other", "administrators")
    assert (await other.send("GET", f"/v1/policy/apply/{answer['ticket']}")).status == 404
    assert (await source.caller.send("GET", "/v1/policy/apply/x")).status == 404
    assert (await source.apply(commit, other)).status == 409
    monkeypatch.setattr(policy_apply, "PATIENCE_SECONDS", 30.0)
    go_on.set()
    for _ in range(2):
        done = await source.caller.send("GET", f"/v1/policy/apply/{answer['ticket']}")
        assert (done.status, done.json["state"], done.json["commit"]) == (200, "applied", commit)


async def test_attack_the_caller_is_decided_upon_again_when_the_replay_is_over(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever was let go meanwhile has no bundle of theirs come to rule."""

    async def meanwhile(*_given: Any, **_more: Any) -> Replay:
        me = (await source.caller.send("GET", "/v1/identity/me")).json
        app = source.site.app
        await app.storage.write(lambda tx: app.identity.credentials.revoke(tx, me["credential"], "left"))
        return Replay(digest="", findings=Findings(), of=0, complete=True, seconds=1.0)

    monkeypatch.setattr(policy_apply, "replay_ledger", meanwhile)
    before = source.site.app.bundles.current
    refused = await source.apply(source.commit())
    assert refused.status == 403
    assert "revoked" in refused.json["detail"]
    assert source.site.app.bundles.current is before


async def test_a_bound_that_is_none_is_refused(source: Source) -> None:
    for at_most in ("many", -1, "101%", 1.5, ""):
        assert (await source.apply("HEAD", at_most=at_most)).status == 400
