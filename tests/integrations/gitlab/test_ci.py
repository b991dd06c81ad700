"""GitLab's jobs, and the attacks on whoever trusts them."""

from typing import Any

import pytest

from everproof.identity.claims import Classified
from everproof.identity.outbound import Outbound
from everproof.integrations.gitlab.ci import OWN, SOURCES, GitLabCi
from everproof.kernel.words import Ref
from tests.conftest import SettableClock
from tests.integrations.gitlab.jobs import BINDING, PROJECT, gitlab_claims
from tests.integrations.platform import Platform
from tests.issuer import Issuer

FORK = {
    "project_id": "666",
    "project_path": "mallory/shop",
    "namespace_id": "13",
    "namespace_path": "mallory",
    "sub": "project_path:mallory/shop:ref_type:branch:ref:main",
    "pipeline_source": "merge_request_event",
}
"""What a fork's merge request says of itself since 18.2.2, in a pipeline of the project that was forked."""


@pytest.fixture
def gitlab(signer: Issuer, clock: SettableClock) -> Platform:
    host = signer.url.removeprefix("https://")
    fetch = Outbound(ca_file=signer.ca_file, private_hosts=["127.0.0.1"])
    return Platform("gitlab", signer, clock, gitlab_claims(host), BINDING, fetch=fetch)


def config(gitlab: Platform, project: str, ref: str = "refs/heads/main") -> str:
    return f"{gitlab.url.removeprefix('https://')}/{project}//.gitlab-ci.yml@{ref}"


async def test_a_job_becomes_who_its_project_is(gitlab: Platform) -> None:
    token = await gitlab.taken()
    assert token.proof.kind == "ci-token"
    assert token.proof.principal.ref == Ref("Job", "gitlab/20/302")
    assert token.proof.principal.attributes == {
        "platform": "gitlab", "issuer": gitlab.url, "repository": PROJECT, "repository_id": "20",
        "repository_owner": "acme", "repository_owner_id": "72", "visibility": "private", "ref": "refs/heads/main",
        "ref_type": "branch", "ref_protected": True, "commit": "4f1c" * 10, "event": "push", "fork": False,
        "workflow": config(gitlab, PROJECT), "workflow_commit": "4f1c" * 10, "runner": "self-hosted", "actor": "alice",
        "actor_id": "1", "run": "574", "subject": f"project_path:{PROJECT}:ref_type:branch:ref:main",
    }  # fmt: skip
    assert gitlab.unknown == []


async def test_every_claim_has_its_class(gitlab: Platform) -> None:
    classes = (await gitlab.taken(new_claim="x")).proof.claims["classes"]
    assert isinstance(classes, Classified)
    assert {"project_id", "namespace_id", "ref_protected", "pipeline_source", "jti"} <= set(classes.verified)
    assert {"sub", "ref", "sha", "user_id"} <= set(classes.unverifiable)
    assert {"groups_direct", "runner_environment", "job_project_id"} <= set(classes.optional)
    assert classes.unchecked == ("user_email",)
    assert classes.unknown == ("new_claim",)
    assert gitlab.unknown == ["new_claim"]


async def test_a_forks_merge_request_in_the_projects_own_pipeline_is_refused(gitlab: Platform) -> None:
    await gitlab.refused("a fork's merge request", **FORK)


async def test_a_forks_merge_request_is_refused_even_if_the_fork_is_trusted(gitlab: Platform) -> None:
    sources = 'claims.pipeline_source = ["push", "merge_request_event"]'
    gitlab.trust(sources, binding=BINDING.replace('"72"', '["72", "13"]').replace('"20"', '["20", "666"]'))
    await gitlab.refused("a fork's merge request", **FORK)


@pytest.mark.parametrize(
    "changes", [{"source_project_id": "666"}, {"job_project_id": "666"}, {"job_namespace_id": "13"}]
)
async def test_a_job_that_ran_elsewhere_than_it_is_of_is_refused(gitlab: Platform, changes: dict[str, Any]) -> None:
    await gitlab.refused("a fork's merge request", **changes)


async def test_a_forks_merge_request_of_an_old_gitlab_which_does_not_say_so_is_refused(gitlab: Platform) -> None:
    """Before 18.2.2 ``project_id`` was that of the project that was forked, on what the fork had sent."""
    old = dict.fromkeys(("job_project_id", "job_project_path", "job_namespace_id", "job_namespace_path"))
    await gitlab.taken(**old)
    gitlab.trust('claims.pipeline_source = ["push", "merge_request_event", "parent_pipeline"]')
    for source in ("merge_request_event", "parent_pipeline"):
        await gitlab.refused("may be a fork's", **old, pipeline_source=source)


@pytest.mark.parametrize("source", ["merge_request_event", "parent_pipeline", "pipeline", "trigger", "x"])
async def test_a_pipeline_that_runs_what_is_only_proposed_is_refused(gitlab: Platform, source: str) -> None:
    await gitlab.refused("pipeline_source", pipeline_source=source)
    assert source not in SOURCES
    assert OWN.isdisjoint({"merge_request_event", "parent_pipeline", "external_pull_request_event"})


@pytest.mark.parametrize("said", ["false", "True", "1", "", "yes"])
async def test_a_ref_is_protected_only_by_the_string_true(gitlab: Platform, said: str) -> None:
    await gitlab.refused("ref_protected", ref_protected=said)
    gitlab.trust('claims.ref_protected = ["true", "false", "True", "1", "yes"]')
    if said:
        assert (await gitlab.attributes(ref_protected=said))["ref_protected"] is False


async def test_a_configuration_from_another_project_is_refused(gitlab: Platform) -> None:
    """GitLab tells of it by null."""
    await gitlab.refused("ci_config_ref_uri", ci_config_ref_uri=None)
    await gitlab.refused("of another project", ci_config_ref_uri=config(gitlab, "mallory/ci"))
    await gitlab.refused("of another project", ci_config_ref_uri=config(gitlab, "mallory/acme/shop-2"))
    gitlab.trust("claims.ci_config_ref_uri = { absent = true }")
    await gitlab.taken(ci_config_ref_uri=None)


async def test_a_configuration_on_another_branch_is_refused(gitlab: Platform) -> None:
    gitlab.trust(f'claims.ci_config_ref_uri = "{config(gitlab, PROJECT)}"')
    await gitlab.refused("ci_config_ref_uri", ci_config_ref_uri=config(gitlab, PROJECT, "refs/heads/mallory"))
    gitlab.not_written("at which ref", 'claims.ci_config_ref_uri = "gitlab.example/acme/shop//.gitlab-ci.yml"')


async def test_a_tag_by_the_name_of_the_branch_is_refused(gitlab: Platform) -> None:
    gitlab.trust('claims.ref = "main"')
    await gitlab.refused("ref_type", ref_type="tag", ref_path="refs/tags/main")


async def test_a_project_that_took_over_the_path_is_refused(gitlab: Platform) -> None:
    await gitlab.refused("no trust binding", project_id="21", job_project_id="21")
    await gitlab.refused("namespace_id", namespace_id="73", job_namespace_id="73")


def test_a_binding_by_names_alone_is_not_written(gitlab: Platform) -> None:
    gitlab.not_written("project_id", 'claims.project_path = "acme/shop"', binding=gitlab.without("claims.project_id"))
    gitlab.not_written("namespace_id", binding=gitlab.without("claims.namespace_id"))
    gitlab.not_written("must be a number", binding=BINDING.replace('"20"', '"acme/shop"'))
    gitlab.not_written("must be a number", binding=BINDING.replace('"20"', '"PROJECT_ID"'))
    gitlab.not_written("needs exact values", 'claims.sub = { glob = "project_path:acme/**" }')


async def test_a_member_of_more_than_200_groups_is_in_none(gitlab: Platform) -> None:
    """GitLab leaves ``groups_direct`` out for them: a rule that forbids by groups would let exactly them pass."""
    gitlab.trust('claims.groups_direct = "acme/release"')
    await gitlab.refused("groups_direct", groups_direct=None)
    await gitlab.refused("groups_direct", groups_direct=["mallory"])
    gitlab.not_written("more than 200 groups", "claims.groups_direct = { absent = true }")
    assert "groups_direct" not in await gitlab.attributes()


async def test_an_environment_that_is_not_protected_is_refused(gitlab: Platform) -> None:
    gitlab.trust('claims.environment = "production"')
    honest = {"environment": "production", "environment_protected": "true"}
    assert (await gitlab.attributes(**honest))["environment_protected"] is True
    gitlab.trust()
    await gitlab.taken()
    gitlab.trust('claims.environment = "production"')
    with pytest.raises(Exception, match="environment_protected"):
        await gitlab.taken(environment="production", environment_protected="false")


async def test_a_subject_of_another_project_is_refused(gitlab: Platform) -> None:
    await gitlab.taken(sub="project_path:ACME/Shop:ref_type:branch:ref:main")
    await gitlab.refused("different projects", sub="project_path:mallory/shop:ref_type:branch:ref:main")


async def test_a_token_that_cannot_be_told_from_its_replay_is_refused(gitlab: Platform) -> None:
    await gitlab.refused("jti", jti=None)


async def test_a_token_meant_for_gitlab_itself_is_refused(gitlab: Platform) -> None:
    await gitlab.refused("another audience", aud=gitlab.url)
    gitlab.not_written("GitLab itself", audience=gitlab.url)


def test_on_gitlab_com_a_runner_of_ones_own_has_to_be_named() -> None:
    conditions = GitLabCi().complete("https://gitlab.com", {}, place="x")
    assert conditions["runner_environment"].values == {"gitlab-hosted"}
    assert "runner_environment" not in GitLabCi().complete("https://gitlab.acme.example", {}, place="x")


async def test_gitlabs_traps_are_not_avoided_by_calling_it_something_else(gitlab: Platform) -> None:
    other = Platform.__new__(Platform)
    other.__dict__.update(gitlab.__dict__, kind="oidc")
    other.trust()
    with pytest.raises(Exception, match="more care"):
        await other.taken()
