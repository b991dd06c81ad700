"""Jenkins' builds, and the attacks on whoever trusts them."""

from collections.abc import Iterator
from typing import Any

import pytest

from everproof.identity.outbound import Outbound
from everproof.kernel.words import Ref
from tests.conftest import SettableClock
from tests.integrations.platform import Platform
from tests.issuer import Issuer, running


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    with running(tmp_path_factory.mktemp("jenkins"), path="/oidc") as issuer:
        yield issuer


@pytest.fixture
def jenkins(issuer: Issuer, clock: SettableClock) -> Platform:
    return platform(issuer, clock, issuer.url)


def platform(issuer: Issuer, clock: SettableClock, url: str) -> Platform:
    job = f"{root(issuer)}/job/team/job/shop/job/main/"
    binding = f'[[binding]]\nname = "shop"\nid = "jenkins/{{sub}}"\nclaims.sub = "{job}"'
    fetch = Outbound(ca_file=issuer.ca_file, private_hosts=["127.0.0.1"]) if url == issuer.url else None
    return Platform("jenkins", issuer, clock, {"sub": job, "build_number": 7}, binding, url=url, fetch=fetch)


def root(issuer: Issuer) -> str:
    return issuer.url.removesuffix("/oidc")


async def test_a_build_becomes_its_job(jenkins: Platform, issuer: Issuer) -> None:
    job = f"{root(issuer)}/job/team/job/shop/job/main/"
    token = await jenkins.taken()
    assert token.proof.principal.ref == Ref("Job", f"jenkins/{job}")
    assert token.proof.principal.attributes == {
        "platform": "jenkins", "issuer": jenkins.url, "subject": job, "workflow": job, "run": "7",
    }  # fmt: skip
    assert token.proof.claims["classes"].unverifiable == ("build_number",)


async def test_a_token_without_jti_is_one_token_however_often_it_is_shown(jenkins: Platform) -> None:
    """Its id is that of what was signed, so that the first key that shows it is the only one that can use it."""
    token = jenkins.token()
    first, again = await jenkins.tokens.verify(token), await jenkins.tokens.verify(token)
    assert first.id == again.id
    assert (await jenkins.taken(build_number=8)).id != first.id


@pytest.mark.parametrize(
    "path", ["/job/team/job/shop/job/main/job/x/", "/job/team/job/shop/", "/job/team/job/other/job/main/"]
)
async def test_another_job_that_may_use_the_same_credential_is_refused(
    jenkins: Platform, issuer: Issuer, path: str
) -> None:
    await jenkins.refused("no trust binding", sub=f"{root(issuer)}{path}")


async def test_a_job_of_another_jenkins_is_refused(jenkins: Platform) -> None:
    await jenkins.refused("of another Jenkins", sub="https://jenkins.mallory.example/job/team/job/shop/job/main/")


@pytest.mark.parametrize("folder", ["/job/other", "/job/team/job/sho", "/job/tea"])
async def test_a_folders_credential_does_not_speak_for_another_folder(
    issuer: Issuer, clock: SettableClock, folder: str
) -> None:
    within = platform(issuer, clock, f"{root(issuer)}/oidc/job/team")
    await within.taken()
    with pytest.raises(Exception, match="outside the folder"):
        platform(issuer, clock, f"{root(issuer)}/oidc{folder}")
    await within.refused("outside the folder", sub=f"{root(issuer)}/job/other/job/shop/job/main/")
    await within.refused("outside the folder", sub=f"{root(issuer)}/job/team-2/job/shop/job/main/")


@pytest.mark.parametrize("sub", ["{}/", "{}/job/", "shop", "", "{}/job/team//", "{}/job/team/x/", ["{}/job/team/"]])
async def test_a_token_that_no_build_has_is_refused(jenkins: Platform, issuer: Issuer, sub: Any) -> None:
    await jenkins.refused("claims.sub", sub=sub.format(root(issuer)) if isinstance(sub, str) else sub)


@pytest.mark.parametrize("job", ["PR-7", "MR-12-merge", "pr-7-head", "CR-1"])
def test_the_job_of_a_change_request_is_not_written(jenkins: Platform, issuer: Issuer, job: str) -> None:
    claim = f'claims.sub = "{root(issuer)}/job/shop/job/{job}/"'
    jenkins.not_written("change request", binding=f"{jenkins.without('claims.sub')}\n{claim}")


def test_a_binding_without_one_whole_job_is_not_written(jenkins: Platform, issuer: Issuer) -> None:
    bare = jenkins.without("claims.sub")
    jenkins.not_written("sub", "claims.build_number = 7", binding=bare)
    jenkins.not_written("sub", f'claims.sub = {{ glob = "{root(issuer)}/job/shop/**" }}', binding=bare)
    jenkins.not_written("not the address of a job", 'claims.sub = "shop"', binding=bare)


async def test_what_a_build_chooses_says_nothing_of_who_it_is(jenkins: Platform) -> None:
    """A claim from a template over the build's environment may be set by the build itself."""
    told = await jenkins.attributes(ref_protected="true", repository="acme/shop", environment="production")
    assert told.keys() == {"platform", "issuer", "subject", "workflow", "run"}


async def test_a_build_whose_number_cannot_be_told_is_refused(jenkins: Platform) -> None:
    await jenkins.refused("build_number", build_number=None)


@pytest.mark.parametrize(
    "audience", [None, ["https://everproof.example", "https://vault.example"], "sts.amazonaws.com"]
)
async def test_a_token_for_others_too_is_refused(jenkins: Platform, audience: Any) -> None:
    """A credential without an audience makes tokens for everybody."""
    await jenkins.refused("audience", aud=audience)
