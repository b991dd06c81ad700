import base64
import hashlib
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jwt
from joserfc.jwk import KeySet, OKPKey

from everproof.app import Everproof
from everproof.authorize.store import StoredBundle, save_bundle
from everproof.identity import roster
from everproof.identity.gateways import gateway_jwk, new_secret
from everproof.kernel.settings import Settings
from everproof.kernel.words import Ref
from everproof.policy import load_bundle
from everproof.policy.starter import starter_files
from everproof.server.application import application
from everproof.server.gateway.refusal import unpacked
from everproof.server.http import Application
from everproof.storage import Transaction
from tests.conftest import SettableClock
from tests.server.asgi import Answer, call
from tests.server.client import Client

pytestmark = pytest.mark.asyncio(loop_scope="module")

URL = "https://everproof.example"

ROUTES = b"""
origins = ["https://wiki.example"]

[[route]]
path = "/pages/{page}"
methods = ["GET", "POST"]

[[route]]
path = "/admin"
methods = ["GET"]
name = "admin"
"""

POLICY = b"""
@id("wiki/readers")
@title("Readers read the wiki")
@advice("ask for the group readers")
permit (principal in Group::"readers", action == Action::"api:call", resource is Route)
when { resource has operation && resource.operation != "admin" };

@id("wiki/all")
@title("Owners do anything")
permit (principal in Group::"owners", action, resource);
"""


class Site:
    def __init__(self, app: Everproof, doors: Application, clock: SettableClock, secret: str) -> None:
        self.app, self.doors, self.clock, self.secret = app, doors, clock, secret
        self.clients: dict[str, Client] = {}

    async def caller(self, name: str, *groups: str) -> Client:
        if name in self.clients:
            return self.clients[name]
        client = self.clients[name] = Client(self.doors, URL, self.clock)
        await self.app.storage.write(
            lambda tx: roster.register_client(tx, Ref("Service", name), [client.jwk], groups=groups)
        )
        assert (await client.credentials(f"service:{name}")).status == 200
        return client

    async def asks(
        self,
        caller: Client | None,
        method: str,
        target: str,
        *,
        form: str = "forwarded",
        **changes: str,
    ) -> Answer:
        """What a gateway is answered that asks for ``caller``."""
        host = changes.pop("host", "wiki.example")
        headers = {"x-everproof-gateway": self.secret}
        path, sent, raw = f"/v1/gateway/{form}", "GET", ""
        if form == "forwarded":
            headers |= {"x-forwarded-method": method, "x-forwarded-uri": target, "x-forwarded-host": host}
        elif form == "nginx":
            headers |= {"x-original-method": method, "x-original-uri": target, "x-original-host": host}
        else:
            headers["host"] = host
            sent, raw, path = method, path + target, path + target.partition("?")[0]
        if caller is not None:
            url = f"https://wiki.example{target.partition('?')[0]}"
            headers |= {
                "authorization": f"DPoP {caller.token}",
                "dpop": caller.proof(method, "", caller.token, htu=url),
            }
        headers |= {name.replace("__", "-"): value for name, value in changes.items()}
        headers = {name: value for name, value in headers.items() if value}
        return await call(self.doors, sent, path, b"", headers, target=raw)

    def entry(self) -> dict[str, Any]:
        last = self.app.ledger.size - 1
        body: dict[str, Any] = json.loads(bytes(self.app.ledger.read(last).body))
        return body


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with keys and tables: making those takes longer than a test."""
    state = tmp_path_factory.mktemp("prepared") / "state"
    Everproof(Settings(state=state, url=URL)).storage.close()
    return state


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory, prepared: Path) -> AsyncIterator[Site]:
    """One server for the tests that leave it as it is: starting one is what costs."""
    async with opened(tmp_path_factory.mktemp("site"), prepared) as one:
        yield one


@pytest_asyncio.fixture(loop_scope="module")
async def own(tmp_path: Path, prepared: Path) -> AsyncIterator[Site]:
    """A server for a test that changes it."""
    async with opened(tmp_path, prepared) as one:
        yield one


@asynccontextmanager
async def opened(folder: Path, prepared: Path, **files: bytes) -> AsyncIterator[Site]:
    clock = SettableClock()
    clock.time = datetime.now(UTC)
    state = shutil.copytree(prepared, folder / "state")
    bundle = {**starter_files(), "policies/wiki.cedar": POLICY, "routes/wiki.toml": ROUTES, **files}
    app = Everproof(Settings(state=state, url=URL), clock=clock)
    doors = application(app)
    secret = new_secret()

    def rule(tx: Transaction) -> None:
        save_bundle(tx, StoredBundle(load_bundle(bundle).digest, "", bundle))
        roster.register_client(tx, Ref("Service", "edge"), [gateway_jwk(secret)], groups=("enforcement-points",))

    await app.start()
    await app.storage.write(rule)
    yield Site(app, doors, clock, secret)
    await app.stop()


FORMS = ["forwarded", "nginx", "envoy"]


@pytest.mark.parametrize("form", FORMS)
async def test_a_request_is_decided_recorded_and_told_to_the_service(site: Site, form: str) -> None:
    caller = await site.caller("crawler", "readers")
    answer = await site.asks(caller, "GET", "/pages/home?x=1", form=form)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["x-everproof-principal"] == "service:crawler"
    assert answer.headers["x-everproof-groups"] == "readers"
    entry = site.entry()
    assert entry["decision"] == "allow"
    assert entry["resource"] == {"type": "Route", "id": "wiki/pages/{page}"}
    assert entry["detail"] == {
        "gateway": 'Service::"edge"',
        "gateway_proof": "gateway-secret",
        "method": "GET",
        "host": "wiki.example",
        "path": "/pages/home",
    }
    assert entry["proof"]["vouched_by"] == {"type": "Service", "id": "edge"}


async def test_a_service_can_verify_who_calls(own: Site) -> None:
    caller = await own.caller("crawler", "readers")
    answer = await own.asks(caller, "GET", "/pages/home")
    keys = (await call(own.doors, "GET", "/jwks.json")).json
    token = jwt.decode(answer.headers["x-everproof-assertion"], KeySet.import_key_set(keys), algorithms=["ES256"])
    assert token.header["typ"] == "everproof-assertion+jwt"
    assert token.claims["aud"] == "https://wiki.example"
    assert token.claims["iss"] == URL
    assert token.claims["sub"] == "service:crawler"
    assert token.claims["groups"] == ["readers"]
    assert 0 < token.claims["exp"] - token.claims["iat"] <= 60
    again = await own.asks(caller, "GET", "/pages/other")
    assert again.headers["x-everproof-assertion"] == answer.headers["x-everproof-assertion"]
    own.clock.advance(timedelta(seconds=11))
    later = await own.asks(caller, "GET", "/pages/other")
    assert later.headers["x-everproof-assertion"] != answer.headers["x-everproof-assertion"]


async def test_an_assertion_is_no_access_token(own: Site) -> None:
    caller = await own.caller("crawler", "readers")
    caller.token = (await own.asks(caller, "GET", "/pages/home")).headers["x-everproof-assertion"]
    assert (await caller.send("GET", "/v1/identity/me")).status == 401
    assert (await own.asks(caller, "GET", "/pages/home")).status == 401


@pytest.mark.parametrize("form", FORMS)
async def test_a_caller_that_has_not_proven_itself_is_told_how(site: Site, form: str) -> None:
    answer = await site.asks(None, "GET", "/pages/home", form=form)
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("DPoP")
    assert answer.headers["dpop-nonce"]


async def test_a_refusal_says_why_and_where_it_is_recorded(site: Site) -> None:
    caller = await site.caller("crawler", "readers")
    answer = await site.asks(caller, "GET", "/admin", accept="application/json")
    assert answer.status == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["code"] == "denied"
    assert "no policy permits" in answer.json["extra"]["reason"] or answer.json["detail"]
    assert answer.json["extra"]["receipt"]["index"] == site.app.ledger.size - 1
    assert site.entry()["decision"] == "deny"


async def test_a_browser_is_shown_a_page_without_anything_live(site: Site) -> None:
    caller = await site.caller("crawler", "readers")
    answer = await site.asks(caller, "GET", "/pages/<script>", accept="text/html,*/*;q=0.8")
    assert answer.status == 403
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert b"<script" not in answer.body
    assert b"&lt;script&gt;" in answer.body
    assert b"Recorded as" in answer.body


async def test_nginx_brings_the_refusal_back_for_its_body(site: Site) -> None:
    caller = await site.caller("crawler", "readers")
    answer = await site.asks(caller, "GET", "/admin", form="nginx")
    assert (answer.status, answer.body) == (403, b"")
    headers = {
        "x-everproof-gateway": site.secret,
        "x-everproof-refusal": answer.headers["x-everproof-refusal"],
        "accept": "text/html",
    }
    shown = await call(site.doors, "GET", "/v1/gateway/refusal", b"", headers)
    assert shown.status == 403
    assert b"Not allowed" in shown.body
    assert unpacked(answer.headers["x-everproof-refusal"]).problem.code == "denied"
    for wrong in ({"x-everproof-refusal": "AAAA"}, {"x-everproof-gateway": new_secret()}, {"x-everproof-refusal": ""}):
        refused = await call(site.doors, "GET", "/v1/gateway/refusal", b"", headers | wrong)
        assert refused.status in {400, 403}
        assert b"Not allowed" not in refused.body


@pytest.mark.parametrize("form", FORMS)
async def test_a_path_with_two_readings_is_refused_and_recorded(site: Site, form: str) -> None:
    owner = await site.caller("root", "owners")
    for target in (
        "/pages/%2e%2e/admin",
        "/pages/a%2fb",
        "//admin",
        "/pages/a;b",
        "/pages/%00",
        "/PAGES/a",
        "/pages#/x",
    ):
        answer = await site.asks(owner, "GET", target, form=form)
        assert answer.status == 403, target
        assert site.entry()["decision"] == "deny"
        assert site.entry()["resource"]["id"] == "wiki/none"


@pytest.mark.parametrize(
    ("method", "target"), [("DELETE", "/pages/a"), ("GET", "/else"), ("get", "/pages/a"), ("HEAD", "/admin")]
)
async def test_whatever_is_in_no_route_is_refused_to_everybody(site: Site, method: str, target: str) -> None:
    owner = await site.caller("root", "owners")
    answer = await site.asks(owner, method, target)
    assert answer.status == 403
    assert answer.json["code"] == "no-route"
    assert "route" in site.entry()["refusal"] or "is for" in site.entry()["refusal"]


@pytest.mark.parametrize(
    "host", ["evil.example", "WIKI.example", "wiki.example.", "wiki.example:443", "wiki.example, evil"]
)
async def test_another_host_is_refused(site: Site, host: str) -> None:
    caller = await site.caller("crawler", "readers")
    assert (await site.asks(caller, "GET", "/pages/a", host=host)).status == 403


async def test_a_proof_for_another_request_is_refused(site: Site) -> None:
    caller = await site.caller("crawler", "readers")
    for proof in (
        caller.proof("GET", "", caller.token, htu="https://wiki.example/pages/b"),
        caller.proof("POST", "", caller.token, htu="https://wiki.example/pages/a"),
        caller.proof("GET", "", caller.token, htu="https://other.example/pages/a"),
        caller.proof("GET", "", caller.token, htu=f"{URL}/v1/gateway/forwarded"),
        caller.proof("GET", "", htu="https://wiki.example/pages/a"),
    ):
        assert (await site.asks(caller, "GET", "/pages/a", dpop=proof)).status == 401


async def test_a_replayed_request_is_refused(site: Site) -> None:
    caller = await site.caller("crawler", "readers")
    proof = caller.proof("GET", "", caller.token, htu="https://wiki.example/pages/a")
    assert (await site.asks(caller, "GET", "/pages/a", dpop=proof)).status == 200
    assert (await site.asks(caller, "GET", "/pages/a", dpop=proof)).status == 401


async def test_a_gateways_connection_is_nobodys_own(site: Site) -> None:
    caller = await site.caller("crawler", "readers")
    proof = caller.proof("GET", "", caller.token, htu="https://wiki.example/pages/a", connection="own")
    assert (await site.asks(caller, "GET", "/pages/a", dpop=proof)).status == 200
    assert (await site.asks(caller, "GET", "/pages/a", dpop="")).status == 401


async def test_a_token_as_bearer_is_refused(site: Site) -> None:
    caller = await site.caller("crawler", "readers")
    assert (await site.asks(caller, "GET", "/pages/a", authorization=f"Bearer {caller.token}")).status == 401


async def test_a_header_that_a_client_may_not_send_is_refused_and_recorded(site: Site) -> None:
    owner = await site.caller("root", "owners")
    for header in (
        "x-everproof-principal", "x_everproof_principal", "x-everproof_assertion", "x-everproof-groups",
        "x-http-method-override", "x-method-override", "x-original-url", "x-rewrite-url", "x-http-method",
        "x_http_method_override", "x-original_url",
    ):  # fmt: skip
        answer = await site.asks(owner, "GET", "/pages/a", **{header.replace("-", "__"): "admin"})
        assert answer.status == 403
        assert answer.json["code"] == "forged-header"
        assert header in site.entry()["refusal"]


async def test_another_forms_headers_are_nobodys_word(site: Site) -> None:
    caller = await site.caller("crawler", "readers")
    forged = {"x__original__method": "GET", "x__original__uri": "/pages/a", "x__original__host": "wiki.example"}
    answer = await site.asks(caller, "GET", "/admin", **forged)
    assert answer.status == 403
    assert site.entry()["resource"]["id"] == "wiki/admin"


@pytest.mark.parametrize("missing", ["x__forwarded__uri", "x__forwarded__method", "x__forwarded__host"])
async def test_a_gateway_that_does_not_say_what_was_asked_is_refused(site: Site, missing: str) -> None:
    caller = await site.caller("crawler", "readers")
    answer = await site.asks(caller, "GET", "/pages/a", **{missing: ""})
    assert answer.json["code"] == "misconfigured-gateway"


@pytest.mark.parametrize("secret", ["", "egw_", "x" * 47, "egw_" + "A" * 43, "egw_" + "A" * 42])
async def test_whoever_is_no_gateway_is_told_nothing(site: Site, secret: str) -> None:
    caller = await site.caller("crawler", "readers")
    before = site.app.ledger.size
    answer = await site.asks(caller, "GET", "/pages/a", x__everproof__gateway=secret)
    assert answer.status == 403
    assert answer.json["code"] == "unproven-gateway"
    assert "x-everproof-assertion" not in answer.headers
    assert site.app.ledger.size == before


async def test_a_gateways_secret_ends_like_any_key(own: Site) -> None:
    caller = await own.caller("crawler", "readers")
    assert (await own.asks(caller, "GET", "/pages/a")).status == 200
    [key] = own.app.identity.directory.keys_of(Ref("Service", "edge"))
    await own.app.storage.write(lambda tx: roster.revoke_key(tx, key.name, "compromised"))
    assert (await own.asks(caller, "GET", "/pages/a")).status == 403


async def test_a_disabled_gateway_is_refused(own: Site) -> None:
    caller = await own.caller("crawler", "readers")
    await own.app.storage.write(lambda tx: roster.disable(tx, Ref("Service", "edge"), "gone"))
    assert (await own.asks(caller, "GET", "/pages/a")).status == 403


async def test_a_gateway_that_is_no_enforcement_point_is_refused_by_policy(own: Site) -> None:
    caller = await own.caller("crawler", "readers")
    await own.app.storage.write(lambda tx: roster.set_groups(tx, Ref("Service", "edge"), ()))
    answer = await own.asks(caller, "GET", "/pages/a")
    assert answer.status == 403
    assert "decisions/only-enforcement-points" in own.entry()["reasons"]


async def test_a_gateways_secret_signs_nothing(site: Site) -> None:
    thief = Client(site.doors, URL, site.clock)
    data = base64.urlsafe_b64decode(site.secret.removeprefix("egw_") + "=")
    private = ed25519.Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"everproof gateway\0" + data).digest())
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    now = int(site.clock.now().timestamp())
    claims = {"iss": "service:edge", "sub": "service:edge", "aud": URL, "iat": now, "exp": now + 60, "jti": "1"}
    key = OKPKey.import_key(pem)
    assert gateway_jwk(site.secret)["x"] == key.as_dict(private=False)["x"]
    assertion = jwt.encode({"alg": "Ed25519", "typ": "JWT"}, claims, key, algorithms=["Ed25519"])
    answer = await thief.credentials("service:edge", client_assertion=assertion)
    assert answer.status == 401


async def test_a_revoked_token_is_refused(own: Site) -> None:
    caller = await own.caller("crawler", "readers")
    assert (await own.asks(caller, "GET", "/pages/a")).status == 200
    await own.app.storage.write(lambda tx: roster.disable(tx, Ref("Service", "crawler"), "gone"))
    assert (await own.asks(caller, "GET", "/pages/a")).status == 401


async def test_observing_lets_pass_and_records_but_not_what_nobody_can_read(tmp_path: Path, prepared: Path) -> None:
    observing = {"everproof.toml": b'[doors]\ngateway-wiki = "observe"\n'}
    async with opened(tmp_path, prepared, **observing) as site:
        caller = await site.caller("crawler", "readers")
        answer = await site.asks(caller, "GET", "/admin")
        assert answer.status == 200
        assert site.entry()["decision"] == "would_deny"
        assert (await site.asks(caller, "GET", "/else")).status == 200
        assert (await site.asks(caller, "GET", "/pages/%2e%2e/admin")).status == 403
        assert (await site.asks(None, "GET", "/admin")).status == 401
