import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from everproof.keys import PrivateKey, signing
from tests.conftest import SettableClock
from tests.factors.house import Heard, House, opened

Make = Callable[..., Awaitable[House]]


@pytest.fixture(scope="session")
def two_rsa_keys() -> list[rsa.RSAPrivateKey]:
    return [rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2)]


@pytest.fixture(autouse=True)
def same_rsa_keys(two_rsa_keys: list[rsa.RSAPrivateKey], monkeypatch: pytest.MonkeyPatch) -> None:
    """Signing keys are made for each storage, and RSA keys take their time: in this folder the same pair serves."""
    turns = itertools.cycle(two_rsa_keys)
    make = signing._generate

    def generate(algorithm: signing.Algorithm) -> PrivateKey:
        return next(turns) if algorithm == "RS256" else make(algorithm)

    monkeypatch.setattr(signing, "_generate", generate)


@pytest.fixture
def clock() -> SettableClock:
    clock = SettableClock()
    clock.time = datetime.now(UTC)
    return clock


@asynccontextmanager
async def _running(folder: Path, clock: SettableClock, **how: Any) -> AsyncIterator[House]:
    house = opened(folder, clock, **how)
    house.app.factors.telling._notices = Heard()
    await house.app.start()
    try:
        yield house
    finally:
        await house.app.stop()


@pytest.fixture
async def make_house(tmp_path: Path, clock: SettableClock) -> AsyncIterator[Make]:
    """Servers with policy or rules of their own."""
    async with AsyncExitStack() as stack:
        numbers = itertools.count()

        async def make(**how: Any) -> House:
            return await stack.enter_async_context(_running(tmp_path / f"state-{next(numbers)}", clock, **how))

        yield make


@pytest.fixture
async def house(make_house: Make) -> House:
    return await make_house()
