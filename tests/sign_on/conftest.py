"""A whole server in this process, whose people sign on at a real, certified provider."""

import itertools
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import rsa

from everproof.app import Everproof
from everproof.authorize.store import StoredBundle, save_bundle
from everproof.kernel.settings import Outbound, Settings, SignOnClient
from everproof.keys import signing
from everproof.policy import load_bundle
from everproof.policy.starter import starter_files
from everproof.server.application import application
from everproof.storage import Transaction
from tests.fakes import openid
from tests.fakes.lying_provider import LyingProvider, lying
from tests.sign_on.site import URL, Site

FILE = """\
provider = "oidc"
title = "Example"
issuer = "{issuer}"
client_id = "{client}"
scopes = ["groups"]

[groups.map]
"Engineering" = "developers"
"/platform" = "platform"

[first_sign_on]
id = "{{preferred_username}}"
groups = ["staff"]
email_domains = ["example.com"]

[mfa]
amr = ["mfa", "hwk"]
acr = ["urn:example:mfa"]
"""


class TickingClock:
    """The time, and what it was set forward by."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def advance(self, by: timedelta) -> None:
        self.ahead += by


@pytest.fixture(scope="session")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openid.Running]:
    """The certified provider: one with pushed requests, and ``other`` without."""
    with openid.running(tmp_path_factory.mktemp("openid")) as running:
        yield running


@pytest.fixture(scope="session")
def liar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LyingProvider]:
    """A provider that says whatever a test wants said."""
    with lying(tmp_path_factory.mktemp("liar")) as running:
        yield running


@pytest.fixture(scope="session")
def ca_file(provider: openid.Running, liar: LyingProvider, tmp_path_factory: pytest.TempPathFactory) -> Path:
    both = tmp_path_factory.mktemp("ca") / "ca.pem"
    both.write_bytes(provider.ca_file.read_bytes() + liar.ca_file.read_bytes())
    return both


@pytest.fixture(scope="session")
def clients(provider: openid.Running) -> dict[str, openid.Client]:
    """Our client at each of the two, and one of somebody else's."""
    own = {"post_logout_redirect_uris": [f"{URL}/login"]}
    return {
        "example": provider.register([f"{URL}/login/callback/example"], **own),
        "plain": provider.other.register([f"{URL}/login/callback/plain"], **own),
        "stranger": provider.register(["https://stranger.example/callback"]),
    }


SiteOf = Callable[..., Awaitable[Site]]
Files = dict[str, tuple[str, str, str]]
"""Sign-on files by name: the text, the issuer that the settings have a secret of, and the secret."""


@pytest.fixture(scope="session", autouse=True)
def one_rsa_key() -> Iterator[None]:
    """Signing keys are made for each server, and RSA keys take their time: here the same pair serves."""
    pair = itertools.cycle([rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2)])
    make = signing._generate
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signing, "_generate", lambda name: next(pair) if name == "RS256" else make(name))
        yield


def server(folder: Path, ca_file: Path, files: Files, *, policy: str = "", database: str = "", port: int = 0) -> Site:
    """A server with these sign-on files, and perhaps a policy of the house; with a ``port``, one that is to listen."""
    named = {}
    for name, (_, issuer, secret) in files.items():
        file = folder / f"{name}.secret"
        file.touch(mode=0o600)
        file.write_text(secret)
        named[name] = SignOnClient(issuer=issuer, secret=f"file:{file}")
    outbound = Outbound(ca_file=ca_file, private_hosts=("localhost", "127.0.0.1"))
    clock = TickingClock()
    settings = Settings(
        state=folder / "state", url="" if port else URL, port=port or 8443, outbound=outbound, sign_on=named,
        database=database,
    )  # fmt: skip
    app = Everproof(settings, clock=clock)
    bundle = starter_files() | {f"sign-on/{name}.toml": text.encode() for name, (text, _, _) in files.items()}
    bundle |= {"policies/house.cedar": policy.encode()} if policy else {}

    def rule(tx: Transaction) -> None:
        save_bundle(tx, StoredBundle(load_bundle(bundle).digest, "", bundle))

    app.storage.write_now(rule)
    return Site(app, application(app), clock, bundle)


@pytest_asyncio.fixture(loop_scope="session")
async def serving(tmp_path: Path, ca_file: Path) -> AsyncIterator[SiteOf]:
    """Starts a server of a test's own."""
    async with AsyncExitStack() as stack:

        async def serve(
            *, policy: str = "", database: str = "", ca: Path = ca_file, **files: tuple[str, str, str]
        ) -> Site:
            site = server(tmp_path, ca, files, policy=policy, database=database)
            await site.app.start()
            stack.push_async_callback(site.app.stop)
            return site

        yield serve


@pytest.fixture(scope="session")
def files(provider: openid.Running, liar: LyingProvider, clients: dict[str, openid.Client]) -> Files:
    """The certified provider twice (``example``; ``plain``), and the liar."""
    example, plain = clients["example"], clients["plain"]
    return {
        "example": (FILE.format(issuer=provider.issuer, client=example.id), provider.issuer, example.secret),
        "plain": (FILE.format(issuer=provider.other.issuer, client=plain.id), provider.other.issuer, plain.secret),
        "liar": (FILE.format(issuer=liar.issuer, client="everproof"), liar.issuer, "liars-secret"),
    }


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared(tmp_path_factory: pytest.TempPathFactory, ca_file: Path, files: Files) -> AsyncIterator[Site]:
    site = server(tmp_path_factory.mktemp("everproof"), ca_file, files)
    await site.app.start()
    yield site
    await site.app.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def site(shared: Site, liar: LyingProvider) -> Site:
    """The server that tests share: nobody is signed in. Its time is not to be changed."""
    liar.reset()
    await shared.begin()
    return shared


@pytest_asyncio.fixture(loop_scope="session")
async def own(serving: SiteOf, files: Files, liar: LyingProvider) -> Site:
    """A server like `site`, of a test that changes its time."""
    liar.reset()
    return await serving(**files)


@pytest.fixture
def someone(provider: openid.Running) -> Callable[..., str]:
    """Makes an account at the provider that no other test has: its name there, which becomes the id here."""

    def make(**changes: Any) -> str:
        name = f"p{secrets.token_hex(6)}"
        said = {
            "name": "Ada",
            "preferred_username": name,
            "email": f"{name}@example.com",
            "email_verified": True,
            "groups": ["Engineering", "Chess"],
            "acr": "urn:example:mfa",
            "amr": ("pwd", "mfa"),
        }
        provider.account(name, **{**said, **changes})
        return name

    return make


@pytest.fixture
def ada(someone: Callable[..., str]) -> str:
    """Somebody with an account, who has shown a second factor."""
    return someone()


@pytest.fixture
def bob(someone: Callable[..., str]) -> str:
    """Somebody else, without."""
    return someone(name="Bob", groups=[], acr="urn:example:password", amr=("pwd",))
