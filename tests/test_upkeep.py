from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from everproof.app import Everproof
from everproof.authorize.attempts import EVENT_KIND
from everproof.kernel.settings import Settings
from everproof.upkeep import Upkeep
from tests.conftest import SettableClock


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings(state=tmp_path / "state", database=database_url)


async def test_an_unknown_claim_is_recorded_as_an_event(settings: Settings, clock: SettableClock) -> None:
    app = Everproof(settings, clock=clock)
    await app.start()
    tell = app.identity.external._unknown.tell
    assert tell is not None
    tell("https://issuer.example", "surprise")
    await app.stop()
    reader = Everproof(settings, clock=clock)
    [event] = reader.ledger.tail(kind=EVENT_KIND)
    assert event.entry is not None
    assert msgspec.json.decode(event.entry.body) == {
        "event": "unknown-claim",
        "issuer": "https://issuer.example",
        "claim": "surprise",
    }
    reader.storage.close()


async def test_keys_that_have_signed_long_enough_are_rotated(settings: Settings, clock: SettableClock) -> None:
    app = Everproof(settings, clock=clock)
    await app.start()
    before = app.signing.current("ES256").kid
    upkeep = Upkeep(app.storage, app.signing, app.identity, app.ledger)
    await upkeep.once()
    assert app.signing.current("ES256").kid == before
    clock.advance(timedelta(days=31))
    await upkeep.once()
    assert app.signing.current("ES256").kid != before
    assert app.signing.verification_key(before) is not None, "tokens that were signed before are still good"
    await app.stop()
