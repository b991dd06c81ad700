"""Attacks with tokens of CI jobs. Each test first shows that the honest token is taken."""

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from everproof.identity.external import ExternalTokens
from everproof.identity.jose import JoseError
from everproof.kernel.canonical import b64url
from everproof.keys import public_jwk
from tests.conftest import SettableClock
from tests.identity.trust import AUDIENCE, SHOP, trusting
from tests.issuer import Issuer, github_claims


class Job:
    """A job of the trusted repository, and what an attacker makes of its token."""

    def __init__(self, issuer: Issuer, external: ExternalTokens, clock: SettableClock) -> None:
        self.issuer = issuer
        self.external = external
        self.clock = clock

    def claims(self, **changes: Any) -> dict[str, Any]:
        return github_claims(self.clock.now(), **{"audience": AUDIENCE, **changes})

    async def honest(self, **changes: Any) -> None:
        await self.external.verify(self.issuer.mint(self.claims(**changes)))

    async def refused(self, token: str, match: str) -> None:
        with pytest.raises(JoseError, match=match):
            await self.external.verify(token)

    async def refused_claims(self, match: str, **changes: Any) -> None:
        await self.honest()
        await self.refused(self.issuer.mint(self.claims(**changes)), match)

    def trust(self, claims: str) -> None:
        self.external.trust(trusting(self.issuer.url, SHOP + claims))


@pytest.fixture
def job(issuer: Issuer, external: ExternalTokens, clock: SettableClock) -> Job:
    return Job(issuer, external, clock)


async def test_a_job_of_a_fork_is_refused(job: Job) -> None:
    await job.refused_claims(
        "no trust binding",
        repository="mallory/shop",
        repository_owner="mallory",
        repository_id="666",
        repository_owner_id="13",
        sub="repo:mallory/shop:ref:refs/heads/main",
    )


async def test_pull_request_target_is_refused(job: Job) -> None:
    await job.refused_claims("event_name", event_name="pull_request_target")


async def test_workflow_run_is_refused(job: Job) -> None:
    await job.refused_claims("event_name", event_name="workflow_run")


async def test_a_pull_request_is_refused_unless_asked_for(job: Job) -> None:
    pull = {"event_name": "pull_request", "ref": "refs/pull/7/merge", "sub": "repo:acme/shop:pull_request"}
    await job.refused_claims("event_name", **pull)
    job.trust('claims.event_name = ["pull_request"]')
    await job.honest(**pull)


async def test_a_repository_that_took_over_the_name_is_refused(job: Job) -> None:
    await job.refused_claims("no trust binding", repository_id="9999")


async def test_an_owner_who_took_over_the_name_is_refused(job: Job) -> None:
    await job.refused_claims("repository_owner_id", repository_owner_id="9999")


async def test_a_subject_of_another_repository_is_refused(job: Job) -> None:
    await job.refused_claims("different repositories", sub="repo:mallory/shop:ref:refs/heads/main")


async def test_an_immutable_subject_of_another_repository_is_refused(job: Job) -> None:
    await job.honest(sub="repo:acme@65/shop@74:ref:refs/heads/main")
    await job.refused_claims("different repositories", sub="repo:acme@65/shop@75:ref:refs/heads/main")


async def test_a_branch_that_is_not_protected_is_refused(job: Job) -> None:
    job.trust('claims.ref = "refs/heads/main"')
    await job.refused_claims("ref_protected", ref_protected="false")


async def test_a_branch_that_only_begins_with_the_name_is_refused(job: Job) -> None:
    job.trust('claims.ref = "refs/heads/main"')
    await job.refused_claims("wants ref", ref="refs/heads/main-2")


async def test_a_pattern_is_not_fitted_by_a_part(job: Job) -> None:
    job.trust('claims.ref = { glob = "refs/heads/release-*" }')
    await job.honest(ref="refs/heads/release-1")
    for ref in ("refs/heads/release-1/../main", "x/refs/heads/release-1", "refs/heads/release-1\nmain/x"):
        await job.refused(job.issuer.mint(job.claims(ref=ref)), "wants ref")


async def test_another_workflow_of_the_repository_is_refused(job: Job) -> None:
    job.trust('claims.job_workflow_ref = "acme/shop/.github/workflows/build.yml@refs/heads/main"')
    for workflow in (
        "acme/shop/.github/workflows/x.yml@refs/heads/main",
        "acme/shop/.github/workflows/build.yml@refs/heads/x",
    ):
        await job.refused_claims("job_workflow_ref", job_workflow_ref=workflow)


async def test_a_reusable_workflow_called_from_a_trusted_one_is_refused(job: Job) -> None:
    job.trust('claims.job_workflow_ref = "acme/shop/.github/workflows/build.yml@refs/heads/main"')
    await job.refused_claims(
        "job_workflow_ref",
        workflow_ref="acme/shop/.github/workflows/build.yml@refs/heads/main",
        job_workflow_ref="mallory/w/.github/workflows/build.yml@refs/heads/main",
    )


async def test_a_job_outside_its_environment_is_refused(job: Job) -> None:
    job.trust('claims.environment = "production"')
    with pytest.raises(JoseError, match="environment"):
        await job.honest()
    await job.honest(environment="production", sub="repo:acme/shop:environment:production")


async def test_a_token_for_another_audience_is_refused(job: Job) -> None:
    await job.refused_claims("another audience", audience="sts.amazonaws.com")


async def test_a_token_of_the_default_audience_is_refused(job: Job) -> None:
    await job.refused_claims("another audience", audience="https://github.com/acme")


async def test_a_token_for_several_audiences_is_refused(job: Job) -> None:
    await job.honest(aud=[AUDIENCE])
    await job.refused_claims("several audiences", aud=[AUDIENCE, "sts.amazonaws.com"])
    await job.refused_claims("several audiences", aud=[])


@pytest.mark.parametrize("audience", [None, 1, {}, "https://everproof.example/", "HTTPS://everproof.example"])
async def test_an_audience_in_another_spelling_is_refused(job: Job, audience: Any) -> None:
    await job.refused_claims("audience", aud=audience)


async def test_an_expired_token_is_refused(job: Job) -> None:
    token = job.issuer.mint(job.claims())
    await job.external.verify(token)
    job.clock.advance(timedelta(seconds=331))
    await job.refused(token, "expired")


async def test_a_token_without_end_is_refused(job: Job) -> None:
    for end in (None, "soon", 1e12, True, -1, 2**60, [1]):
        await job.refused_claims("claims.exp", exp=end)


async def test_a_token_that_lives_for_days_is_refused_after_an_hour(job: Job) -> None:
    token = job.issuer.mint(job.claims(exp=int(job.clock.now().timestamp()) + 7 * 86_400))
    await job.external.verify(token)
    job.clock.advance(timedelta(minutes=61))
    await job.refused(token, "older than 3600 s")


async def test_a_token_from_the_future_is_refused(job: Job) -> None:
    now = int(job.clock.now().timestamp())
    await job.refused_claims("future", iat=now + 31, exp=now + 400)
    await job.refused_claims("not valid yet", nbf=now + 31)


async def test_a_token_of_an_issuer_that_is_not_trusted_is_refused(job: Job) -> None:
    for issuer in ("https://evil.example", job.issuer.url + "/", job.issuer.url.upper(), None, [job.issuer.url]):
        await job.refused_claims("not trusted", iss=issuer)


async def test_a_token_that_names_its_own_keys_is_refused(job: Job) -> None:
    """The header points to the attacker's keys, and brings them along besides."""
    await job.honest()
    mallory = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    jwk = public_jwk(mallory.public_key())
    header = {
        "jku": "https://evil.example/jwks",
        "x5u": "https://evil.example/x",
        "jwk": jwk,
        "kid": job.issuer.current,
    }
    await job.refused(_signed(mallory, header, {"iss": job.issuer.url, **job.claims()}), "signature")


async def test_a_token_without_signature_is_refused(job: Job) -> None:
    honest = job.issuer.mint(job.claims())
    _, payload, _ = honest.split(".")
    for algorithm in ("none", "None", "NONE", "nOnE"):
        header = b64url(json.dumps({"alg": algorithm, "typ": "JWT", "kid": job.issuer.current}).encode())
        await job.refused(f"{header}.{payload}.", "compact form")
        await job.refused(f"{header}.{payload}.AAAA", "algorithm")


async def test_a_public_key_used_as_a_shared_secret_is_refused(job: Job) -> None:
    public = job.issuer.keys[job.issuer.current].public_key()
    secret = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    _, payload, _ = job.issuer.mint(job.claims()).split(".")
    header = b64url(json.dumps({"alg": "HS256", "typ": "JWT", "kid": job.issuer.current}).encode())
    mac = hmac.new(secret, f"{header}.{payload}".encode(), hashlib.sha256).digest()
    await job.refused(f"{header}.{payload}.{b64url(mac)}", "algorithm")


async def test_an_algorithm_that_is_not_allowed_for_the_issuer_is_refused(job: Job) -> None:
    await job.honest()
    for algorithm in ("ES256", "EdDSA", "PS256", "RS1"):
        await job.refused(job.issuer.mint(job.claims(), header={"alg": algorithm}), "not allowed for this issuer")


async def test_a_token_for_another_purpose_is_refused(job: Job) -> None:
    for type_ in ("at+jwt", "dpop+jwt", "logout+jwt", "secevent+jwt", ""):
        await job.refused(job.issuer.mint(job.claims(), header={"typ": type_}), "another purpose")


async def test_a_critical_extension_is_refused(job: Job) -> None:
    await job.refused(job.issuer.mint(job.claims(), header={"crit": ["exp"], "exp": 1}), "not understood")
    await job.refused(job.issuer.mint(job.claims(), header={"b64": False}), "not understood")


async def test_a_doubled_claim_is_refused(job: Job) -> None:
    honest = json.dumps({"iss": job.issuer.url, **job.claims()})
    for doubled in ('"repository_id": "666", ', '"re\\u0070ository_id": "666", '):
        payload = "{" + doubled + honest[1:]
        await job.refused(_signed_raw(job, payload.encode()), "read differently")


async def test_another_spelling_of_the_same_token_is_refused(job: Job) -> None:
    token = job.issuer.mint(job.claims())
    await job.external.verify(token)
    head, payload, signature = token.split(".")
    standard = base64.b64encode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))).decode()
    trailing = signature[:-1] + chr(ord(signature[-1]) + 1)
    spellings = [
        f"{token}=", f"{token} ", f" {token}", f"{token}\n", f"{head}.{payload}=.{signature}", f"{token}.",
        f"{head}.{standard}.{signature}", f"{head}.{payload}.{trailing}", token + "\0",
    ]  # fmt: skip
    for other in spellings:
        if other != token:
            await job.refused(other, "compact form|canonical|signature")


async def test_a_token_nested_to_exhaust_the_reader_is_refused(job: Job) -> None:
    for payload in (b"[" * 9_000, b'{"a":' * 1_500 + b"1" + b"}" * 1_500, b'{"a":' * 9 + b"1" + b"}" * 9):
        await job.refused(_signed_raw(job, payload), "claims")


async def test_a_token_of_a_megabyte_is_refused_unread(job: Job) -> None:
    await job.refused("A" * 1_000_000 + ".B.C", "at most 16384 bytes")


async def test_text_that_no_two_readers_agree_on_is_refused(job: Job) -> None:
    for payload in (
        b'{"a":NaN}', b'{"a":1e999}', b'{"a":"\\ud800"}', b'{"a":"\xff"}', b"\xef\xbb\xbf{}", b'{"a":1,}', b"", b"null",
        b'"x"', b"[]", b'{"a":' + b"9" * 5_000 + b"}", "{}".encode("utf-16"),
    ):  # fmt: skip
        await job.refused(_signed_raw(job, payload), "claims")


async def test_a_list_in_the_place_of_an_id_does_not_widen_it(job: Job) -> None:
    """A claim that is a list fits by any member: so an id that is a list must not reach the index."""
    await job.refused_claims("no trust binding", repository_id=["74", "666"], sub="custom")


async def test_a_runner_of_ones_own_is_refused_on_github(job: Job) -> None:
    bindings = trusting("https://token.actions.githubusercontent.com").issuer(
        "https://token.actions.githubusercontent.com"
    )
    claims = job.claims()
    assert bindings.bind(claims).name == "shop"
    with pytest.raises(JoseError, match="runner_environment"):
        bindings.bind({**claims, "runner_environment": "self-hosted"})


async def test_a_stranger_does_not_learn_what_is_trusted(job: Job) -> None:
    job.trust('claims.environment = "the-secret-environment"')
    token = job.issuer.mint(job.claims(repository_id="666", sub="custom"))
    with pytest.raises(JoseError) as refusal:
        await job.external.verify(token)
    assert "the-secret-environment" not in str(refusal.value)


def _signed(key: rsa.RSAPrivateKey, header: dict[str, Any], claims: dict[str, Any]) -> str:
    parts = [b64url(json.dumps(part).encode()) for part in ({"alg": "RS256", "typ": "JWT", **header}, claims)]
    signed = ".".join(parts)
    return f"{signed}.{b64url(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _signed_raw(job: Job, payload: bytes) -> str:
    header = b64url(json.dumps({"alg": "RS256", "typ": "JWT", "kid": job.issuer.current}).encode())
    signed = f"{header}.{b64url(payload)}"
    key = job.issuer.keys[job.issuer.current]
    return f"{signed}.{b64url(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"
