"""Tokens of repositories, end to end: a job, the door, the decision, and platforms that refuse as theirs do."""

import re
import tomllib
from datetime import timedelta
from pathlib import Path

import msgspec

from everproof.kernel.settings import Settings
from everproof.policy import load_bundle
from everproof.policy.starter import starter_files
from tests.fakes.gitlab_api import DEVELOPER, REPORTER
from tests.secrets.conftest import Site


async def test_a_build_job_reads_its_own_source(site: Site) -> None:
    job = await site.job()
    token = await site.token(job)
    assert token["permissions"] == {"contents": "read"}
    assert (token["host"], token["repository"], token["username"]) == ("github", "74", "x-access-token")
    [made] = site.github.tokens.values()
    assert made.repositories == [74]
    assert made.permissions == {"contents": "read", "metadata": "read"}
    assert token["token"] in site.github.tokens


async def test_a_release_job_gets_its_one_write(site: Site) -> None:
    job = await site.job(workflow="release")
    token = await site.token(job, permissions={"contents": "write"})
    assert site.github.tokens[token["token"]].permissions["contents"] == "write"
    both = await site.ask(job, permissions={"contents": "write", "packages": "read"})
    assert both.status == 403


async def test_a_gitlab_job_reads_its_own_source(site: Site) -> None:
    job = await site.gitlab_job()
    token = await site.token(job)
    [made] = site.gitlab.tokens.values()
    assert (made.scopes, made.level) == (["read_repository"], REPORTER)
    assert token["credential"] in made.name
    assert site.gitlab.may(token["token"], 20, write=False) == 200
    assert site.gitlab.may(token["token"], 20, write=True) == 403
    assert site.gitlab.may(token["token"], 21, write=False) == 403
    assert made.level < DEVELOPER


async def test_the_decision_is_on_record_before_the_token_is_made(site: Site) -> None:
    job = await site.job()
    seen: list[int] = []
    site.github.before_answer = lambda: seen.append(site.app.ledger.size)
    token = await site.token(job)
    assert token["receipt"]["index"] < seen[0]
    [said] = site.entries("repository-token")
    assert said["outcome"] == "issued"
    assert said["credential"] == token["credential"]


async def test_the_token_is_a_child_of_the_jobs_credential(site: Site) -> None:
    job = await site.job()
    token = await site.token(job)
    found = site.app.identity.credentials.live(token["credential"])
    assert found is not None
    assert found.parent == job.credential  # type: ignore[attr-defined]
    assert (found.kind, found.audience, found.scope) == ("repository-token", "github:74", ("repository:read",))
    assert found.source == {"permissions": "contents:read"}


async def test_a_token_ends_at_its_time_though_the_platform_would_let_it_live(site: Site) -> None:
    github, gitlab = await site.job(), await site.gitlab_job()
    await site.token(github, lifetime_seconds=300)
    await site.token(gitlab, lifetime_seconds=300)
    site.clock.advance(timedelta(seconds=299))
    await site.settled()
    assert len(site.github.tokens) == 1
    site.clock.advance(timedelta(seconds=2))
    await site.settled()
    assert site.github.tokens == {}
    assert [one.revoked for one in site.gitlab.tokens.values()] == [True]
    assert [one["outcome"] for one in site.entries("repository-token")] == ["issued", "issued", "ended", "ended"]


async def test_a_token_is_ended_when_the_jobs_credential_is_revoked(site: Site) -> None:
    github, gitlab = await site.job(), await site.gitlab_job()
    await site.token(github)
    await site.token(gitlab)
    await site.revoke(github.credential)  # type: ignore[attr-defined]
    assert site.github.tokens == {}
    assert [one.revoked for one in site.gitlab.tokens.values()] == [False]
    await site.revoke(gitlab.credential)  # type: ignore[attr-defined]
    assert [one.revoked for one in site.gitlab.tokens.values()] == [True]


def test_what_the_documentation_says_can_be_said() -> None:
    page = (Path(__file__).parents[2] / "docs" / "repositories.md").read_text()
    [policy] = re.findall(r"```cedar\n(.*?)```", page, re.DOTALL)
    load_bundle(starter_files() | {"policies/shop.cedar": policy.encode()})
    [settings] = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert set(msgspec.convert(tomllib.loads(settings), Settings).repositories) == {"github", "gitlab"}
