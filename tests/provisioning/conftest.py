from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from everproof.identity import roster
from everproof.kernel.words import Ref
from tests.scim.conftest import URL, Site, running
from tests.server.client import Client


@pytest.fixture
async def site(database_url: str, tmp_path: Path) -> AsyncIterator[Site]:
    async with running(database_url, tmp_path) as one:
        yield one


@pytest.fixture
async def quick(tmp_path: Path) -> AsyncIterator[Site]:
    """A site on the quicker of the two databases, for what does not depend on it."""
    async with running(f"sqlite:///{tmp_path / 'everproof.db'}", tmp_path) as one:
        yield one


async def administrator(site: Site) -> Client:
    """Somebody who may do everything, with a token."""
    client = Client(site.doors, URL, site.clock)
    await site.app.storage.write(
        lambda tx: roster.register_client(tx, Ref("Machine", "operator"), [client.jwk], groups=("administrators",))
    )
    assert (await client.credentials("machine:operator")).status == 200
    return client
