"""The audits, against APIs that answer as is published: what is bad is named, and what may not be seen is not good."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from everproof.cli.audit import app
from everproof.identity.outbound import Outbound
from everproof.integrations.github.audit import GitHubAudit
from everproof.integrations.gitlab.audit import GitLabAudit
from everproof.integrations.organisation_audit import Audit, Finding
from everproof.integrations.organisations import github_rest, gitlab_rest
from everproof.integrations.rest import RefusalError, UnseenError
from everproof.integrations.secret_source import SecretError, SecretSource
from everproof.work import PostponedError
from tests.fakes.github_org import GitHubOrg, Repository, Token
from tests.fakes.gitlab_group import GitLabGroup, Space
from tests.fakes.https import Served, serving

Run = Callable[..., Any]


def now() -> datetime:
    return datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def acme() -> GitHubOrg:
    """All is as it should be."""
    org = GitHubOrg(pats=[{"owner": {"login": "alice"}, "token_expires_at": "2027-01-01T00:00:00Z"}])
    for id_, login in enumerate(("root", "rita", "alice", "bob", "carl"), start=1):
        org.add(id_, login, "admin" if login.startswith("r") else "member", saml=f"{login}@acme.example")
    org.repositories[5] = Repository(5, "shop")
    return org


def shop() -> GitLabGroup:
    """As `acme`."""
    group = GitLabGroup(administrators={1})
    for id_, name in enumerate(("root", "rita", "alice", "bob"), start=1):
        group.add(id_, name, 50 if name.startswith("r") else 30, saml=f"{name}@acme.example")
    group.projects[500] = Space(500, "acme/shop")
    return group


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Any], Served]]:
    with ExitStack() as stack:

        def started(api: Any) -> Served:
            served = stack.enter_context(serving(api, tmp_path))
            api.url = served.url
            return served

        yield started


@pytest.fixture
def run(serve: Callable[[Any], Served], monkeypatch: pytest.MonkeyPatch) -> Run:
    async def looked(api: GitHubOrg | GitLabGroup, token: str = "") -> Audit:
        served = serve(api)
        outbound = Outbound(ca_file=served.ca_file, private_hosts=("127.0.0.1",))
        github = isinstance(api, GitHubOrg)
        monkeypatch.setenv("AUDIT_TOKEN", token or ("ghp_owner" if github else "glpat-owner"))
        source = SecretSource("env:AUDIT_TOKEN", place="--token")
        if github:
            return await GitHubAudit(github_rest("github", outbound, source, now, served.url), "acme", now).run()
        return await GitLabAudit(gitlab_rest("gitlab", outbound, source, now, served.url), "100", now).run()

    return looked


def of(audit: Audit, check: str) -> Finding:
    return next(one for one in audit.findings if one.check == check)


def states(audit: Audit) -> dict[str, str]:
    return {one.check: one.state for one in audit.findings}


async def test_a_good_organisation_passes_but_for_what_its_token_may_not_see(run: Run) -> None:
    audit = await run(acme())
    assert {name for name, state in states(audit).items() if state != "good"} == {
        "sso-enforced",
        "personal-access-tokens",
    }
    tokens = of(audit, "personal-access-tokens")
    assert (tokens.state, tokens.said) == ("unseen", "could not look: the platform answered 403")
    assert tokens.todo.startswith("needs a GitHub App")
    assert not audit.passed
    org = acme()
    org.tokens["ghs_app"] = Token(None, frozenset({"members:write", "repo"}))
    assert (await run(org, "ghs_app")).passed


async def test_who_escapes_is_named(run: Run) -> None:
    org = acme()
    org.settings = {"two_factor_requirement_enabled": False}
    org.add(20, "eve", "member", two_factor=False)
    org.add(21, "sms", "member", secure=False, saml="sms@acme.example")
    org.add(22, "freelancer", two_factor=False)
    org.repositories[5].collaborators[22] = "push"
    org.repositories[5].keys = [{"id": 1, "title": "deploy", "read_only": False}, {"id": 2, "read_only": True}]
    org.domains["acme.test"] = False
    org.installations = [
        {"app_slug": "wide", "repository_selection": "all", "permissions": {"contents": "write"}},
        {"app_slug": "narrow", "repository_selection": "selected", "permissions": {"contents": "write"}},
    ]
    audit = await run(org)
    named = {one.check: (one.state, one.who) for one in audit.findings}
    assert named["two-factor-required"][0] == "bad"
    assert named["members-without-two-factor"] == ("bad", ("eve",))
    assert named["insecure-two-factor"] == ("bad", ("sms",))
    assert named["sso-identities"] == ("bad", ("eve",))
    assert named["outside-collaborators"] == ("bad", ("freelancer (one factor)",))
    assert named["deploy-keys"] == ("bad", ("acme/shop: deploy",))
    assert named["machine-accounts"] == ("look", ("wide",))
    assert named["domains"] == ("bad", ("acme.test",))
    assert of(audit, "sso").said == "is set up, at idp.example"


async def test_without_an_identity_provider_nothing_about_sign_on_is_good(run: Run) -> None:
    org = acme()
    org.saml = False
    audit = await run(org)
    assert [of(audit, one).state for one in ("sso", "sso-identities", "sso-enforced")] == ["bad", "bad", "bad"]


@pytest.mark.parametrize("scopes", [frozenset[str](), frozenset({"read:org"})])
async def test_what_a_members_token_may_not_see_is_never_good(run: Run, scopes: frozenset[str]) -> None:
    org = acme()
    org.add(20, "eve", "member", two_factor=False)
    org.tokens["ghp_member"] = Token(3, scopes)
    audit = await run(org, "ghp_member")
    assert {name for name, state in states(audit).items() if state == "good"} == {"owners"}
    assert all("needs" in one.todo for one in audit.findings if one.state == "unseen")
    assert not audit.passed


async def test_an_organisation_that_cannot_be_seen_at_all_is_an_error(run: Run) -> None:
    org = acme()
    org.login = "other"
    with pytest.raises(UnseenError):
        await run(org)
    with pytest.raises(RefusalError, match="not accepted"):
        await run(acme(), "ghp_forged")
    limited = acme()
    limited.left, limited.reset = 3, int(now().timestamp()) + 60
    with pytest.raises(PostponedError):
        await run(limited)


async def test_a_good_group_passes(run: Run) -> None:
    audit = await run(shop())
    assert {name for name, state in states(audit).items() if state != "good"} == {"sso-enforced"}
    assert audit.passed


async def test_who_escapes_at_gitlab_is_named(run: Run) -> None:
    group = shop()
    group.settings = {"require_two_factor_authentication": False}
    group.add(20, "eve", 30, two_factor=False)
    group.add(21, "robot", 30, bot=True)
    group.service_accounts = [21]
    group.access_tokens = [{"name": "ci", "expires_at": None}, {"name": "old", "active": False}]
    group.projects[500].deploy_keys = [{"id": 1, "title": "deploy", "can_push": True}]
    named = {one.check: (one.state, one.who) for one in (await run(group)).findings}
    assert named["two-factor-required"][0] == "bad"
    assert named["members-without-two-factor"] == ("bad", ("eve",))
    assert named["sso-identities"] == ("bad", ("eve",))
    assert named["service-accounts"] == ("look", ("robot",))
    assert named["access-tokens"] == ("bad", ("ci",))
    assert named["deploy-keys"] == ("bad", ("acme/shop: deploy",))


async def test_what_gitlab_does_not_show_is_never_good(run: Run) -> None:
    owner = shop()
    owner.administrators.clear()
    owner.sso = False
    assert states(await run(owner))["sso-identities"] == "unseen"
    weak = of(await run(owner), "members-without-two-factor")
    assert (weak.state, len(weak.who)) == ("unseen", 4)
    owner.premium = False
    assert of(await run(owner), "service-accounts").state == "unseen"
    owner.tokens["glpat-member"] = 3
    audit = await run(owner, "glpat-member")
    assert {name for name, state in states(audit).items() if state == "good"} == {"owners"}


def test_the_command_says_it_and_exits_accordingly(
    serve: Callable[[Any], Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    org = acme()
    org.add(20, "eve\x1b[2J", "member", two_factor=False)
    served = serve(org)
    command = ["github", "acme", "--api", served.url, "--ca-file", str(served.ca_file)]
    monkeypatch.setenv("GITHUB_TOKEN", "ghp_owner")
    shown = CliRunner().invoke(app, command)
    assert shown.exit_code == 1, shown.output
    assert "✗ Every member has two factors" in shown.output
    assert "\x1b" not in shown.output
    assert "ghp_owner" not in shown.output
    assert json.loads(CliRunner().invoke(app, [*command, "--json"]).output)["passed"] is False
    monkeypatch.delenv("GITHUB_TOKEN")
    missing = CliRunner().invoke(app, command)
    assert isinstance(missing.exception, SecretError)
    assert "env:GITHUB_TOKEN is empty" in str(missing.exception)
