import pytest

from everproof.kernel.words import Ref
from tests.conftest import SettableClock
from tests.integrations.platform import Platform, Served
from tests.issuer import Issuer

ORG, PROJECT, USER = (f"{digit * 8}-1111-4111-8111-111111111111" for digit in "abc")
URL = f"https://oidc.circleci.com/org/{ORG}"
C = "oidc.circleci.com/"
BINDING = f"""
[[binding]]
name = "shop"
id = "circleci/{{{C}project-id}}/{{{C}job-id}}"
claims."{C}project-id" = "{PROJECT}"
claims."{C}vcs-origin" = "github.com/acme/shop"
claims."{C}vcs-ref" = "refs/heads/main"
"""
CLAIMS = {
    "sub": f"org/{ORG}/project/{PROJECT}/user/{USER}",
    f"{C}org-id": ORG,
    f"{C}project-id": PROJECT,
    f"{C}vcs-origin": "github.com/acme/shop",
    f"{C}vcs-ref": "refs/heads/main",
    f"{C}job-id": "j-1",
    f"{C}workflow-id": "w-1",
    f"{C}context-ids": [],
    f"{C}ssh-rerun": False,
}


@pytest.fixture
def circleci(signer: Issuer, clock: SettableClock) -> Platform:
    return Platform("circleci", signer, clock, CLAIMS, BINDING, url=URL, fetch=Served(signer, URL))


async def test_a_job_becomes_who_its_project_is(circleci: Platform) -> None:
    token = await circleci.taken()
    assert token.proof.principal.ref == Ref("Job", f"circleci/{PROJECT}/j-1")
    assert token.proof.principal.attributes == {
        "platform": "circleci", "issuer": URL, "subject": CLAIMS["sub"], "repository": "github.com/acme/shop",
        "repository_id": PROJECT, "ref": "refs/heads/main", "run": "w-1", "repository_owner_id": ORG, "actor_id": USER,
    }  # fmt: skip


async def test_a_job_that_someone_has_a_shell_in_is_refused(circleci: Platform) -> None:
    await circleci.refused("ssh-rerun", **{f"{C}ssh-rerun": True})
    await circleci.refused("ssh-rerun", **{f"{C}ssh-rerun": "true"})
    await circleci.refused("ssh-rerun", **{f"{C}ssh-rerun": None})


async def test_a_fork_on_a_branch_of_the_same_name_is_refused(circleci: Platform) -> None:
    await circleci.refused("vcs-origin", **{f"{C}vcs-origin": "github.com/mallory/shop"})
    circleci.not_written("forks", binding=circleci.without(f'claims."{C}vcs-origin"'))


async def test_a_custom_webhook_which_names_no_repository_is_refused(circleci: Platform) -> None:
    await circleci.refused("vcs-origin", **{f"{C}vcs-origin": None, f"{C}vcs-ref": None})


async def test_another_project_or_organisation_is_refused(circleci: Platform) -> None:
    await circleci.refused("another organisation or project", **{f"{C}project-id": USER})
    await circleci.refused("another organisation or project", sub=f"org/{USER}/project/{PROJECT}/user/{USER}")
    await circleci.refused("than the issuer's", **{f"{C}org-id": USER})


def test_what_every_job_has_by_default_is_not_written(circleci: Platform) -> None:
    circleci.not_written("its id as audience", audience=ORG)
    circleci.not_written("must be a UUID", binding=BINDING.replace(PROJECT, "gh/acme/shop"))
    circleci.not_written("project-id", binding=circleci.without(f'claims."{C}project-id"'))
