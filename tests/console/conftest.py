"""One browser and one server for all tests of the pages. All run in one loop, which the server is in too."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.console.browser import chromium, require_chromium, trust
from tests.console.site import Site, running
from tests.console.world import files, people


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A server with people, clients and rules of access."""
    async with running(tmp_path_factory.mktemp("pages"), files) as site:
        await people(site)
        yield site


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(site: Site, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """Debian's Chromium, which believes the server's certificate."""
    require_chromium()
    home = tmp_path_factory.mktemp("home")
    trust(home, site.ca)
    async with chromium(home) as browser:
        yield browser
