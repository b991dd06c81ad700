import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from everproof.identity import credential_store as store
from everproof.identity.dpop import DpopError, DpopNonceError
from everproof.identity.jose import JoseError
from everproof.identity.oauth import (
    InvalidRequestError,
    InvalidScopeError,
    InvalidTargetError,
    ReplayedError,
)
from everproof.kernel.clock import ClockBehindError
from everproof.kernel.errors import RefusedError
from everproof.kernel.words import Ref
from tests.identity.tokens import ACCESS_TOKEN, ASSERTION, ISSUER, JWT, TokenService, claims_of
from tests.identity.trust import AUDIENCE
from tests.issuer import Issuer, github_claims


async def test_a_job_token_becomes_a_token_of_ours(service: TokenService, job_token: str) -> None:
    caller = service.caller()
    reply = await service.for_job(caller, job_token)
    assert (reply.token_type, reply.issued_token_type) == ("DPoP", ACCESS_TOKEN)
    assert reply.expires_in == 300, "no longer than the job's own token"
    token = service.tokens.verify(reply.access_token)
    assert token.key == caller.thumbprint
    assert token.proof.principal.ref.type == "Job"
    assert token.proof.principal.attributes["repository_id"] == "74"
    assert Ref("Group", "builders") in token.proof.principal.parents
    issued = service.issued(reply.credential)
    parent = service.issued(issued.parent)
    assert (issued.kind, parent.kind, parent.parent) == ("access-token", "ci-token", None)
    assert issued.expires == parent.expires


async def test_the_same_key_may_use_its_token_again(service: TokenService, job_token: str) -> None:
    caller = service.caller()
    first = await service.for_job(caller, job_token)
    second = await service.for_job(caller, job_token)
    one, other = (service.issued(reply.credential) for reply in (first, second))
    assert one.id != other.id
    assert one.parent == other.parent


async def test_the_same_key_may_use_its_token_many_times_at_once(service: TokenService, job_token: str) -> None:
    caller = service.caller()
    replies = await asyncio.gather(*(service.for_job(caller, job_token) for _ in range(10)))
    assert len({service.issued(reply.credential).parent for reply in replies}) == 1


async def test_a_plan_says_what_policy_decides_about(service: TokenService, job_token: str) -> None:
    fields: dict[str, Any] = {"subject_token": job_token, "subject_token_type": JWT, "scope": "git:fetch secret:read"}
    plan = await service.prepare(service.caller(), **fields, audience="vault", expires_in="60")
    assert plan.action.name == "token:exchange"
    assert plan.resource.ref == Ref("Audience", "vault")
    assert plan.context == {"scope": ["git:fetch", "secret:read"], "lifetime": 60, "key_bound": True}
    assert plan.proof.kind == "ci-token"
    assert plan.proof.key is not None
    assert plan.proof.claims["binding"] == "shop"


async def test_lifetimes_are_ten_minutes_by_default_and_sixty_at_most(service: TokenService, issuer: Issuer) -> None:
    now = int(service.clock.now().timestamp())
    for asked, given in ((None, 600), ("30", 30), ("3600", 3600), ("7200", 3600)):
        claims = github_claims(service.clock.now(), audience=AUDIENCE, exp=now + 9_000, jti=f"long-{asked}")
        reply = await service.for_job(service.caller(), issuer.mint(claims), expires_in=asked)
        assert reply.expires_in == given


async def test_a_service_gets_a_token_for_its_key(service: TokenService) -> None:
    caller = service.caller()
    service.records.enrol(caller, "billing")
    reply = await service.for_client(caller, "service:billing")
    token = service.tokens.verify(reply.access_token)
    assert token.proof.principal.ref == Ref("Service", "billing")
    assert claims_of(reply.access_token)["sub"] == "service:billing"
    assert "attributes" not in claims_of(reply.access_token)["principal"], "the directory knows them better"


async def test_a_token_of_ours_is_narrowed(service: TokenService, job_token: str) -> None:
    caller = service.caller()
    wide = await service.for_job(caller, job_token, scope="git:fetch secret:read")
    service.clock.advance(timedelta(seconds=100))
    narrow = await service.for_own(caller, wide.access_token, scope="git:fetch", audience="git", expires_in="3600")
    assert narrow.scope == "git:fetch"
    assert narrow.expires_in == 200, "no longer than what it came from"
    assert service.issued(narrow.credential).parent == wide.credential
    same = await service.for_own(caller, wide.access_token)
    assert same.scope == "git:fetch secret:read"


async def test_a_scope_is_never_widened(service: TokenService, job_token: str) -> None:
    caller = service.caller()
    narrow = await service.for_job(caller, job_token, scope="git:fetch")
    with pytest.raises(InvalidScopeError, match="secret:read"):
        await service.for_own(caller, narrow.access_token, scope="git:fetch secret:read")


async def test_a_replayed_job_token_with_another_key_is_refused(service: TokenService, job_token: str) -> None:
    await service.for_job(service.caller(), job_token)
    with pytest.raises(ReplayedError, match="another key"):
        await service.for_job(service.caller(), job_token)
    with service.storage.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(store.credentials)) == 2, "the second got nothing"


async def test_of_two_keys_that_race_for_a_token_one_wins(service: TokenService, job_token: str) -> None:
    results = await asyncio.gather(
        *(service.for_job(service.caller(), job_token) for _ in range(20)), return_exceptions=True
    )
    assert sum(not isinstance(result, BaseException) for result in results) == 1
    assert all(isinstance(result, ReplayedError) for result in results if isinstance(result, BaseException))


async def test_a_token_without_id_is_bound_by_what_was_signed(service: TokenService, issuer: Issuer) -> None:
    claims = github_claims(service.clock.now(), audience=AUDIENCE, jti=None)
    token, caller = issuer.mint(claims), service.caller()
    await service.for_job(caller, token)
    await service.for_job(caller, token)
    with pytest.raises(ReplayedError):
        await service.for_job(service.caller(), token)
    await service.for_job(service.caller(), issuer.mint({**claims, "run_attempt": "2"}))


async def test_the_same_id_in_another_token_is_the_same_token(service: TokenService, issuer: Issuer) -> None:
    claims = github_claims(service.clock.now(), audience=AUDIENCE)
    await service.for_job(service.caller(), issuer.mint(claims))
    with pytest.raises(ReplayedError):
        await service.for_job(service.caller(), issuer.mint({**claims, "run_attempt": "2"}))


async def test_what_comes_from_a_revoked_job_token_is_refused(service: TokenService, job_token: str) -> None:
    caller = service.caller()
    reply = await service.for_job(caller, job_token)
    await service.revoke(str(service.issued(reply.credential).parent))
    with pytest.raises(RefusedError, match="revoked"):
        await service.for_job(caller, job_token)


async def test_what_comes_from_a_revoked_token_is_refused(service: TokenService, job_token: str) -> None:
    caller = service.caller()
    reply = await service.for_job(caller, job_token)
    fields: dict[str, Any] = {"subject_token": reply.access_token, "subject_token_type": ACCESS_TOKEN}
    plan = await service.prepare(caller, **fields)
    await service.revoke(reply.credential)
    with pytest.raises(RefusedError, match="revoked"):
        await service.issue(plan)
    with pytest.raises(InvalidRequestError, match="revoked"):
        await service.prepare(caller, **fields)


async def test_a_stolen_token_is_not_exchanged_by_another_key(service: TokenService, job_token: str) -> None:
    reply = await service.for_job(service.caller(), job_token)
    with pytest.raises(DpopError, match="another key"):
        await service.for_own(service.caller(), reply.access_token)


async def test_an_assertion_is_spent_once(service: TokenService) -> None:
    caller = service.caller()
    service.records.enrol(caller, "billing")
    fields = {
        "grant_type": "client_credentials",
        "client_assertion_type": ASSERTION,
        "client_assertion": caller.assertion("service:billing"),
    }
    await service.get(caller, **fields)
    with pytest.raises(ReplayedError, match="used before"):
        await service.get(caller, **fields)


async def test_a_token_without_a_key_is_refused(service: TokenService, job_token: str) -> None:
    with pytest.raises(DpopError, match="no key was shown"):
        await service.prepare(None, subject_token=job_token, subject_token_type=JWT)
    caller = service.caller()
    request = service.request(subject_token=job_token, subject_token_type=JWT)
    with pytest.raises(DpopNonceError):
        await service.exchange.prepare(request, dpop=caller.proof(nonce=None))


async def test_a_bad_token_does_not_use_up_a_proof(service: TokenService, job_token: str) -> None:
    """So that nobody without a good token can fill the memory of proofs."""
    caller = service.caller()
    proof = caller.proof()
    bad = service.request(subject_token=job_token + "A", subject_token_type=JWT)
    with pytest.raises(InvalidRequestError, match="subject_token"):
        await service.exchange.prepare(bad, dpop=proof)
    await service.exchange.prepare(service.request(subject_token=job_token, subject_token_type=JWT), dpop=proof)


async def test_an_access_token_is_no_job_token_and_the_other_way_round(service: TokenService, job_token: str) -> None:
    caller = service.caller()
    reply = await service.for_job(caller, job_token)
    with pytest.raises(InvalidRequestError, match="another purpose"):
        await service.for_job(caller, reply.access_token)
    with pytest.raises(InvalidRequestError, match="not an access token"):
        await service.for_own(caller, job_token)


async def test_a_token_for_others_is_not_exchanged_here(service: TokenService, job_token: str) -> None:
    caller = service.caller()
    reply = await service.for_job(caller, job_token, audience="https://elsewhere.example")
    with pytest.raises(InvalidRequestError, match="another audience"):
        await service.for_own(caller, reply.access_token)


async def test_a_plain_token_is_for_others_alone(service: TokenService, job_token: str) -> None:
    caller = service.caller()
    with pytest.raises(InvalidTargetError):
        await service.for_job(caller, job_token, requested_token_type=JWT)
    reply = await service.for_job(caller, job_token, requested_token_type=JWT, audience="sts.amazonaws.com")
    assert reply.token_type == "N_A"
    assert "cnf" not in claims_of(reply.access_token)
    with pytest.raises(JoseError):
        service.tokens.verify(reply.access_token)


async def test_an_actor_acts_for_a_subject_that_lets_it(service: TokenService, job_token: str) -> None:
    subject, actor, stranger = service.caller(), service.caller(), service.caller()
    for caller, name in ((actor, "deployer"), (stranger, "stranger")):
        service.records.enrol(caller, name)
    acting = await service.for_client(actor, "service:deployer")
    other = await service.for_client(stranger, "service:stranger")
    lent = await service.for_job(subject, job_token, may_act="service:deployer", scope="git:fetch")
    plain = await service.for_job(subject, job_token)
    as_actor: dict[str, Any] = {"actor_token": acting.access_token, "actor_token_type": ACCESS_TOKEN}

    reply = await service.for_own(actor, lent.access_token, **as_actor)
    token = service.tokens.verify(reply.access_token)
    assert token.key == actor.thumbprint
    assert token.proof.principal.ref.type == "Job"
    assert token.actor["sub"] == "service:deployer"
    assert token.scope == ("git:fetch",)
    with pytest.raises(InvalidRequestError, match="does not let"):
        await service.for_own(actor, plain.access_token, **as_actor)
    with pytest.raises(InvalidRequestError, match="does not let"):
        await service.for_own(
            stranger, lent.access_token, actor_token=other.access_token, actor_token_type=ACCESS_TOKEN
        )
    with pytest.raises(DpopError, match="another key"):
        await service.for_own(stranger, lent.access_token, **as_actor)
    await service.revoke(acting.credential)
    with pytest.raises(JoseError, match="revoked"):
        service.tokens.verify(reply.access_token)


async def test_a_narrowed_actor_is_not_widened_by_acting_for_another(service: TokenService, job_token: str) -> None:
    subject, actor = service.caller(), service.caller()
    service.records.enrol(actor, "deployer")
    acting = await service.get(
        actor, grant_type="client_credentials", client_assertion_type=ASSERTION,
        client_assertion=actor.assertion("service:deployer"), scope="git:fetch",
    )  # fmt: skip
    as_actor: dict[str, Any] = {"actor_token": acting.access_token, "actor_token_type": ACCESS_TOKEN}
    lent = await service.for_job(subject, job_token, may_act="service:deployer")
    reply = await service.for_own(actor, lent.access_token, **as_actor)
    assert service.tokens.verify(reply.access_token).scope == ("git:fetch",)
    other = await service.for_job(subject, job_token, may_act="service:deployer", scope="git:push")
    with pytest.raises(InvalidScopeError, match="in common"):
        await service.for_own(actor, other.access_token, **as_actor)


async def test_a_token_that_expired_on_its_way_is_not_issued(service: TokenService, job_token: str) -> None:
    plan = await service.prepare(service.caller(), subject_token=job_token, subject_token_type=JWT)
    service.clock.advance(timedelta(seconds=301))
    with pytest.raises(RefusedError, match="expired"):
        await service.issue(plan)


async def test_nothing_is_issued_while_the_clock_is_behind(service: TokenService, job_token: str) -> None:
    await service.for_job(service.caller(), job_token)
    service.clock.advance(timedelta(seconds=-31))
    with pytest.raises(ClockBehindError):
        await service.for_job(service.caller(), job_token)


async def test_a_reply_does_not_show_its_token(service: TokenService, job_token: str) -> None:
    reply = await service.for_job(service.caller(), job_token)
    assert reply.access_token not in repr(reply)
    assert job_token not in repr(service.request(subject_token=job_token))
    assert claims_of(reply.access_token)["iss"] == ISSUER
