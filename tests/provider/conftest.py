import itertools
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import rsa

from everproof.keys import PrivateKey, signing
from tests.conftest import SettableClock
from tests.fakes.https import Asked, Said, Served, serving
from tests.provider.site import Person, Site, claims, opened


@pytest.fixture(scope="session")
def provider_rsa_keys() -> list[rsa.RSAPrivateKey]:
    return [rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2)]


@pytest.fixture(scope="session", autouse=True)
def same_rsa_keys(provider_rsa_keys: list[rsa.RSAPrivateKey]) -> Iterator[None]:
    """Signing keys are made for each storage, and RSA keys take their time: in this folder the same pair serves."""
    turns = itertools.cycle(provider_rsa_keys)
    make = signing._generate

    def generate(algorithm: signing.Algorithm) -> PrivateKey:
        return next(turns) if algorithm == "RS256" else make(algorithm)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signing, "_generate", generate)
        yield


@pytest.fixture(scope="module")
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

    def told(self) -> list[dict[str, Any]]:
        """What the logout tokens say that came."""
        return [claims(parse_qs(one.content.decode())["logout_token"][0]) for one in self.asked]

    def answer(self, _asked: Asked) -> Said:
        return Said(self.status)


@pytest.fixture(scope="session")
def served_backchannel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backchannel]:
    heard = Backchannel()
    with serving(heard, tmp_path_factory.mktemp("backchannel")) as served:
        assert isinstance(served, Served)
        heard.url, heard.ca_file = f"{served.url}/backchannel", served.ca_file
        yield heard


@pytest.fixture(autouse=True)
def backchannel(served_backchannel: Backchannel) -> Backchannel:
    served_backchannel.asked.clear()
    served_backchannel.status = 200
    return served_backchannel


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    tmp_path_factory: pytest.TempPathFactory, clock: SettableClock, served_backchannel: Backchannel
) -> AsyncIterator[Site]:
    """One server for a module: people are fresh for each test, and time only goes on."""
    heard = served_backchannel
    site = opened(tmp_path_factory.mktemp("provider"), clock, backchannel=heard.url, ca_file=heard.ca_file)
    await site.app.start()
    yield site
    await site.app.stop()


_numbers = itertools.count(1)


@pytest_asyncio.fixture(loop_scope="module")
async def alice(site: Site) -> Person:
    """Somebody who has just signed in."""
    ref = await site.enrol(f"alice-{next(_numbers)}", "platform", "everyone")
    return await site.enter(ref.id)
