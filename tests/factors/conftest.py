import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from everproof.identity.factors import rules_of
from tests.conftest import SettableClock
from tests.factors.house import Heard, House, opened

Rule = Callable[[str], None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One server serves all tests of this folder, so they share its event loop."""
    for item in items:
        if item.path.parent.name == "factors" and inspect.iscoroutinefunction(getattr(item, "function", None)):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def running_house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    clock = SettableClock()
    clock.time = datetime.now(UTC)
    house = opened(tmp_path_factory.mktemp("factors"), clock)
    house.app.factors.telling._notices = Heard()
    await house.app.start()
    yield house
    await house.app.stop()


@pytest.fixture
def house(running_house: House) -> Iterator[House]:
    """The server, by the rules that hold where nothing is said."""
    yield running_house
    running_house.app.factors.follow({})


@pytest.fixture
def rule(house: House) -> Rule:
    """Lets another ``factors.toml`` hold."""

    def rule(text: str) -> None:
        files = {"factors.toml": text.encode()}
        rules_of(files)
        house.app.factors.follow(files)

    return rule
