import pytest

from everproof.kernel.words import Ref
from tests.conftest import SettableClock
from tests.integrations.platform import Platform, Served
from tests.issuer import Issuer

URL = "https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc"
WORKSPACE, REPOSITORY, PIPELINE, STEP, OTHER = (f"{{{digit * 8}-1111-4111-8111-111111111111}}" for digit in "abcde")
BINDING = f"""
[[binding]]
name = "shop"
id = "bitbucket/{{repositoryUuid}}/{{stepUuid}}"
claims.workspaceUuid = "{WORKSPACE}"
claims.repositoryUuid = "{REPOSITORY}"
claims.branchName = "main"
"""
CLAIMS = {
    "sub": f"{REPOSITORY}:{STEP}",
    "workspaceUuid": WORKSPACE,
    "repositoryUuid": REPOSITORY,
    "pipelineUuid": PIPELINE,
    "stepUuid": STEP,
    "branchName": "main",
}


@pytest.fixture
def bitbucket(signer: Issuer, clock: SettableClock) -> Platform:
    return Platform("bitbucket", signer, clock, CLAIMS, BINDING, url=URL, fetch=Served(signer, URL))


async def test_a_step_becomes_who_its_repository_is(bitbucket: Platform) -> None:
    token = await bitbucket.taken()
    name = token.proof.principal.ref
    assert name.type == Ref("Job", "x").type
    assert REPOSITORY.strip("{}") in name.id
    assert token.proof.principal.attributes["ref"] == "main"


async def test_a_workspace_that_took_over_the_name_is_refused(bitbucket: Platform) -> None:
    await bitbucket.refused("workspaceUuid", workspaceUuid=OTHER)
    await bitbucket.refused("no trust binding", repositoryUuid=OTHER, sub=f"{OTHER}:{STEP}")
    bitbucket.not_written("workspaceUuid", binding=bitbucket.without("claims.workspaceUuid"))
    bitbucket.not_written("must be a UUID in braces", binding=BINDING.replace(WORKSPACE, WORKSPACE.strip("{}")))


async def test_another_branch_is_refused(bitbucket: Platform) -> None:
    await bitbucket.refused("branchName", branchName="mallory")
    await bitbucket.refused("branchName", branchName=None)
    bitbucket.not_written("any branch", binding=bitbucket.without("claims.branchName"))


async def test_a_subject_of_another_step_or_repository_is_refused(bitbucket: Platform) -> None:
    await bitbucket.refused("different repositories or steps", sub=f"{REPOSITORY}:{OTHER}")
    await bitbucket.refused("different repositories or steps", sub=f"{OTHER}:{STEP}")
    await bitbucket.taken(sub=f"{REPOSITORY}:{OTHER}:{STEP}", deploymentEnvironmentUuid=OTHER)
    bitbucket.not_written("for each step", f'claims.sub = "{CLAIMS["sub"]}"')


def test_an_audience_that_steps_have_by_default_is_not_written(bitbucket: Platform) -> None:
    bitbucket.not_written("by default", audience=f"ari:cloud:bitbucket::workspace/{WORKSPACE.strip('{}')}")
