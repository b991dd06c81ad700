import pytest

from everproof.kernel.words import Ref
from tests.conftest import SettableClock
from tests.integrations.platform import Platform, Served
from tests.issuer import Issuer

URL = "https://agent.buildkite.com"
ORG, PIPELINE, OTHER = (f"{digit * 8}-1111-4111-8111-111111111111" for digit in "abc")
BINDING = f"""
[[binding]]
name = "shop"
id = "buildkite/{{pipeline_id}}/{{job_id}}"
claims.organization_id = "{ORG}"
claims.pipeline_id = "{PIPELINE}"
claims.build_branch = "main"
"""
CLAIMS = {
    "sub": "organization:acme:pipeline:shop:ref:refs/heads/main:commit:4f1c:step:build",
    "organization_slug": "acme",
    "organization_id": ORG,
    "pipeline_slug": "shop",
    "pipeline_id": PIPELINE,
    "build_number": 9,
    "build_branch": "main",
    "build_commit": "4f1c",
    "build_source": "webhook",
    "job_id": "j-1",
    "agent_id": "a-1",
    "runner_environment": "self-hosted",
    "step_key": None,
}


@pytest.fixture
def buildkite(signer: Issuer, clock: SettableClock) -> Platform:
    return Platform("buildkite", signer, clock, CLAIMS, BINDING, url=URL, fetch=Served(signer, URL))


async def test_a_job_becomes_who_its_pipeline_is(buildkite: Platform) -> None:
    token = await buildkite.taken()
    assert token.proof.principal.ref == Ref("Job", f"buildkite/{PIPELINE}/j-1")
    assert token.proof.principal.attributes["repository_owner_id"] == ORG
    assert token.proof.principal.attributes["run"] == "9"


async def test_another_organisation_at_the_same_issuer_is_refused(buildkite: Platform) -> None:
    await buildkite.refused("organization_id", organization_id=OTHER)
    await buildkite.refused("no trust binding", pipeline_id=OTHER)


async def test_a_slug_that_was_taken_over_is_refused(buildkite: Platform) -> None:
    """The slugs are the same, and the ids are what tells: a token without them is of no use."""
    await buildkite.refused("organization_id", organization_id=None)
    slugs = 'claims.organization_slug = "acme"\nclaims.pipeline_slug = "shop"'
    buildkite.not_written("organization_id", slugs, binding=buildkite.without("claims.organization_id"))
    buildkite.not_written("must be a UUID", binding=BINDING.replace(ORG, "acme"))
    buildkite.not_written("slugs", f'claims.sub = "{CLAIMS["sub"]}"')


@pytest.mark.parametrize("source", ["trigger_job", "api"])
async def test_a_build_that_another_pipeline_or_a_token_started_is_refused(buildkite: Platform, source: str) -> None:
    await buildkite.refused("build_source", build_source=source)


async def test_a_forks_branch_is_refused(buildkite: Platform) -> None:
    await buildkite.refused("a branch of a fork", build_branch="mallory:main")


async def test_a_subject_of_another_pipeline_is_refused(buildkite: Platform) -> None:
    await buildkite.refused("different pipelines", sub="organization:acme:pipeline:other:ref:x:commit:c:step:s")


def test_an_audience_that_jobs_have_by_default_is_not_written(buildkite: Platform) -> None:
    buildkite.not_written("by default", audience="https://buildkite.com/acme")
