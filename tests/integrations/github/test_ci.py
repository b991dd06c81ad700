import re
from pathlib import Path
from typing import Any

import pytest

from everproof import policy
from everproof.identity.conditions import Condition
from everproof.identity.jose import JoseError
from everproof.integrations.azure import ci as azure
from everproof.integrations.bitbucket import ci as bitbucket
from everproof.integrations.buildkite import ci as buildkite
from everproof.integrations.circleci import ci as circleci
from everproof.integrations.github import ci as github
from everproof.integrations.github.ci import EVENTS, GitHubActions, Subject, read_subject
from everproof.integrations.gitlab import ci as gitlab
from everproof.integrations.jenkins import ci as jenkins

HOSTED = "https://token.actions.githubusercontent.com"
SERVER = "https://github.acme.example/_services/token"
EXACT = {"repository_id": Condition(values=frozenset({"74"}))}

CLAIMS = {
    "repository": "acme/shop",
    "repository_owner": "acme",
    "repository_id": "74",
    "repository_owner_id": "65",
    "iss": HOSTED,
}


@pytest.mark.parametrize(
    ("sub", "subject"),
    [
        ("repo:acme/shop:ref:refs/heads/main", Subject("acme", "shop", None, None)),
        ("repo:acme@65/shop@74:ref:refs/heads/main", Subject("acme", "shop", "65", "74")),
        ("repo:acme/shop:pull_request", Subject("acme", "shop", None, None)),
        ("repo:acme/shop:environment:eu%3Awest", Subject("acme", "shop", None, None)),
        ("repo:acme/shop", Subject("acme", "shop", None, None)),
        ("repository_id:74:ref:refs/heads/main", None),
        ("repo:acme:shop", None),
        ("repo:acme@x/shop:ref", None),
        ("", None),
    ],
)
def test_both_forms_of_the_subject_are_read(sub: str, subject: Subject | None) -> None:
    assert read_subject(sub) == subject


@pytest.mark.parametrize(
    "sub",
    ["repo:acme/shop:ref:x", "repo:ACME/Shop:ref:x", "repo:acme@65/shop@74:ref:x", "anything the owner chose", 7],
)
def test_a_subject_that_agrees_is_taken(sub: Any) -> None:
    GitHubActions().check_claims({**CLAIMS, "sub": sub})


@pytest.mark.parametrize(
    "sub", ["repo:acme/other:x", "repo:other/shop:x", "repo:acme@1/shop@74:x", "repo:acme@65/shop@1:x"]
)
def test_a_subject_that_disagrees_is_refused(sub: str) -> None:
    with pytest.raises(JoseError, match=r"claims\.sub"):
        GitHubActions().check_claims({**CLAIMS, "sub": sub})


def test_what_runs_a_strangers_code_is_not_among_the_events() -> None:
    dangerous = {"pull_request_target", "workflow_run", "issue_comment", "issues", "discussion", "fork", "watch"}
    assert EVENTS.isdisjoint(dangerous | {"pull_request", "repository_dispatch"})


def test_caution_is_implied_and_can_be_overruled_by_name() -> None:
    kind = GitHubActions()
    implied = kind.complete(HOSTED, EXACT, place="x")
    assert implied["event_name"].values == EVENTS
    assert implied["runner_environment"].values == {"github-hosted"}
    assert "ref_protected" not in implied
    with_ref = kind.complete(HOSTED, {**EXACT, "ref": Condition(values=frozenset({"refs/heads/main"}))}, place="x")
    assert with_ref["ref_protected"].values == {"true"}
    own = {"runner_environment": Condition(values=frozenset({"self-hosted"}))}
    assert kind.complete(HOSTED, {**EXACT, **own}, place="x")["runner_environment"].values == {"self-hosted"}
    assert "runner_environment" not in kind.complete(SERVER, EXACT, place="x"), "its runners are its owner's own"


def test_attributes_are_what_policy_knows_of_a_job() -> None:
    claims = {**CLAIMS, "sub": "s", "ref_protected": "true", "event_name": "push", "environment": "", "sha": "abc"}
    found = GitHubActions().attributes(claims)
    assert found == {
        "platform": "github", "issuer": HOSTED, "repository": "acme/shop", "repository_id": "74",
        "repository_owner": "acme", "repository_owner_id": "65", "subject": "s", "event": "push", "commit": "abc",
        "ref_protected": True,
    }  # fmt: skip
    assert GitHubActions().attributes({**claims, "ref_protected": "yes"})["ref_protected"] is False


def test_policy_knows_every_attribute_by_its_name() -> None:
    """An attribute that the schema does not name never reaches a policy."""
    schema = (Path(policy.__file__).parent / "schema.cedarschema").read_text()
    [job] = re.findall(r"entity Job in .*?\{(.*?)\};", schema, re.DOTALL)
    known = set(re.findall(r"(\w+)\?:", job))
    for named in (azure._ATTRIBUTES, bitbucket._ATTRIBUTES, buildkite._ATTRIBUTES, circleci._ATTRIBUTES):
        assert named.keys() <= known
    for named in (github._ATTRIBUTES, gitlab._ATTRIBUTES, jenkins._ATTRIBUTES):
        assert named.keys() <= known
