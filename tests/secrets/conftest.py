import itertools
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from everproof.app import Everproof
from everproof.authorize.store import StoredBundle, save_bundle
from everproof.kernel.settings import Outbound, RepositoryHost, Settings
from everproof.keys import PrivateKey, signing
from everproof.policy import load_bundle
from everproof.policy.starter import starter_files
from everproof.server.application import application
from everproof.storage import Transaction
from tests.conftest import SettableClock
from tests.fakes.github_app import GitHubApp, Installation
from tests.fakes.gitlab_api import GitLabApi, User
from tests.fakes.https import Served, serving
from tests.integrations.gitlab.jobs import BINDING, gitlab_claims
from tests.issuer import Issuer, github_claims, running
from tests.server.asgi import Answer
from tests.server.client import Client

URL = "https://everproof.example"
PAT = "glpat-of-the-maintainer"
DOOR = "/v1/repositories/token"

GITHUB_TRUST = """
[issuer]
url = "{url}"
type = "github"
audience = "https://everproof.example"

[[binding]]
name = "build"
id = "github/{{repository_id}}/{{run_id}}"
groups = ["builders"]
claims.repository_owner_id = "65"
claims.repository_id = "74"
claims.job_workflow_ref = "acme/shop/.github/workflows/build.yml@refs/heads/main"

[[binding]]
name = "release"
id = "github/{{repository_id}}/{{run_id}}"
groups = ["releasers"]
claims.repository_owner_id = "65"
claims.repository_id = "74"
claims.job_workflow_ref = "acme/shop/.github/workflows/release.yml@refs/heads/main"
"""

POLICY = b"""
@id("site/release")
@title("A release job writes the contents of its own repository, and nothing else")
@advice("run the release workflow on a protected ref")
permit (principal is Job in Group::"releasers", action == Action::"repository:write", resource is Repository)
when {
    principal has issuer && resource has issuer && principal.issuer == resource.issuer &&
    principal has repository_id && resource has repository_id && principal.repository_id == resource.repository_id &&
    principal has ref_protected && principal.ref_protected
}
when { context has permissions && context.permissions == ["contents:write"] };

@id("site/auditors")
@title("Auditors revoke")
permit (principal in Group::"auditors", action, resource);
"""


class Platforms:
    """Both platforms as they are on this machine, and what everproof is told of them."""

    def __init__(self, github: tuple[GitHubApp, Served], gitlab: tuple[GitLabApi, Served]) -> None:
        self.github, self.github_at = github
        self.gitlab, self.gitlab_at = gitlab


class Site:
    """A whole server in this process, jobs of two platforms, and the platforms' APIs."""

    def __init__(
        self, app: Everproof, clock: SettableClock, issuers: tuple[Issuer, Issuer], platforms: Platforms
    ) -> None:
        self.app, self.clock = app, clock
        self.github, self.gitlab = platforms.github, platforms.gitlab
        self._issuers = issuers
        self.doors = application(app)
        self._jobs = 0

    async def job(self, *, workflow: str = "build", lifetime: int | None = None, **changes: Any) -> Client:
        """A GitHub job with a token of ours."""
        self._jobs += 1
        names = {
            "jti": f"github-{self._jobs}",
            "run_id": str(self._jobs),
            "job_workflow_ref": f"acme/shop/.github/workflows/{workflow}.yml@refs/heads/main",
        }
        claims = github_claims(self.clock.now(), audience=URL, **{**names, **changes})
        claims["exp"] = claims["iat"] + (lifetime or 3600)
        return await self._exchanged(self._issuers[0].mint(claims))

    async def gitlab_job(self) -> Client:
        """A GitLab job with a token of ours."""
        self._jobs += 1
        now = int(self.clock.now().timestamp())
        host = self._issuers[1].url.removeprefix("https://")
        times = {"aud": URL, "iat": now - 1, "exp": now + 3600, "jti": f"gitlab-{self._jobs}"}
        return await self._exchanged(self._issuers[1].mint({**gitlab_claims(host), **times}))

    async def ask(self, client: Client, **body: Any) -> Answer:
        """Ask for a token of a repository."""
        return await client.send("POST", DOOR, body)

    async def token(self, client: Client, **body: Any) -> dict[str, Any]:
        """A token of a repository."""
        answer = await self.ask(client, **body)
        assert answer.status == 200, answer.body
        found: dict[str, Any] = answer.json
        return found

    async def settled(self) -> None:
        """Wait until nothing is due and nothing runs."""
        await self.app.repository_tokens.stop()
        self.app.work.wake()
        await self.app.work.idle()

    async def revoke(self, credential: str) -> None:
        """End a credential, as an administrator does."""
        await self.app.storage.write(lambda tx: self.app.identity.credentials.revoke(tx, credential, "stolen"))
        await self.settled()

    def entries(self, kind: str) -> list[dict[str, Any]]:
        """What the ledger says of a kind, the oldest first."""
        found = self.app.ledger.tail(limit=1000, kind=kind)
        return [msgspec.json.decode(one.entry.body) for one in found if one.entry is not None]

    async def _exchanged(self, token: str) -> Client:
        client = Client(self.doors, URL, self.clock)
        answer = await client.exchange(token)
        assert answer.status == 200, answer.body
        client.credential = answer.json["credential"]  # type: ignore[attr-defined]
        return client


@pytest.fixture(scope="session")
def session_issuers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Issuer, Issuer]]:
    with (
        running(tmp_path_factory.mktemp("actions")) as github,
        running(tmp_path_factory.mktemp("gitlab"), path="") as gitlab,
    ):
        yield github, gitlab


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


@pytest.fixture(scope="session")
def session_key() -> GitHubApp:
    """An RSA key takes its time to be made."""
    return GitHubApp()


@pytest.fixture
def clock() -> SettableClock:
    clock = SettableClock()
    clock.time = datetime.now(UTC).replace(microsecond=0)
    return clock


@pytest.fixture
def platforms(clock: SettableClock, tmp_path: Path, session_key: GitHubApp) -> Iterator[Platforms]:
    github = GitHubApp.__new__(GitHubApp)
    github.__dict__.update({name: value() if callable(value) else value for name, value in FRESH.items()})
    github.key, github.clock = session_key.key, clock.now
    github.before_answer = lambda: None
    github.installations[7] = Installation(
        {74: "acme/shop", 75: "acme/payroll"}, {"contents": "write", "metadata": "read", "packages": "read"}
    )
    gitlab = GitLabApi(clock=clock.now, projects={20, 21}, users={PAT: User({20: 40, 21: 40})})
    for name in ("github", "gitlab"):
        (tmp_path / name).mkdir()
    with serving(github, tmp_path / "github") as one, serving(gitlab, tmp_path / "gitlab") as other:
        yield Platforms((github, one), (gitlab, other))


FRESH: dict[str, Any] = {
    "client_id": "Iv23liEverproof", "app_id": 4242, "installations": dict, "tokens": dict, "made": 0, "asked": list,
    "down": False, "generous": dict, "wide": list,
}  # fmt: skip


@pytest.fixture
def database() -> str:
    """SQLite in the state folder."""
    return ""


@pytest.fixture
def settings(database: str, tmp_path: Path, platforms: Platforms, session_issuers: tuple[Issuer, Issuer]) -> Settings:
    known = tmp_path / "cas.pem"
    files = [session_issuers[0].ca_file, session_issuers[1].ca_file]
    files += [platforms.github_at.ca_file, platforms.gitlab_at.ca_file]
    known.write_bytes(b"".join(file.read_bytes() for file in files))
    key, token = tmp_path / "app.pem", tmp_path / "gitlab.token"
    key.write_bytes(platforms.github.pem)
    token.write_text(f"{PAT}\n")
    for file in (key, token):
        file.chmod(0o600)
    return Settings(
        state=tmp_path / "state",
        database=database,
        url=URL,
        outbound=Outbound(ca_file=known, private_hosts=("127.0.0.1",)),
        repositories={
            "github": RepositoryHost(
                platform="github", secret=f"file:{key}", api=platforms.github_at.url, app="Iv23liEverproof",
                issuer=session_issuers[0].url, installation=7,
            ),
            "gitlab": RepositoryHost(
                platform="gitlab", secret=f"file:{token}", api=platforms.gitlab_at.url, issuer=session_issuers[1].url,
            ),
        },
    )  # fmt: skip


@pytest.fixture
async def site(
    settings: Settings, platforms: Platforms, clock: SettableClock, session_issuers: tuple[Issuer, Issuer]
) -> AsyncIterator[Site]:
    app = Everproof(settings, clock=clock)
    app.storage.write_now(lambda tx: rule(tx, session_issuers))
    await app.start()
    site = Site(app, clock, session_issuers, platforms)
    yield site
    await site.app.stop()


def rule(tx: Transaction, issuers: tuple[Issuer, Issuer]) -> None:
    """Let the starter's policies rule, with trust in both platforms and one release policy."""
    gitlab = f'[issuer]\nurl = "{issuers[1].url}"\ntype = "gitlab"\naudience = "{URL}"\n{BINDING}'
    files = starter_files() | {
        "policies/site.cedar": POLICY,
        "trust/github.toml": GITHUB_TRUST.format(url=issuers[0].url).encode(),
        "trust/gitlab.toml": gitlab.encode(),
    }
    save_bundle(tx, StoredBundle(load_bundle(files).digest, "", files))
