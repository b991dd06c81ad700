"""The clients of both platforms against fakes that refuse what the platforms refuse, and the fakes themselves."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from everproof.identity.outbound import Outbound, OutboundError
from everproof.integrations.github.repositories import GitHubRepositories
from everproof.integrations.gitlab.repositories import GitLabRepositories
from everproof.integrations.repository_hosts import repository_hosts
from everproof.integrations.secret_source import SecretError, SecretSource
from everproof.kernel.errors import InputError
from everproof.kernel.settings import RepositoryHost
from everproof.secrets import Access, HostError, NotMadeError
from tests.fakes.github_app import GitHubApp, Installation
from tests.fakes.gitlab_api import GitLabApi, User
from tests.fakes.https import Served, serving

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
READ = Access("host", "74", {"contents": "read"})
WRITE = Access("host", "74", {"contents": "write"})


@pytest.fixture(scope="module")
def github(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GitHubApp, Served]]:
    app = GitHubApp(clock=lambda: NOW)
    app.installations[7] = Installation({74: "acme/shop", 75: "acme/payroll"}, {"contents": "read", "metadata": "read"})
    with serving(app, tmp_path_factory.mktemp("github-app")) as served:
        yield app, served


@pytest.fixture(scope="module")
def gitlab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GitLabApi, Served]]:
    users = {
        "maintainer": User({74: 40}), "developer": User({74: 30}), "reader": User({74: 40}, frozenset({"read_api"})),
        "bot": User({74: 40}, bot=True),
    }  # fmt: skip
    api = GitLabApi(clock=lambda: NOW, projects={74, 75}, users=users)
    with serving(api, tmp_path_factory.mktemp("gitlab-api")) as served:
        yield api, served


def at(served: Served, *, private: bool = True) -> Outbound:
    return Outbound(ca_file=served.ca_file, private_hosts=["127.0.0.1"] if private else [])


def client(
    github: tuple[GitHubApp, Served], folder: Path, *, now: datetime = NOW, key: bytes = b"", **changes: Any
) -> GitHubRepositories:
    app, served = github
    file = folder / "app.pem"
    file.write_bytes(key or app.pem)
    file.chmod(0o600)
    given: dict[str, Any] = {"app": app.client_id, "installation": 7, "api": served.url, **changes}
    return GitHubRepositories("host", at(served), key=SecretSource(f"file:{file}", place="x"), now=lambda: now, **given)


def gitlab_client(
    gitlab: tuple[GitLabApi, Served], monkeypatch: pytest.MonkeyPatch, user: str = "maintainer"
) -> GitLabRepositories:
    monkeypatch.setenv("GITLAB_SECRET", user)
    served = gitlab[1]
    return GitLabRepositories(
        "host", at(served), token=SecretSource("env:GITLAB_SECRET", place="x"), now=lambda: NOW, api=served.url
    )


def bearer(app: GitHubApp, *, key: Any = None, alg: str = "RS256", **changes: Any) -> str:
    seconds = int(NOW.timestamp())
    claims = {"iat": seconds - 60, "exp": seconds + 540, "iss": app.client_id, **changes}
    return jwt.encode({"alg": alg}, claims, key or RSAKey.import_key(app.key), algorithms=[alg])


async def asked(served: Served, token: str, body: Any = None, installation: int = 7) -> tuple[int, str]:
    answer = await at(served).ask(
        "POST", f"{served.url}/app/installations/{installation}/access_tokens",
        headers={"authorization": f"Bearer {token}"}, body=msgspec.json.encode(body or {}),
    )  # fmt: skip
    return answer.status, msgspec.json.decode(answer.body).get("message", "")


async def test_the_fake_of_github_refuses_what_github_refuses(github: tuple[GitHubApp, Served]) -> None:
    app, served = github
    seconds = int(NOW.timestamp())
    assert (await asked(served, bearer(app)))[0] == 201
    for token, told in (
        (bearer(app, alg="HS256", key=OctKey.generate_key(256)), "could not be decoded"),
        (bearer(app, alg="ES256", key=ECKey.generate_key("P-256")), "could not be decoded"),
        (bearer(app, key=RSAKey.generate_key(2048)), "could not be decoded"),
        (bearer(app, exp=seconds + 601), "too far in the future"),
        (bearer(app, exp=seconds - 1), "Expiration time"),
        (bearer(app, iat=seconds + 61), "Issued at"),
        (bearer(app, iss="Iv1.other"), "Integration not found"),
        ("ghs_anything", "could not be decoded"),
    ):
        status, message = await asked(served, token)
        assert (status in {401, 404}, told in message) == (True, True), message
    assert (await asked(served, bearer(app), installation=8))[0] == 404
    assert (await asked(served, bearer(app), {"repository_ids": [76]}))[0] == 422
    assert (await asked(served, bearer(app), {"permissions": {"contents": "write"}}))[0] == 422
    assert (await asked(served, bearer(app), {"repository_ids": list(range(501))}))[0] == 422


async def test_a_github_token_may_do_what_was_asked_and_nothing_else(
    github: tuple[GitHubApp, Served], tmp_path: Path
) -> None:
    _, served = github
    host = client(github, tmp_path)
    made = await host.mint(READ, name="n", ends=NOW)
    assert made.excess == ""
    assert made.dies == NOW + timedelta(hours=1, minutes=1)

    async def contents(method: str, repository: int) -> int:
        url = f"{served.url}/repositories/{repository}/contents/README.md"
        return (await at(served).ask(method, url, headers={"authorization": f"Bearer {made.token}"})).status

    assert [await contents("GET", 74), await contents("PUT", 74), await contents("GET", 75)] == [200, 403, 404]
    assert await host.revoke(READ, name="n", id="", token=made.token)
    assert await contents("GET", 74) == 401
    assert await host.revoke(READ, name="n", id="", token=made.token), "dead is dead"
    assert not await host.revoke(READ, name="n", id="", token="")
    with pytest.raises(NotMadeError, match="not granted"):
        await host.mint(WRITE, name="n", ends=NOW)


async def test_what_keeps_github_from_making_one_is_said(github: tuple[GitHubApp, Served], tmp_path: Path) -> None:
    app, served = github
    for host, told in (
        (client(github, tmp_path, app="Iv1.other"), "Integration not found"),
        (client(github, tmp_path, installation=8), "Not Found"),
        (client(github, tmp_path, now=NOW + timedelta(minutes=3)), "Issued at"),
        (client(github, tmp_path, now=NOW - timedelta(minutes=10)), "Expiration time"),
    ):
        with pytest.raises(NotMadeError, match=told):
            await host.mint(READ, name="n", ends=NOW)
    app.down = True
    try:
        with pytest.raises(HostError, match="502") as caught:
            await client(github, tmp_path).mint(READ, name="n", ends=NOW)
        assert not isinstance(caught.value, NotMadeError)
    finally:
        app.down = False
    assert served.url.startswith("https://127.0.0.1")


async def test_nothing_is_asked_of_a_private_address_that_was_not_named(
    github: tuple[GitHubApp, Served], tmp_path: Path
) -> None:
    """As for issuers: whoever may write settings still does not reach what lies behind them by a name."""
    app, served = github
    file = tmp_path / "app.pem"
    file.write_bytes(app.pem)
    file.chmod(0o600)
    source = SecretSource(f"file:{file}", place="x")
    for api in (served.url, served.url.replace("127.0.0.1", "localhost"), "https://169.254.169.254"):
        host = GitHubRepositories(
            "h", at(served, private=False), key=source, app="a", installation=7, now=lambda: NOW, api=api
        )
        before = len(app.asked)
        with pytest.raises(OutboundError):
            await host.mint(READ, name="n", ends=NOW)
        assert len(app.asked) == before


async def test_a_gitlab_token_has_one_scope_and_the_lowest_role(
    gitlab: tuple[GitLabApi, Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    api, _ = gitlab
    host = gitlab_client(gitlab, monkeypatch)
    read, write = [await host.mint(one, name=f"n {one.words}", ends=NOW) for one in (READ, WRITE)]
    assert (api.may(read.token, 74, write=False), api.may(read.token, 74, write=True)) == (200, 403)
    assert (api.may(write.token, 74, write=True), api.may(write.token, 75, write=True)) == (200, 403)
    assert read.dies == datetime(2026, 11, 22, tzinfo=UTC)
    for one in (read, write):
        assert await host.revoke(READ, name="?", id=one.id, token=one.token)
        assert await host.revoke(READ, name="?", id=one.id, token=one.token), "dead is dead"
    assert api.may(read.token, 74, write=False) == 401


async def test_a_gitlab_token_lives_at_least_as_long_as_it_was_asked_for(
    gitlab: tuple[GitLabApi, Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    """GitLab ends tokens with the beginning of a day: one that is to end at 00:30 needs the next."""
    host = gitlab_client(gitlab, monkeypatch)
    for ends in (NOW, NOW.replace(hour=23, minute=59), NOW + timedelta(hours=12, minutes=30)):
        assert timedelta(hours=1) <= host.last_end(ends) - ends <= timedelta(days=2)


async def test_only_a_maintainers_personal_token_makes_others(
    gitlab: tuple[GitLabApi, Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    for user, told in (
        ("developer", "does not have permission"),
        ("reader", "insufficient_scope"),
        ("bot", "does not have permission"),
        ("nobody", "401 Unauthorized"),
    ):
        with pytest.raises(NotMadeError, match=told):
            await gitlab_client(gitlab, monkeypatch, user).mint(READ, name="n", ends=NOW)
    with pytest.raises(NotMadeError, match="Project Not Found"):
        await gitlab_client(gitlab, monkeypatch).mint(Access("h", "75", READ.permissions), name="n", ends=NOW)


def test_what_cannot_be_asked_for_is_not_asked_for(
    github: tuple[GitHubApp, Served], gitlab: tuple[GitLabApi, Served], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, other = client(github, tmp_path), gitlab_client(gitlab, monkeypatch)
    for repository in ("acme/shop", "0", "74/..", "", "7" * 20):
        for one in (host, other):
            with pytest.raises(InputError, match="number"):
                one.check(Access("h", repository, {"contents": "read"}))
    with pytest.raises(InputError, match="no such permission"):
        other.check(Access("h", "74", {"api": "write"}))
    with pytest.raises(InputError, match="no permission of such a name"):
        host.check(Access("h", "74", {"Contents!": "read"}))


async def test_a_secret_is_read_from_where_only_we_can_read_it(
    github: tuple[GitHubApp, Served], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "secret"
    file.write_text("a secret\n")
    file.chmod(0o600)
    source = SecretSource(f"file:{file}", place="repositories.x.secret")
    assert source.read() == b"a secret"
    file.chmod(0o640)
    with pytest.raises(SecretError, match="open to other accounts"):
        source.read()
    file.chmod(0o600)
    file.write_text("")
    with pytest.raises(SecretError, match="is empty"):
        source.read()
    file.unlink()
    with pytest.raises(SecretError, match="cannot be read"):
        source.read()
    monkeypatch.delenv("NOT_THERE", raising=False)
    with pytest.raises(SecretError, match="NOT_THERE is empty"):
        SecretSource("env:NOT_THERE", place="x").read()
    with pytest.raises(SecretError, match="no private key"):
        await client(github, tmp_path, key=b"not a key").mint(READ, name="n", ends=NOW)


def test_a_secret_that_stands_in_the_settings_itself_is_not_repeated() -> None:
    with pytest.raises(InputError) as caught:
        SecretSource("glpat-SECRET", place="repositories.gitlab.secret")
    assert "SECRET" not in str(caught.value)


def test_platforms_are_those_that_the_settings_name(tmp_path: Path) -> None:
    named = {
        "github": RepositoryHost(platform="github", secret="env:KEY", app="Iv1.a", installation=7),
        "gitlab": RepositoryHost(platform="gitlab", secret="env:TOKEN", api="https://gitlab.acme.example"),
    }
    hosts = repository_hosts(named, Outbound(), lambda: NOW)
    assert hosts["github"].issuer == "https://token.actions.githubusercontent.com"
    assert hosts["gitlab"].issuer == "https://gitlab.acme.example"
    for wrong in (
        RepositoryHost(platform="github", secret="env:KEY"),
        RepositoryHost(platform="gitlab", secret="env:KEY", api="http://gitlab.acme.example"),
        RepositoryHost(platform="gitlab", secret="env:KEY", api="https://gitlab.acme.example/?x"),
    ):
        with pytest.raises(InputError, match=r"repositories\.x"):
            repository_hosts({"x": wrong}, Outbound(), lambda: NOW)
