"""Stages held apart, at the server's doors: by a bundle that lets a job do everything, and the starter's forbids."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from everproof.app import Everproof
from everproof.authorize.store import StoredBundle, save_bundle
from everproof.identity.ssh_keys import blob_of_jwk
from everproof.kernel.settings import Outbound, Settings
from everproof.policy import Engine, load_bundle
from everproof.policy.starter import starter_files
from everproof.server.application import application
from tests.conftest import SettableClock
from tests.issuer import Issuer, github_claims
from tests.server.asgi import Answer
from tests.server.client import Client
from tests.server.conftest import TRUST, URL, Site

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVERYTHING = b'@id("site/everything") permit(principal is Job, action, resource);'
NO_FORBIDS = b'@id("site/everything") permit(principal, action, resource);'
WIDE = Engine(load_bundle({**starter_files(), "policies/site.cedar": EVERYTHING}))
COMMAND = {"program": "make", "digest": "0" * 64}
REPOSITORY = {"type": "Repository", "id": "acme/shop"}

WORKS = {
    "artifact:publish": ("Artifact", "shop", {"publish"}),
    "deployment:start": ("Environment", "production", {"deploy"}),
    "deployment:rollback": ("Environment", "production", {"deploy"}),
    "cloud:assume": ("CloudRole", "deployer", {"deploy"}),
    "host:login": ("Host", "web", {"deploy"}),
    "database:connect": ("Database", "orders", {"deploy"}),
    "secret:read": ("Secret", "build/key", {"publish", "deploy"}),
    "git:rewrite": ("Branch", "shop@main", {"publish"}),
    "git:fetch": ("Repository", "acme/shop", {"build", "test", "publish", "deploy"}),
    "policy:change": ("Bundle", "organisation", set[str]()),
    "identity:enrol": ("User", "mallory", set[str]()),
    "stage:build": ("Repository", "acme/shop", set[str]()),
    "stage:test": ("Repository", "acme/shop", set[str]()),
    "stage:publish": ("Repository", "acme/shop", set[str]()),
    "stage:deploy": ("Repository", "acme/shop", set[str]()),
}
"""Each with the stages that do it."""
OF_STAGES = [
    name for name, (_, _, stages) in WORKS.items() if stages and name not in {"git:fetch", "secret:read", "git:rewrite"}
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(session_issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """One server for all tests here: each has jobs of its own."""
    clock = SettableClock()
    clock.time = datetime.now(UTC)
    outbound = Outbound(ca_file=session_issuer.ca_file, private_hosts=("127.0.0.1",))
    app = Everproof(Settings(state=tmp_path_factory.mktemp("runs"), url=URL, outbound=outbound), clock=clock)
    files = starter_files() | {"trust/github.toml": TRUST.format(url=session_issuer.url).encode()}
    app.storage.write_now(lambda tx: save_bundle(tx, StoredBundle(load_bundle(files).digest, "", files)))
    app.storage.close()
    app = Everproof(app.settings, clock=clock)
    await app.start()
    yield Site(app, application(app), clock, session_issuer)
    await app.stop()


@pytest.fixture(autouse=True)
def _wide(site: Site) -> None:
    site.app.authorizer.engine = WIDE


async def job_of(site: Site, **claims: Any) -> Client:
    job = site.client()
    now = site.clock.now().astimezone(UTC)
    own = {"jti": datetime.now(UTC).isoformat(), "exp": int(now.timestamp()) + 3600, **claims}
    answer = await job.exchange(site.issuer.mint(github_claims(now, audience=URL, **own)), expires_in="3600")
    assert answer.status == 200, answer.body
    return job


async def asks(
    site: Site, job: Client, stage: str, *, step: Client | None = None, **more: Any
) -> tuple[Client, Answer]:
    """A step that was asked for, with its key; its token, if it got one."""
    step = step or site.client()
    step.nonce = job.nonce
    body = {"stage": stage, "command": COMMAND, "key_proof": step.proof("POST", "/v1/runs", job.token), **more}
    answer = await job.send("POST", "/v1/runs", body)
    step.token = answer.json.get("access_token", "")
    return step, answer


async def begun(site: Site, stage: str) -> tuple[Client, Client, str]:
    job = await job_of(site)
    step, answer = await asks(site, job, stage)
    assert answer.status == 201, answer.body
    return job, step, answer.json["id"]


async def allowed(client: Client, action: str) -> bool:
    type_, id_, _ = WORKS[action]
    me = (await client.send("GET", "/v1/identity/me")).json["principal"]["ref"]
    question = {"subject": me, "action": {"name": action}, "resource": {"type": type_, "id": id_}}
    answer = await client.send("POST", "/access/v1/evaluation", question)
    assert answer.status == 200, answer.body
    return bool(answer.json["decision"])


@pytest.mark.parametrize("stage", ["build", "test", "publish", "deploy"])
async def test_attack_of_a_stage_on_the_work_of_the_others(site: Site, stage: str) -> None:
    _, step, _ = await begun(site, stage)
    for action, (_, _, stages) in WORKS.items():
        assert await allowed(step, action) == (stage in stages), action


async def test_attack_of_a_job_on_what_only_its_stages_may_do(site: Site) -> None:
    job = await job_of(site)
    for action in OF_STAGES:
        assert not await allowed(job, action), action
    assert await allowed(job, "stage:deploy")


@pytest.mark.parametrize("policy", [EVERYTHING, NO_FORBIDS], ids=["starter", "none"])
async def test_attack_of_a_stage_that_begins_another(site: Site, policy: bytes) -> None:
    """The starter forbids it; and where a bundle does not, no credential can have two stages."""
    files = (
        {**starter_files(), "policies/site.cedar": policy} if policy == EVERYTHING else {"policies/site.cedar": policy}
    )
    _, step, _ = await begun(site, "build")
    site.app.authorizer.engine = Engine(load_bundle(files))
    for other in ("build", "deploy"):
        _, answer = await asks(site, step, other)
        assert answer.status == 403


async def test_attack_of_a_stage_that_exchanges_its_token_for_one_without(site: Site) -> None:
    _, step, _ = await begun(site, "build")
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": step.token,
        "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
    }
    answer = await step.take(form)
    assert answer.status == 200
    assert site.app.identity.tokens.verify(step.token).proof.claims["stage"] == "build"
    assert not await allowed(step, "deployment:start")


async def test_the_keys_ssh_form_has_the_stage_too(site: Site) -> None:
    """One key for a job: what is fetched or pushed with it over SSH is the stage's doing."""
    _, step, _ = await begun(site, "build")
    proof = site.app.identity.proofs.ssh_key(blob_of_jwk(step.jwk), kind="ssh-login", at=site.clock.now())
    assert proof.claims["stage"] == "build"


async def test_attack_with_a_key_whose_proof_was_made_for_another_job(site: Site) -> None:
    job, other = await job_of(site), await job_of(site, run_id="1")
    step = site.client()
    step.nonce = other.nonce
    stolen = step.proof("POST", "/v1/runs", other.token)
    body = {"stage": "build", "command": COMMAND, "key_proof": stolen}
    assert (await job.send("POST", "/v1/runs", body)).status == 401


async def test_attack_with_a_key_proof_that_was_used(site: Site) -> None:
    job, step = await job_of(site), site.client()
    step.nonce = job.nonce
    body = {"stage": "build", "command": COMMAND, "key_proof": step.proof("POST", "/v1/runs", job.token)}
    assert (await job.send("POST", "/v1/runs", body)).status == 201
    assert (await job.send("POST", "/v1/runs", body)).status == 401


async def test_a_step_has_a_key_of_its_own(site: Site) -> None:
    job = await job_of(site)
    _, answer = await asks(site, job, "build", step=job)
    assert answer.status == 403


async def test_attack_on_another_jobs_run(site: Site) -> None:
    """Jobs of one workflow share a name: who began a run is known by its key."""
    _, _, run = await begun(site, "build")
    twin = await job_of(site)
    assert (await twin.send("POST", f"/v1/runs/{run}/end", {"exit_status": 0})).status == 403
    assert (await twin.send("POST", f"/v1/runs/{run}/renew", {})).status == 403


async def test_attack_of_a_step_that_says_itself_how_it_ended(site: Site) -> None:
    _, step, run = await begun(site, "build")
    assert (await step.send("POST", f"/v1/runs/{run}/end", {"exit_status": 0})).status == 403
    assert (await step.send("POST", f"/v1/runs/{run}/renew", {})).status == 403
    site.app.authorizer.engine = Engine(load_bundle({"policies/site.cedar": NO_FORBIDS}))
    assert (await step.send("POST", f"/v1/runs/{run}/end", {"exit_status": 0})).status == 403
    assert (await step.send("POST", f"/v1/runs/{run}/renew", {})).status == 403


async def test_a_run_ends_once_and_its_credentials_with_it(site: Site) -> None:
    job, step, run = await begun(site, "build")
    assert (await job.send("POST", f"/v1/runs/{run}/end", {"exit_status": 0})).status == 200
    assert (await step.send("GET", "/v1/identity/me")).status == 401
    assert (await job.send("POST", f"/v1/runs/{run}/end", {"exit_status": 1})).status == 403
    assert (await job.send("POST", f"/v1/runs/{run}/renew", {})).status == 403
    assert (await job.send("GET", f"/v1/runs/{run}")).json["result"] == {"exit_status": 0}


async def test_a_run_that_goes_on_is_decided_again_and_ends_as_a_whole(site: Site) -> None:
    job, step, run = await begun(site, "deploy")
    first = step.token
    site.clock.advance(timedelta(minutes=9))
    answer = await job.send("POST", f"/v1/runs/{run}/renew", {})
    assert answer.status == 200, answer.body
    step.token = answer.json["access_token"]
    site.clock.advance(timedelta(minutes=5))
    assert await allowed(step, "deployment:start")
    assert (await step.send("GET", "/v1/identity/me", token=first)).status == 401
    await job.send("POST", f"/v1/runs/{run}/end", {"signal": 9})
    assert (await step.send("GET", "/v1/identity/me")).status == 401


async def test_a_run_is_not_renewed_once_one_of_its_credentials_was_revoked(site: Site) -> None:
    job, step, run = await begun(site, "build")
    credential = site.app.identity.tokens.verify(step.token).credential
    await site.app.storage.write(lambda tx: site.app.identity.credentials.revoke(tx, credential, "stolen"))
    assert (await job.send("POST", f"/v1/runs/{run}/renew", {})).status == 403


async def test_a_stage_lives_no_longer_than_its_bound(site: Site) -> None:
    job = await job_of(site)
    for stage, most in (("build", 1800), ("deploy", 600)):
        _, answer = await asks(site, job, stage, lifetime_seconds=3600)
        assert answer.json["expires_in"] == most
    _, answer = await asks(site, job, "build", lifetime_seconds=60)
    assert answer.json["expires_in"] == 60


async def test_whoever_watches_is_told_at_once(site: Site) -> None:
    _, step, run = await begun(site, "build")
    path = f"/v1/runs/{run}/watch"
    assert (await step.send("GET", path)).json == {"live": True}
    waiting = asyncio.create_task(step.send("GET", path, query="seconds=15"))
    for _ in range(2000):
        if site.app.runs._waiting:
            break
        await asyncio.sleep(0.001)
    credential = site.app.identity.tokens.verify(step.token).credential
    await site.app.storage.write(lambda tx: site.app.identity.credentials.revoke(tx, credential, "stolen"))
    async with asyncio.timeout(2):
        assert (await waiting).json == {"live": False}


async def test_only_the_step_itself_watches_it(site: Site) -> None:
    job, step, run = await begun(site, "build")
    _, answer = await asks(site, job, "test")
    assert (await job.send("GET", f"/v1/runs/{run}/watch")).status == 404
    assert (await step.send("GET", f"/v1/runs/{answer.json['id']}/watch")).status == 404


async def test_whoever_reads_the_ledger_lists_runs(site: Site) -> None:
    job, step, run = await begun(site, "build")
    listed = (await job.send("GET", "/v1/runs")).json["runs"]
    assert listed[0]["id"] == run
    assert msgspec.convert(listed[0]["principal"], dict)["type"] == "Job"
    assert run not in str((await job.send("GET", "/v1/runs", query="stage=test")).json)
    site.app.authorizer.engine = Engine(load_bundle(starter_files()))
    assert (await step.send("GET", "/v1/runs")).status == 403


async def test_bad_input(site: Site) -> None:
    job = await job_of(site)
    changes: tuple[dict[str, Any], ...] = (
        {"stage": "release"},
        {"command": {"program": "", "digest": "0" * 64}},
        {"command": {"program": "make", "digest": "x"}},
        {"command": {**COMMAND, "more": 1}},
        {"command": {**COMMAND, "arguments": ["x" * 5000]}},
        {"on": {"type": "Secret", "id": "x"}},
        {"lifetime_seconds": 0},
        {"lifetime_seconds": "60"},
        {"key_proof": "x"},
    )
    for change in changes:
        more = {name: value for name, value in change.items() if name != "stage"}
        _, answer = await asks(site, job, str(change.get("stage", "build")), **more)
        assert answer.status in {400, 401}, change


async def test_what_is_not_on_record_is_not_found(site: Site) -> None:
    job = await job_of(site)
    for path in ("/v1/runs/run_none/end", "/v1/runs/run_none/renew"):
        assert (await job.send("POST", path, {})).status == 404
    assert (await job.send("GET", "/v1/runs/run_none")).status == 404


async def test_who_is_no_job_says_what_the_stage_is_done_to(site: Site) -> None:
    site.app.authorizer.engine = Engine(load_bundle({**starter_files(), "policies/site.cedar": NO_FORBIDS}))
    machine = await site.enrolled("Machine", "agent")
    _, answer = await asks(site, machine, "build")
    assert answer.status == 400
    _, answer = await asks(site, machine, "build", on=REPOSITORY)
    assert answer.status == 201, answer.body
