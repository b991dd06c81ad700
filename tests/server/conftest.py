from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from everproof.app import Everproof
from everproof.authorize.store import StoredBundle, save_bundle
from everproof.identity import roster
from everproof.kernel.settings import Outbound, Settings
from everproof.kernel.words import Ref
from everproof.policy import load_bundle
from everproof.policy.starter import starter_files
from everproof.server.application import application
from everproof.server.http import Application
from everproof.storage import Transaction
from tests.conftest import SettableClock
from tests.issuer import Issuer, running
from tests.server.client import Client

URL = "https://everproof.example"

TRUST = """
[issuer]
url = "{url}"
type = "github"
audience = "https://everproof.example"

[[binding]]
name = "shop"
id = "github/{{repository_id}}/{{job_workflow_ref}}"
groups = ["builders"]
claims.repository_owner_id = "65"
claims.repository_id = "74"
"""

POLICY = b"""
@id("secrets/builders")
@title("Builders read build secrets")
@advice("ask for the group builders")
permit (principal in Group::"builders", action == Action::"secret:read", resource is Secret)
when { resource has path && resource.path like "build/*" };

@id("secrets/fresh-factor")
@title("People read secrets with a fresh factor")
@advice("log in again")
permit (principal is User, action == Action::"secret:read", resource is Secret)
when { context has mfa_age && context.mfa_age < 900 };

@id("tokens/others")
@title("Builders get tokens for the artifact store")
permit (principal in Group::"builders", action == Action::"token:exchange", resource == Audience::"https://store.example");
"""


class Site:
    """A whole server in this process, its doors, and the clock."""

    def __init__(self, app: Everproof, doors: Application, clock: SettableClock, issuer: Issuer) -> None:
        self.app = app
        self.doors = doors
        self.clock = clock
        self.issuer = issuer

    def client(self) -> Client:
        return Client(self.doors, URL, self.clock)

    async def enrolled(self, type_: str, id_: str, *groups: str) -> Client:
        """A service or machine on record, with a token."""
        client = self.client()
        await self.app.storage.write(
            lambda tx: roster.register_client(tx, Ref(type_, id_), [client.jwk], groups=groups)
        )
        answer = await client.credentials(f"{type_.lower()}:{id_}")
        assert answer.status == 200, answer.body
        return client


@pytest.fixture(scope="session")
def session_issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    with running(tmp_path_factory.mktemp("issuer")) as issuer:
        yield issuer


@pytest.fixture
async def site(database_url: str, tmp_path: Path, session_issuer: Issuer) -> AsyncIterator[Site]:
    async with opened(database_url, tmp_path / "state", session_issuer) as found:
        yield found


@asynccontextmanager
async def opened(database_url: str, state: Path, issuer: Issuer, *, policy: bytes = POLICY) -> AsyncIterator[Site]:
    """A whole server, for one test or for all of a module."""
    clock = SettableClock()
    clock.time = datetime.now(UTC)
    outbound = Outbound(ca_file=issuer.ca_file, private_hosts=("127.0.0.1",))
    settings = Settings(state=state, database=database_url, url=URL, outbound=outbound)
    files = starter_files() | {
        "policies/site.cedar": policy,
        "trust/github.toml": TRUST.format(url=issuer.url).encode(),
    }

    app = Everproof(settings, clock=clock)
    digest = load_bundle(files).digest  # not within the transaction: PostgreSQL ends one in which nothing happens

    def rule(tx: Transaction) -> None:
        save_bundle(tx, StoredBundle(digest, "", files))

    app.storage.write_now(rule)
    await app.start()
    yield Site(app, application(app), clock, issuer)
    await app.stop()
