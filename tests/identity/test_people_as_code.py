"""people.toml rules with the bundle that it stands in, in one commit, or not at all."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from everproof.app import Everproof
from everproof.authorize import Allowed, Denied
from everproof.identity import roster
from everproof.kernel.errors import ConflictError, InputError
from everproof.kernel.settings import Settings
from everproof.kernel.words import MAIN_SPACE, Principal, Proof, Ref
from everproof.policy import starter_files
from tests.conftest import SettableClock
from tests.identity.people import ALICE, BOB, enrolled

PEOPLE = b'[people.bob]\nemails = ["bob@x.test"]\ngroups = ["developers"]\n'


@pytest.fixture
async def app(database_url: str, tmp_path: Path, clock: SettableClock) -> AsyncIterator[Everproof]:
    app = Everproof(Settings(state=tmp_path / "state", database=database_url), clock=clock)
    await app.start()
    yield app
    await app.stop()


def proof(app: Everproof, *groups: str) -> Proof:
    parents = (*(Ref("Group", group) for group in groups), MAIN_SPACE)
    principal = Principal(ref=Ref("User", "root"), parents=parents)
    return Proof(kind="test", principal=principal, at=app.storage.clock.now())


async def load(app: Everproof, people: bytes | None, *groups: str) -> object:
    files = {**starter_files(), **({"people.toml": people} if people is not None else {})}
    return await app.bundles.load(proof(app, *groups), files, "1" * 40)


async def test_people_come_and_go_with_the_bundle(app: Everproof) -> None:
    assert isinstance(await load(app, PEOPLE, "administrators"), Allowed)
    assert app.identity.directory.principal(BOB) is not None
    assert isinstance(await load(app, None, "administrators"), Allowed)
    assert app.identity.directory.principal(BOB) is None


async def test_bundle_of_someone_who_may_not_change_it_makes_no_people(app: Everproof) -> None:
    assert isinstance(await load(app, b'[people.eve]\ngroups = ["administrators"]\n', "developers"), Denied)
    assert list(app.identity.directory.records()) == []


async def test_bundle_with_a_mistake_about_people_changes_nothing(app: Everproof) -> None:
    before = app.bundles.current.digest
    for people in (b"[people.Bob]\n", b"\xff", b"[people.bob]\nshoe_size = 42\n"):
        with pytest.raises(InputError, match=r"people\.toml"):
            await load(app, people, "administrators")
    assert app.bundles.current.digest == before


async def test_bundle_about_people_who_are_enrolled_otherwise_changes_nothing(app: Everproof) -> None:
    await enrolled(app.storage, ALICE)
    before, size = app.bundles.current.digest, app.ledger.size
    with pytest.raises(ConflictError, match="not by this file"):
        await load(app, PEOPLE + b'[people.alice]\ngroups = ["administrators"]\n', "administrators")
    assert (app.bundles.current.digest, app.ledger.size) == (before, size)
    assert app.identity.directory.principal(BOB) is None
    await app.storage.write(lambda tx: roster.set_groups(tx, ALICE, ["developers"]))
