"""Whoever is contained gets nothing, in whatever way they ask."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from everproof.app import Everproof
from everproof.authorize import Allowed, DecisionRecord, Denied
from everproof.identity import roster
from everproof.identity.holding import hold, release
from everproof.kernel.settings import Settings
from everproof.kernel.words import MAIN_SPACE, Action, Principal, Proof, Ref, Resource
from everproof.policy import Engine, load_bundle, starter_files
from tests.conftest import SettableClock

FETCH = Action("git:fetch")
SHOP = Resource(ref=Ref("Repository", "shop"), attributes={"name": "shop"}, parents=(MAIN_SPACE,))
BOB = Ref("User", "bob")


@pytest.fixture
async def app(tmp_path: Path, clock: SettableClock) -> AsyncIterator[Everproof]:
    app = Everproof(Settings(state=tmp_path / "state"), clock=clock)
    await app.start()
    yield app
    await app.stop()


def proof(app: Everproof, credential: str | None = None) -> Proof:
    principal = Principal(ref=BOB, parents=(Ref("Group", "administrators"), MAIN_SPACE))
    return Proof(kind="ssh", principal=principal, at=app.storage.clock.now(), credential=credential)


async def test_contained_administrator_is_refused_whatever_policy_says_and_it_is_recorded(app: Everproof) -> None:
    ask = app.authorizer.authorize
    assert isinstance(await ask(proof(app), FETCH, SHOP), Allowed)
    await app.storage.write(lambda tx: hold(tx, BOB, "stolen"))
    denied = await ask(proof(app), FETCH, SHOP)
    assert isinstance(denied, Denied)
    assert denied.reason == 'User::"bob" is contained'
    record = msgspec.json.decode(app.ledger.read(denied.receipt.index).body, type=DecisionRecord)
    assert (record.decision, record.refusal) == ("deny", denied.reason)
    await app.storage.write(lambda tx: release(tx, BOB))
    assert isinstance(await ask(proof(app), FETCH, SHOP), Allowed)


async def test_attack_door_that_only_observes_lets_the_contained_pass(app: Everproof) -> None:
    """To observe is to let pass what policy would refuse, not whoever is nobody any more."""
    app.authorizer.engine = Engine(load_bundle({"policies/none.cedar": starter_files()["policies/jobs.cedar"]}))
    ask = app.authorizer.authorize
    observed = await ask(proof(app), FETCH, SHOP, mode="observe")
    assert isinstance(observed, Denied)
    assert observed.lets_pass
    await app.storage.write(lambda tx: hold(tx, BOB, "stolen"))
    denied = await ask(proof(app), FETCH, SHOP, mode="observe")
    assert isinstance(denied, Denied)
    assert not denied.lets_pass
    record = msgspec.json.decode(app.ledger.read(denied.receipt.index).body, type=DecisionRecord)
    assert record.decision == "deny"


async def test_attack_revoked_credential_at_a_door_that_only_observes(app: Everproof) -> None:
    line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"

    def enrol(tx: object) -> str:
        roster.add_principal(tx, BOB)  # type: ignore[arg-type]
        return roster.add_ssh_key(tx, BOB, line).credential  # type: ignore[arg-type]

    credential = await app.storage.write(enrol)
    found = app.containment.look(Ref("Credential", credential))
    await app.storage.write(lambda tx: app.containment.begin(tx, found, by=BOB, reason="stolen"))
    denied = await app.authorizer.authorize(proof(app, credential), FETCH, SHOP, mode="observe")
    assert isinstance(denied, Denied)
    assert not denied.lets_pass


async def test_decision_that_was_on_its_way_when_its_principal_was_contained_is_a_denial(app: Everproof) -> None:
    held = app.storage.write(lambda tx: hold(tx, BOB, "stolen"))
    outcome = await app.authorizer.authorize(proof(app), FETCH, SHOP)
    await held
    assert isinstance(outcome, Denied)
