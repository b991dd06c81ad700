import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from everproof.keys import PrivateKey, signing
from tests.conftest import SettableClock
from tests.fakes.https import Asked, Said, Served, serving
from tests.provider.site import Person, Site, opened


@pytest.fixture(scope="session")
def provider_rsa_keys() -> list[rsa.RSAPrivateKey]:
    return [rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2)]


@pytest.fixture(autouse=True)
def same_rsa_keys(provider_rsa_keys: list[rsa.RSAPrivateKey], monkeypatch: pytest.MonkeyPatch) -> None:
    """Signing keys are made for each storage, and RSA keys take their time: in this folder the same pair serves."""
    turns = itertools.cycle(provider_rsa_keys)
    make = signing._generate

    def generate(algorithm: signing.Algorithm) -> PrivateKey:
        return next(turns) if algorithm == "RS256" else make(algorithm)

    monkeypatch.setattr(signing, "_generate", generate)


@pytest.fixture
def clock() -> SettableClock:
    clock = SettableClock()
    clock.time = datetime.now(UTC)
    return clock


class Backchannel:
    """Where a client hears that somebody has signed out; ``status`` is what it answers."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.status = 200
        self.url = ""
        self.ca_file = Path()

    def answer(self, _asked: Asked) -> Said:
        return Said(self.status)


@pytest.fixture(scope="session")
def served_backchannel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backchannel]:
    heard = Backchannel()
    with serving(heard, tmp_path_factory.mktemp("backchannel")) as served:
        assert isinstance(served, Served)
        heard.url, heard.ca_file = f"{served.url}/backchannel", served.ca_file
        yield heard


@pytest.fixture
def backchannel(served_backchannel: Backchannel) -> Backchannel:
    served_backchannel.asked.clear()
    served_backchannel.status = 200
    return served_backchannel


@asynccontextmanager
async def running(folder: Path, clock: SettableClock, **how: Any) -> AsyncIterator[Site]:
    site = opened(folder, clock, **how)
    await site.app.start()
    try:
        await site.enrol("alice", "platform", "everyone")
        yield site
    finally:
        await site.app.stop()


@pytest.fixture
async def site(tmp_path: Path, clock: SettableClock, backchannel: Backchannel) -> AsyncIterator[Site]:
    async with running(tmp_path / "state", clock, backchannel=backchannel.url, ca_file=backchannel.ca_file) as site:
        yield site


@pytest.fixture
async def alice(site: Site) -> Person:
    return await site.enter("alice")
