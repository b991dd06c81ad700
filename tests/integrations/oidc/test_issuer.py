from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from everproof.identity.external import ExternalTokens
from everproof.identity.jose import JoseError
from everproof.identity.jwks import IssuerKeys
from everproof.identity.outbound import Outbound
from everproof.kernel.words import Ref
from tests.conftest import SettableClock
from tests.identity.trust import AUDIENCE, trusting
from tests.issuer import Issuer, running

BINDING = """
[[binding]]
name = "nightly"
id = "jenkins/{sub}"
attributes = { stage = "test" }
claims.sub = "https://jenkins.example/job/nightly/"
claims.group = ["builders", "testers"]
"""


@pytest.fixture(scope="module")
def jenkins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    with running(tmp_path_factory.mktemp("jenkins"), path="/oidc") as issuer:
        yield issuer


@pytest.fixture
def tokens(jenkins: Issuer, clock: SettableClock) -> ExternalTokens:
    outbound = Outbound(ca_file=jenkins.ca_file, private_hosts=["127.0.0.1"])
    tokens = ExternalTokens(IssuerKeys(outbound, clock), clock)
    tokens.trust(trusting(jenkins.url, BINDING, kind="oidc"))
    return tokens


def claims(clock: SettableClock, **changes: Any) -> dict[str, Any]:
    now = int(clock.now().timestamp())
    told = {"sub": "https://jenkins.example/job/nightly/", "aud": AUDIENCE, "iat": now, "exp": now + 300}
    return {**told, "group": ["users", "testers"], "build_number": 7, **changes}


async def test_a_token_of_any_issuer_makes_what_its_file_says(
    jenkins: Issuer, tokens: ExternalTokens, clock: SettableClock, tmp_path: Path
) -> None:
    token = await tokens.verify(jenkins.mint(claims(clock)))
    assert token.proof.kind == "oidc-token"
    assert token.proof.principal.ref == Ref("Job", "jenkins/https://jenkins.example/job/nightly/")
    assert token.proof.principal.attributes == {
        "issuer": jenkins.url,
        "subject": "https://jenkins.example/job/nightly/",
        "stage": "test",
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"sub": "https://jenkins.example/job/nightly"},
        {"sub": "https://jenkins.example/job/nightly/2/"},
        {"sub": ""},
        {"sub": None},
        {"sub": ["https://jenkins.example/job/nightly/"]},
        {"group": ["users"]},
        {"group": "testers,users"},
        {"group": {"testers": True}},
        {"group": None},
        {"aud": None},
        {"aud": "https://jenkins.example"},
    ],
)
async def test_a_token_that_is_not_as_wanted_is_refused(
    jenkins: Issuer, tokens: ExternalTokens, clock: SettableClock, changes: dict[str, Any]
) -> None:
    await tokens.verify(jenkins.mint(claims(clock)))
    with pytest.raises(JoseError):
        await tokens.verify(jenkins.mint(claims(clock, **changes)))


async def test_an_issuer_that_is_down_is_trusted_for_a_while(
    jenkins: Issuer, tokens: ExternalTokens, clock: SettableClock
) -> None:
    await tokens.verify(jenkins.mint(claims(clock)))
    jenkins.failing = True
    try:
        clock.advance(timedelta(hours=1))
        await tokens.verify(jenkins.mint(claims(clock)))
    finally:
        jenkins.failing = False
