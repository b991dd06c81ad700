"""scim2-tester, as it comes: every check passes."""

import asyncio

from scim2_tester import check_server
from scim2_tester.utils import Status

from tests.scim.conftest import Site
from tests.scim.engine import Engine


async def test_every_check_of_scim2_tester_passes(site: Site) -> None:
    client = Engine(await site.directory())
    results = await asyncio.to_thread(check_server, client)
    assert [one for one in results if one.status is not Status.SUCCESS] == []
    assert len(results) > 100
    assert {one.resource_type for one in results} >= {"User", "Group"}
