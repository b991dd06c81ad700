"""A denial that a factor or a grant would turn says so, in RFC 9470's words, and holds until it was shown."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from everproof.identity import Credential, roster
from everproof.identity.access_tokens import Grant
from everproof.kernel.ids import new_id
from everproof.kernel.words import Ref
from everproof.storage import Transaction
from tests.issuer import Issuer
from tests.server.client import TOKEN_TYPE
from tests.server.conftest import URL, Site, opened
from tests.server.visitor import Visitor

ALICE = Ref("User", "alice")
POLICY = b"""
@id("fresh") @title("Everyone's sessions are read with a fresh factor")
permit(principal is User, action == Action::"identity:read", resource is Identity)
when { context has mfa_age && context.mfa_age < 300 };

@id("granted") @title("Work is read with a grant")
permit(principal is User, action == Action::"work:read", resource is Server)
when { context has granted && context.granted };

@id("shop") permit(principal in Group::"shop", action == Action::"api:call", resource is Route);
@id("incident") @title("Nobody deploys in an incident")
forbid(principal, action == Action::"deployment:start", resource) when { context has incident };
@id("deploys") permit(principal in Group::"shop", action == Action::"deployment:start", resource is Environment);
@id("logins") permit(principal in Group::"shop", action == Action::"host:login", resource is Host);
"""


@pytest.fixture
async def site(tmp_path: Path, session_issuer: Issuer) -> AsyncIterator[Site]:
    url = f"sqlite:///{tmp_path / 'everproof.db'}"
    async with opened(url, tmp_path / "state", session_issuer, policy=POLICY) as found:
        await found.app.storage.write(lambda tx: roster.add_principal(tx, ALICE, groups=["shop"]))
        yield found


async def test_what_a_factor_or_a_grant_would_turn(site: Site) -> None:
    alice = await Visitor(site).sign_in("alice")
    asked = ("GET", "/v1/sessions")
    answer = await alice.send(*asked, query="all=true")
    assert answer.status == 401
    challenge = answer.headers["www-authenticate"]
    assert challenge.startswith("DPoP ")
    assert 'error="insufficient_user_authentication"' in challenge
    assert "max_age=299" in challenge
    told = answer.json
    assert told["code"] == "insufficient_user_authentication"
    assert told["extra"]["step_up"] == {
        "max_age_seconds": 299,
        "methods": ["passkey", "security-key", "totp", "recovery-code", "provider"],
        "session": alice.session.id,
        "page": f"/step-up?session={alice.session.id}",
    }
    assert "request" not in told["extra"]
    assert "everproof step-up" in told["detail"]
    assert "Everyone's sessions" in told["detail"]

    sessions = site.app.identity.sessions
    await site.app.storage.write(lambda tx: sessions.show_factor(tx, alice.session.id, "totp", tx.now))
    assert (await alice.send(*asked, query="all=true")).status == 200
    other = await Visitor(site).sign_in("alice")
    assert (await other.send(*asked, query="all=true")).status == 401  # it was not shown there
    site.clock.advance(timedelta(seconds=299))
    assert (await alice.send(*asked, query="all=true")).status == 200
    site.clock.advance(timedelta(seconds=1))
    assert (await alice.send(*asked, query="all=true")).status == 401

    denied = await alice.send("GET", "/v1/work/jobs")
    assert denied.status == 403
    assert denied.json["extra"]["request"]["action"] == "work:read"
    assert denied.json["extra"]["request"]["command"].startswith("everproof request work:read ")
    assert "step_up" not in denied.json["extra"]
    assert "www-authenticate" not in denied.headers


async def test_what_is_remembered_elsewhere_is_what_no_fact_could_turn(site: Site) -> None:
    gateway = await site.enrolled("Service", "gateway", "enforcement-points")

    async def cached(action: str, type_: str) -> bool:
        body = {
            "subject": {"type": "User", "id": "alice"},
            "action": {"name": action},
            "resource": {"type": type_, "id": "x"},
        }
        answer = (await gateway.send("POST", "/access/v1/evaluation", body)).json
        assert answer["decision"] is True, answer
        return "cache_seconds" in answer["context"]

    assert await cached("api:call", "Route")  # no policy about it looks at a fact
    assert await cached("host:login", "Host")  # one does, and another allows it whatever that says
    assert not await cached("deployment:start", "Environment")  # an incident may be opened at any moment


async def test_whoever_acts_for_a_person_has_not_shown_that_persons_factors(site: Site) -> None:
    agent, alice = await site.enrolled("Service", "agent", "enforcement-points"), await Visitor(site).sign_in("alice")
    sessions, tokens = site.app.identity.sessions, site.app.identity.tokens
    await site.app.storage.write(lambda tx: sessions.show_factor(tx, alice.session.id, "totp", tx.now))
    principal = site.app.identity.directory.principal(ALICE)
    assert principal is not None

    def issue(tx: Transaction) -> str:
        issued = site.app.identity.credentials.issue(
            tx,
            Credential(
                id=new_id("cred"), parent=alice.session.id, kind="access-token", principal=ALICE,
                key=agent.thumbprint, issued=tx.now, expires=tx.now + timedelta(minutes=10), audience=URL,
            ),
        )  # fmt: skip
        grant = Grant(
            credential=issued.id, principal=principal, client="user:alice", audience=URL, key=agent.thumbprint,
            proven=tx.now, issued=tx.now, expires=issued.expires, recorded=True, session=alice.session.id,
            may_act="service:agent",
        )  # fmt: skip
        return tokens.mint(grant)

    own = await site.app.storage.write(issue)
    assert tokens.verify(own).session == alice.session.id
    acting = agent.token
    answer = await agent.exchange(own, subject_token_type=TOKEN_TYPE, actor_token=acting, actor_token_type=TOKEN_TYPE)
    assert answer.status == 200, answer.body
    found = tokens.verify(answer.json["access_token"])
    assert (found.proof.principal.ref, found.session) == (ALICE, "")
    assert "session" not in found.proof.claims
    same = await agent.exchange(own, subject_token_type=TOKEN_TYPE)  # of the person itself, it stays in the session
    assert tokens.verify(same.json["access_token"]).session == alice.session.id
