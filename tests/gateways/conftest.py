import os
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.gateways.caller import Answer
from tests.gateways.gateway import WIKI, binary
from tests.gateways.service import Seen
from tests.gateways.site import Site

GATEWAYS = ["nginx", "caddy", "traefik", "envoy"]


class Door(NamedTuple):
    """One gateway, before the service."""

    name: str
    port: int
    site: Site

    def ask(
        self,
        target: str,
        *,
        method: str = "GET",
        who: str = "crawler",
        host: str = WIKI,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
    ) -> tuple[Answer, list[Seen]]:
        """The answer to the caller, and what the service saw of it."""
        before = len(self.site.service.seen)
        answer = self.site.callers[who].ask(self.port, method, target, host, headers, body)
        return answer, self.site.service.seen[before:]


def require(name: str) -> None:
    """Skip loudly where a gateway is not installed, and fail where that may not be."""
    if binary(name) is None:
        if os.environ.get("CI"):
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed, so nothing is shown about it")


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("gateways"))
    yield made
    made.stop()


@pytest.fixture(scope="package", params=GATEWAYS)
def door(request: pytest.FixtureRequest, site: Site) -> Door:
    require(request.param)
    return Door(request.param, site.gateway(request.param), site)
