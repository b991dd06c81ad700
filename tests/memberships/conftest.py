import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from everproof.app import Everproof
from everproof.authorize.store import StoredBundle, save_bundle
from everproof.identity import roster
from everproof.kernel.settings import OrganisationHost, Outbound, Settings, WebhookChannel
from everproof.kernel.words import Ref
from everproof.keys import PrivateKey, signing
from everproof.policy import load_bundle
from everproof.policy.starter import starter_files
from everproof.provisioning.memberships_room import Report
from everproof.server.application import application
from everproof.storage import Transaction
from everproof.work import EffectRecord
from tests.conftest import SettableClock
from tests.fakes.github_org import GitHubOrg, Repository, Team, Token
from tests.fakes.gitlab_group import GitLabGroup, Space
from tests.fakes.https import Served, serving
from tests.server.asgi import Answer
from tests.server.client import Client

URL = "https://everproof.example"
OWNER, ALICE, BOB, CAROL, ROBOT, STRANGER = 1, 11, 12, 13, 90, 99
"""Numbers of accounts, at both platforms."""

MEMBERSHIPS = """
[organisations.acme]
id = 9919
roles = { owner = ["owners"], member = ["engineering"] }
accounts = { root = 1, alice = 11, bob = 12, carol = 13 }
keep = [90]

[[organisations.acme.teams]]
id = 42
roles = { maintainer = ["leads"], member = ["platform"] }

[[organisations.acme.repositories]]
id = 1296269
name = "acme/shop"
roles = { write = ["contractors"] }

[organisations.shop]
id = 100
roles = { owner = ["owners"], developer = ["engineering"] }
accounts = { root = 1, alice = 11, bob = 12, carol = 13 }
keep = [90]

[[organisations.shop.teams]]
id = 101
roles = { maintainer = ["leads"], developer = ["platform"] }

[[organisations.shop.repositories]]
id = 500
roles = { reporter = ["contractors"] }
"""


def github() -> GitHubOrg:
    """As it should be, for the people below."""
    org = GitHubOrg(tokens={"ghp_owner": Token(None, frozenset({"members:write", "repo"}))})
    org.add(OWNER, "root", "admin")
    org.add(ALICE, "alice-gh", "member")
    org.add(BOB, "bob-gh", "member")
    org.add(CAROL, "carol-gh")
    org.add(ROBOT, "robot", "member")
    org.add(STRANGER, "stranger")
    org.teams[42] = Team(42, "platform", {ALICE: "maintainer", BOB: "member"})
    org.repositories[1296269] = Repository(1296269, "shop", {CAROL: "push"})
    return org


def gitlab() -> GitLabGroup:
    """The same at GitLab."""
    group = GitLabGroup(administrators={OWNER})
    group.add(OWNER, "root", 50)
    group.add(ALICE, "alice", 30)
    group.add(BOB, "bob", 30)
    group.add(CAROL, "carol")
    group.add(ROBOT, "robot", 30)
    group.add(STRANGER, "stranger")
    group.groups[101] = Space(101, "acme/platform", {ALICE: 40, BOB: 30})
    group.projects[500] = Space(500, "acme/shop", {CAROL: 20})
    return group


PEOPLE = {
    "root": ("owners",),
    "alice": ("engineering", "leads", "platform"),
    "bob": ("platform",),  # which is in engineering
    "carol": ("contractors",),
}


class Site:
    """A whole server in this process, two organisations, and who is to be in them."""

    def __init__(self, app: Everproof, clock: SettableClock, org: GitHubOrg, group: GitLabGroup) -> None:
        self.app, self.clock, self.github, self.gitlab = app, clock, org, group
        self.doors = application(app)

    async def look(self, name: str) -> Report:
        return await self.app.memberships.look(name)

    async def told(self, name: str) -> list[str]:
        """The changes of a plan, in words; withheld ones are in brackets."""
        return [f"({one})" if one.withheld else str(one) for one in (await self.look(name)).changes]

    async def apply(self, name: str) -> EffectRecord:
        """Have the plan applied, without a door, and wait for its end."""
        report = await self.look(name)
        made = await self.app.storage.write(lambda tx: self.app.memberships.propose(tx, report, Ref("User", "root")))
        return await self.settled(made.id)

    async def settled(self, effect: str) -> EffectRecord:
        self.app.work.wake()
        await self.app.work.idle()
        return self.app.work.effects.effect(effect)

    async def write(self, change: Callable[[Transaction], Any]) -> Any:
        return await self.app.storage.write(change)

    async def groups(self, person: str, *groups: str) -> None:
        await self.write(lambda tx: roster.set_groups(tx, Ref("User", person), groups))

    async def disable(self, person: str) -> None:
        await self.write(lambda tx: roster.disable(tx, Ref("User", person), "left"))

    async def rule(self, memberships: str) -> None:
        await self.write(lambda tx: save(tx, memberships))

    async def client(self, *groups: str) -> Client:
        client = Client(self.doors, URL, self.clock)
        name = f"tool{len(groups)}"
        await self.write(lambda tx: roster.register_client(tx, Ref("Service", name), [client.jwk], groups=groups))
        answer: Answer = await client.credentials(f"service:{name}")
        assert answer.status == 200, answer.body
        return client

    def entries(self, kind: str) -> list[dict[str, Any]]:
        found = self.app.ledger.tail(limit=1000, kind=kind)
        return [msgspec.json.decode(one.entry.body) for one in found if one.entry is not None]


@cache
def bundle(memberships: str) -> StoredBundle:
    """The starter's policies and this file; reading them takes longer than anything that is tested here."""
    files = starter_files() | {"memberships.toml": memberships.encode()}
    return StoredBundle(load_bundle(files).digest, "", files)


def save(tx: Transaction, memberships: str) -> None:
    save_bundle(tx, bundle(memberships))


@pytest.fixture(scope="session")
def rsa_keys() -> list[rsa.RSAPrivateKey]:
    return [rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2)]


@pytest.fixture(autouse=True)
def one_rsa_key(rsa_keys: list[rsa.RSAPrivateKey], monkeypatch: pytest.MonkeyPatch) -> None:
    """Signing keys are made for each storage, and RSA keys take their time: in this folder the same pair serves."""
    turns = itertools.cycle(rsa_keys)
    make = signing._generate

    def generate(algorithm: signing.Algorithm) -> PrivateKey:
        return next(turns) if algorithm == "RS256" else make(algorithm)

    monkeypatch.setattr(signing, "_generate", generate)


@pytest.fixture
def org(tmp_path: Path) -> Iterator[tuple[GitHubOrg, Served]]:
    org = github()
    (tmp_path / "github").mkdir()
    with serving(org, tmp_path / "github") as served:
        org.url = served.url
        yield org, served


@pytest.fixture
def group(tmp_path: Path) -> Iterator[tuple[GitLabGroup, Served]]:
    group = gitlab()
    (tmp_path / "gitlab").mkdir()
    with serving(group, tmp_path / "gitlab") as served:
        group.url = served.url
        yield group, served


@pytest.fixture
async def site(tmp_path: Path, org: tuple[GitHubOrg, Served], group: tuple[GitLabGroup, Served]) -> AsyncIterator[Site]:
    clock = SettableClock()
    clock.time = datetime.now(UTC).replace(microsecond=0)
    known = tmp_path / "cas.pem"
    known.write_bytes(org[1].ca_file.read_bytes() + group[1].ca_file.read_bytes())
    for name, text in (("github", "ghp_owner"), ("gitlab", "glpat-owner"), ("hook", f"whsec_{'A' * 32}")):
        (tmp_path / f"{name}.secret").write_text(text)
        (tmp_path / f"{name}.secret").chmod(0o600)
    org[0].clock = clock.now
    settings = Settings(
        state=tmp_path / "state",
        url=URL,
        outbound=Outbound(ca_file=known, private_hosts=("127.0.0.1",)),
        organisations={
            "acme": OrganisationHost(
                platform="github", secret=f"file:{tmp_path / 'github.secret'}", api=org[1].url, login="acme"
            ),
            "shop": OrganisationHost(platform="gitlab", secret=f"file:{tmp_path / 'gitlab.secret'}", api=group[1].url),
        },
        notify={
            "hook": WebhookChannel(
                url=f"{org[1].url}/hook", secret=f"file:{tmp_path / 'hook.secret'}", groups=("administrators",)
            )
        },
    )
    app = Everproof(settings, clock=clock)

    def fill(tx: Transaction) -> None:
        save(tx, MEMBERSHIPS)
        roster.put_group(tx, "engineering")
        roster.put_group(tx, "platform", groups=["engineering"])
        for person, groups in PEOPLE.items():
            roster.add_principal(tx, Ref("User", person), groups=groups)

    await asyncio.to_thread(app.storage.write_now, fill)
    await app.start()
    yield Site(app, clock, org[0], group[0])
    await app.stop()
