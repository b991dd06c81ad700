import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from everproof.app import Everproof
from everproof.authorize import Allowed, DecisionRecord, Denied
from everproof.authorize.bundles import BUNDLE, POLICY_CHANGE
from everproof.kernel.errors import RefusedError, UnavailableError
from everproof.kernel.settings import Settings
from everproof.kernel.words import MAIN_SPACE, Action, Fact, Principal, Proof, Ref, Resource
from everproof.ledger import Ledger
from everproof.policy import Engine, load_bundle, starter_files
from everproof.storage import Transaction
from tests.conftest import SettableClock

FETCH = Action("git:fetch")
SHOP = Resource(ref=Ref("Repository", "shop"), attributes={"name": "shop"}, parents=(MAIN_SPACE,))


@pytest.fixture
async def app(database_url: str, tmp_path: Path, clock: SettableClock) -> AsyncIterator[Everproof]:
    app = Everproof(Settings(state=tmp_path / "state", database=database_url), clock=clock)
    await app.start()
    yield app
    await app.stop()


def proof_of(name: str, at: datetime, *groups: str, credential: str | None = None) -> Proof:
    parents = (*(Ref("Group", group) for group in groups), MAIN_SPACE)
    return Proof(kind="test", principal=Principal(ref=Ref("User", name), parents=parents), at=at, credential=credential)


def recorded(app: Everproof, index: int) -> DecisionRecord:
    return msgspec.json.decode(app.ledger.read(index).body, type=DecisionRecord)


async def test_what_is_allowed_is_recorded_before_it_is_said(app: Everproof, clock: SettableClock) -> None:
    outcome = await app.authorizer.authorize(proof_of("bob", clock.now(), "developers"), FETCH, SHOP)
    assert isinstance(outcome, Allowed)
    record = recorded(app, outcome.receipt.index)
    assert (record.decision, record.principal, record.action) == ("allow", Ref("User", "bob"), "git:fetch")
    assert record.reasons == outcome.decision.reasons == ("developers/fetch",)
    assert record.bundle == app.bundles.current.digest


async def test_what_is_denied_is_recorded_with_its_reason_and_explained(app: Everproof, clock: SettableClock) -> None:
    outcome = await app.authorizer.authorize(proof_of("eve", clock.now()), FETCH, SHOP)
    assert isinstance(outcome, Denied)
    assert recorded(app, outcome.receipt.index).decision == "deny"
    assert "no policy permits" in outcome.reason
    assert "developers" in outcome.explanation("auditor").text()


async def test_an_allowed_cannot_be_made_elsewhere(app: Everproof, clock: SettableClock) -> None:
    outcome = await app.authorizer.authorize(proof_of("bob", clock.now(), "developers"), FETCH, SHOP)
    assert isinstance(outcome, Allowed)
    parts = {name: getattr(outcome, name) for name in ("proof", "action", "resource", "decision", "receipt", "outcome")}
    with pytest.raises(TypeError, match="comes from authorize"):
        Allowed(**parts, seal=object())  # type: ignore[arg-type]  # the very thing that the type forbids


async def test_the_effect_and_its_entry_are_one_commit(app: Everproof, clock: SettableClock) -> None:
    def effect(tx: Transaction) -> str:
        tx.publish("test", "done")
        return "done"

    outcome = await app.authorizer.authorize(proof_of("bob", clock.now(), "developers"), FETCH, SHOP, within=effect)
    assert isinstance(outcome, Allowed)
    assert outcome.outcome == "done"


async def test_a_denied_request_has_no_effect(app: Everproof, clock: SettableClock) -> None:
    done: list[bool] = []
    outcome = await app.authorizer.authorize(
        proof_of("eve", clock.now()), FETCH, SHOP, within=lambda _: done.append(True)
    )
    assert isinstance(outcome, Denied)
    assert done == []


async def test_an_effect_that_is_refused_is_a_recorded_denial(app: Everproof, clock: SettableClock) -> None:
    def refuse(_: Transaction) -> None:
        raise RefusedError("the token is bound to another key")

    outcome = await app.authorizer.authorize(proof_of("bob", clock.now(), "developers"), FETCH, SHOP, within=refuse)
    assert isinstance(outcome, Denied)
    record = recorded(app, outcome.receipt.index)
    assert (record.decision, record.refusal) == ("deny", "the token is bound to another key")


async def test_an_effect_that_breaks_leaves_neither_effect_nor_entry(app: Everproof, clock: SettableClock) -> None:
    def broken(tx: Transaction) -> None:
        tx.publish("test", "half")
        raise ValueError("a defect")

    size = app.ledger.size
    with pytest.raises(ValueError, match="a defect"):
        await app.authorizer.authorize(proof_of("bob", clock.now(), "developers"), FETCH, SHOP, within=broken)
    assert app.ledger.size == size


async def test_nothing_is_allowed_that_cannot_be_recorded(app: Everproof, clock: SettableClock) -> None:
    await app.stop()
    with pytest.raises(UnavailableError):
        await app.authorizer.authorize(proof_of("bob", clock.now(), "developers"), FETCH, SHOP)


async def test_observing_lets_pass_and_never_says_allowed(app: Everproof, clock: SettableClock) -> None:
    outcome = await app.authorizer.authorize(proof_of("eve", clock.now()), FETCH, SHOP, mode="observe")
    assert isinstance(outcome, Denied)
    assert outcome.lets_pass
    assert recorded(app, outcome.receipt.index).decision == "would_deny"


async def test_a_credential_revoked_while_its_request_is_under_way_is_refused(
    app: Everproof, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.authorizer, "_is_live", lambda _: False)
    outcome = await app.authorizer.authorize(
        proof_of("bob", clock.now(), "developers", credential="cred_x"), FETCH, SHOP
    )
    assert isinstance(outcome, Denied)
    assert outcome.reason == "the credential was revoked"


async def test_nothing_is_done_for_a_credential_that_was_revoked_before_the_commit(
    app: Everproof, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was good when the request came; a body or a signature may have taken half a minute since."""
    done: list[bool] = []
    monkeypatch.setattr(app.authorizer, "_is_live", lambda _: False)
    proof = proof_of("bob", clock.now(), "developers", credential="cred_x")
    outcome = await app.authorizer.authorize(proof, FETCH, SHOP, within=lambda _: done.append(True))
    assert isinstance(outcome, Denied)
    assert done == []
    assert recorded(app, outcome.receipt.index).refusal == "the credential was revoked"


async def test_nothing_is_done_for_a_proof_that_ran_out_before_the_commit(app: Everproof, clock: SettableClock) -> None:
    done: list[bool] = []
    proof = msgspec.structs.replace(proof_of("bob", clock.now(), "developers"), expires=clock.now())
    outcome = await app.authorizer.authorize(proof, FETCH, SHOP, within=lambda _: done.append(True))
    assert isinstance(outcome, Denied)
    assert done == []


async def test_what_a_caller_says_is_never_taken_for_a_fact(app: Everproof, clock: SettableClock) -> None:
    outcome = await app.authorizer.authorize(
        proof_of("eve", clock.now()), FETCH, SHOP, context={"proof_kind": "passkey", "granted": True}
    )
    context = msgspec.json.decode(recorded(app, outcome.receipt.index).context)
    assert context["proof_kind"] == "test"
    assert "granted" not in context
    assert context["said"]["granted"] is True


async def test_facts_of_sources_reach_policy_with_their_source(app: Everproof, clock: SettableClock) -> None:
    class Risk:
        name = "risk"
        says = frozenset({"risk"})

        def facts(self, _proof: Proof, _action: Action, _resource: Resource, at: datetime) -> list[Fact]:
            return [Fact("risk", 90, at, self.name)]

    files = {
        **starter_files(),
        "policies/risk.cedar": b'@id("risk") @title("Nothing at high risk") @advice("wait")\n'
        b"forbid (principal, action, resource) when { context has risk && context.risk > 80 };",
    }
    app.authorizer.engine = Engine(load_bundle(files))
    app.authorizer.register(Risk())
    outcome = await app.authorizer.authorize(proof_of("bob", clock.now(), "developers"), FETCH, SHOP)
    assert isinstance(outcome, Denied)
    record = recorded(app, outcome.receipt.index)
    assert record.reasons == ("risk",)
    assert ("risk", "risk") in record.sources
    assert "risk is 90" in outcome.explanation().text()


async def test_one_evaluation_enters_policy_once_and_the_ledger_once(
    app: Everproof, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def watch(owner: type, name: str, word: str) -> None:
        original = getattr(owner, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            calls.append(word)
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, watched)

    watch(Engine, "decide", "policy")
    watch(Ledger, "append", "ledger")
    await app.authorizer.authorize(proof_of("bob", clock.now(), "developers"), FETCH, SHOP)
    assert calls == ["policy", "ledger"]


async def test_many_at_once_are_each_decided_and_recorded(app: Everproof, clock: SettableClock) -> None:
    proofs = [proof_of(f"user{number}", clock.now(), *(["developers"] if number % 2 else [])) for number in range(200)]
    outcomes = await asyncio.gather(*(app.authorizer.authorize(proof, FETCH, SHOP) for proof in proofs))
    assert [isinstance(outcome, Allowed) for outcome in outcomes] == [bool(number % 2) for number in range(200)]
    assert len({outcome.receipt.index for outcome in outcomes}) == 200


async def test_a_bundle_rules_only_if_the_ruling_one_lets_its_signer_change_it(
    app: Everproof, clock: SettableClock
) -> None:
    files = {
        **starter_files(),
        "policies/more.cedar": b'@id("more") @title("More")\n'
        b'permit (principal == User::"eve", action == Action::"policy:change", resource);',
    }
    before = app.bundles.current.digest
    assert isinstance(await app.bundles.load(proof_of("eve", clock.now()), files, "1" * 40), Denied)
    assert app.bundles.current.digest == before
    admin = proof_of("alice", clock.now(), "administrators")
    assert isinstance(await app.bundles.load(admin, files, "2" * 40), Allowed)
    assert app.bundles.current.commit == "2" * 40
    assert isinstance(await app.authorizer.authorize(proof_of("eve", clock.now()), POLICY_CHANGE, BUNDLE), Allowed)


async def test_a_bundle_that_was_decided_by_one_that_rules_no_more_does_not_rule(
    app: Everproof, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are decided while mallory may still change policy; the one that takes that away comes first."""

    async def at_once(function: Any, *arguments: Any) -> Any:
        return function(*arguments)

    monkeypatch.setattr("asyncio.to_thread", at_once)
    without_mallory = {
        **starter_files(),
        "policies/out.cedar": b'@id("out") @title("Out") @advice("none")\n'
        b'forbid (principal == User::"mallory", action, resource);',
    }
    alice, mallory = (proof_of(name, clock.now(), "administrators") for name in ("alice", "mallory"))
    first, second = await asyncio.gather(
        app.bundles.load(alice, without_mallory, "5" * 40), app.bundles.load(mallory, starter_files(), "6" * 40)
    )
    assert isinstance(first, Allowed)
    assert isinstance(second, Denied)
    assert "meanwhile" in second.reason
    assert app.bundles.current.commit == "5" * 40


async def test_a_bundle_that_was_looked_at_beside_one_that_rules_no_more_does_not_rule(
    app: Everproof, clock: SettableClock
) -> None:
    """What its replay and its descent were found against has gone meanwhile."""
    alice = proof_of("alice", clock.now(), "administrators")
    before = app.bundles.current
    other = {**starter_files(), "everproof.toml": b'[doors]\ngit = "observe"\n'}
    assert isinstance(await app.bundles.load(alice, other, "5" * 40, replaces=before), Allowed)
    late = await app.bundles.load(alice, starter_files(), "6" * 40, replaces=before)
    assert isinstance(late, Denied)
    assert "meanwhile" in late.reason


@pytest.mark.parametrize(
    "bad",
    [
        {
            "policies/bad.cedar": b'@id("bad") @title("Bad") permit (principal, action, resource) when { context.no };',
        },
        {"policies/bad.cedar": b"permit (principal"},
        {"trust/bad.toml": b"[issuer]\nurl = 1\n"},
        {"everproof.toml": b'[doors]\ngit = "off"\n'},
        {
            "policies/more.test.toml": b'[[test]]\nname = "eve may"\nprincipal = \'User::"eve"\'\n'
            b'action = "policy:change"\nresource = \'Bundle::"organisation"\'\nexpect = "allow"\n'
        },
    ],
)
async def test_a_bad_bundle_never_replaces_a_good_one(
    app: Everproof, clock: SettableClock, bad: dict[str, bytes]
) -> None:
    before, size = app.bundles.current.digest, app.ledger.size
    with pytest.raises(Exception, match=next(iter(bad))) as caught:
        await app.bundles.load(proof_of("alice", clock.now(), "administrators"), {**starter_files(), **bad}, "3" * 40)
    assert next(iter(bad)) in str(caught.value)
    assert app.bundles.current.digest == before
    assert app.ledger.size == size


async def test_the_ruling_bundle_rules_again_after_a_restart(
    database_url: str, tmp_path: Path, clock: SettableClock
) -> None:
    settings = Settings(state=tmp_path / "state", database=database_url)
    app = Everproof(settings, clock=clock)
    await app.start()
    files = {**starter_files(), "everproof.toml": b'[doors]\ngit = "observe"\n'}
    await app.bundles.load(proof_of("alice", clock.now(), "administrators"), files, "4" * 40)
    assert app.bundles.mode("git") == "observe"
    await app.stop()
    again = Everproof(settings, clock=clock)
    assert again.bundles.current.commit == "4" * 40
    assert again.bundles.mode("git") == "observe"
    assert again.bundles.mode("authzen") == "enforce"
    again.storage.close()


async def test_a_token_narrowed_to_a_scope_does_nothing_outside_it(app: Everproof, clock: SettableClock) -> None:
    proof = proof_of("bob", clock.now(), "developers")
    inside, outside = (msgspec.structs.replace(proof, claims={"scope": [name]}) for name in ("git:fetch", "git:push"))
    assert isinstance(await app.authorizer.authorize(inside, FETCH, SHOP), Allowed)
    outcome = await app.authorizer.authorize(outside, FETCH, SHOP)
    assert isinstance(outcome, Denied)
    assert "scope, git:push, does not include git:fetch" in outcome.reason
    assert recorded(app, outcome.receipt.index).refusal == outcome.reason
