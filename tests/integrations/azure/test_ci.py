import pytest

from everproof.integrations.azure.ci import AUDIENCE
from everproof.kernel.words import Ref
from tests.conftest import SettableClock
from tests.integrations.platform import Platform, Served
from tests.issuer import Issuer

ORG, PROJECT, OTHER = (f"{digit * 8}-1111-4111-8111-111111111111" for digit in "abc")
URL = f"https://vstoken.dev.azure.com/{ORG}"
BINDING = f"""
[[binding]]
name = "shop"
id = "azure/{{def_id}}/{{run_id}}"
claims.org_id = "{ORG}"
claims.prj_id = "{PROJECT}"
claims.def_id = "17"
"""
CLAIMS = {
    "sub": "p://acme/shop/build",
    "org_id": ORG,
    "prj_id": PROJECT,
    "def_id": "17",
    "rpo_id": "acme/shop",
    "rpo_uri": "https://github.com/acme/shop",
    "rpo_ver": "4f1c",
    "rpo_ref": "refs/heads/main",
    "run_id": "9001",
}


@pytest.fixture
def azure(signer: Issuer, clock: SettableClock) -> Platform:
    return Platform("azure", signer, clock, CLAIMS, BINDING, url=URL, fetch=Served(signer, URL), audience=AUDIENCE)


async def test_a_run_becomes_who_its_pipeline_is(azure: Platform) -> None:
    token = await azure.taken()
    assert token.proof.principal.ref == Ref("Job", "azure/17/9001")
    assert token.proof.principal.attributes["commit"] == "4f1c"


async def test_the_token_of_a_service_connection_is_refused(azure: Platform) -> None:
    await azure.refused("service connection", sub="sc://acme/shop/production")


async def test_another_organisation_project_or_pipeline_is_refused(azure: Platform) -> None:
    """The audience is everybody's: the ids are all that tells."""
    await azure.refused("than the issuer's", org_id=OTHER)
    await azure.refused("prj_id", prj_id=OTHER)
    await azure.refused("no trust binding", def_id="18")
    for one in ("org_id", "prj_id", "def_id"):
        azure.not_written(one, binding=azure.without(f"claims.{one}"))
    azure.not_written("must be a UUID", binding=BINDING.replace(PROJECT, "shop"))
    azure.not_written("must be a number", binding=BINDING.replace('"17"', '"build"'))
    azure.not_written("names", 'claims.sub = "p://acme/shop/build"')


async def test_what_is_only_proposed_is_refused(azure: Platform) -> None:
    await azure.refused("rpo_ref", rpo_ref="refs/pull/7/merge")
    await azure.refused("rpo_ref", rpo_ref="x/refs/heads/main")


def test_there_is_one_audience(azure: Platform) -> None:
    azure.not_written("no other", audience="https://everproof.example")
