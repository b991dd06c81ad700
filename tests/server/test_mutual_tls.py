"""Client certificates at the real door: who is believed, what is bound to them, and what changes under way."""

import asyncio
import json
import secrets
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from everproof.app import Everproof
from everproof.authorize.store import StoredBundle, save_bundle
from everproof.identity import roster
from everproof.identity.bindings import load_bindings
from everproof.identity.holding import hold, release
from everproof.identity.x509 import fingerprint
from everproof.integrations.issuers import issuer_kinds
from everproof.kernel.settings import Settings, Tls
from everproof.kernel.words import Ref
from everproof.policy import load_bundle
from everproof.policy.starter import starter_files
from everproof.server import protocol as protocol_module
from everproof.server.application import application
from everproof.server.http import Application, Call, Reply, Route
from everproof.server.listener import Listener
from everproof.server.tls import LEAF_FILE, Certificates
from everproof.storage import Transaction
from tests.conftest import SettableClock
from tests.pki import HOUR, Authority, Leaf, TrustDomain, spiffe_file, x509_file
from tests.server.asgi import call
from tests.server.client import Client
from tests.server.conftest import POLICY, URL

pytestmark = pytest.mark.asyncio(loop_scope="module")

ME = "/v1/identity/me"
EVALUATION = "/access/v1/evaluation"
QUESTION = {
    "subject": {"type": "Service", "id": "partner/billing"},
    "action": {"name": "secret:read"},
    "resource": {"type": "Secret", "id": "build/key", "properties": {"path": "build/key"}},
}


class Door:
    """A whole server on a real socket, trusted authorities, and clients with certificates."""

    def __init__(self, app: Everproof, certificates: Certificates, listener: Listener, folder: Path) -> None:
        self.app = app
        self.certificates = certificates
        self.listener = listener
        self.folder = folder
        self.port = 0
        self.begin()

    def begin(self) -> None:
        """Trust what is trusted at a test's start: new authorities, and nothing of the test before."""
        self.partner = TrustDomain("partner.example")
        self.edge = TrustDomain("edge.example")
        self.acme = Authority("Acme CA")
        self.files = starter_files() | {
            "policies/site.cedar": POLICY,
            "trust/partner.toml": spiffe_file("partner.example", more=f'audience = "{URL}"'),
            "trust/edge.toml": spiffe_file("edge.example", path="proxy").replace(b"builders", b"enforcement-points"),
            "trust/acme.toml": x509_file("acme"),
            "trust/acme.pem": self.acme.pem,
        }
        self.trust()

    def trust(self, **changes: bytes) -> None:
        bundles = {"trust/partner.json": self.partner.bundle(), "trust/edge.json": self.edge.bundle()}
        self.files |= bundles | changes
        self.app.identity.trust(load_bindings(self.files, issuer_kinds()))

    def context(self, leaf: Leaf | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.certificates.ca_file))
        if leaf is not None:
            context.load_cert_chain(leaf.write(self.folder))
        return context

    def client(self, leaf: Leaf | None = None, **headers: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=f"https://localhost:{self.port}", verify=self.context(leaf), headers=headers, timeout=10
        )

    async def token(self, client: httpx.AsyncClient, **fields: str) -> httpx.Response:
        form = {"grant_type": "client_credentials", **fields}
        return await client.post("/oauth/token", data=form)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Door]:
    clock = SettableClock()
    clock.time = datetime.now(UTC)
    settings = Settings(state=folder / "state", url=URL, tls=Tls(proxies=("service:edge/proxy", "service:gateway")))
    app = Everproof(settings, clock=clock)
    certificates = Certificates(settings, clock)
    listener = Listener(application(app))
    door = Door(app, certificates, listener, folder)

    def rule(tx: Transaction) -> None:
        save_bundle(tx, StoredBundle(load_bundle(door.files).digest, "", door.files))

    app.storage.write_now(rule)
    await app.start()
    clients = app.identity.certificates
    clients.on_change(lambda: certificates.trust(clients.anchors))
    door.port = await listener.listen("127.0.0.1", 0, certificates.context)
    yield door
    await listener.stop()
    await app.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Door]:
    async with opened(tmp_path_factory.mktemp("door")) as door:
        yield door


@pytest.fixture
def door(one: Door) -> Door:
    """One server for all tests here: starting one is what costs."""
    one.begin()
    return one


@pytest_asyncio.fixture(loop_scope="module")
async def later(tmp_path: Path) -> AsyncIterator[Door]:
    """A server of its own, for a test that lets time pass."""
    async with opened(tmp_path) as door:
        yield door


def clock_of(door: Door) -> Any:
    return door.app.storage.clock._clock


async def test_a_service_with_an_svid_of_a_foreign_trust_domain_asks_and_is_answered(door: Door) -> None:
    async with door.client(door.partner.svid("billing")) as client:
        answer = await client.post(EVALUATION, json=QUESTION)
        assert answer.json()["decision"] is True, answer.text
        assert "partner/billing" in (await client.get(ME)).text


async def test_without_a_certificate_nobody_is_asked_for_one_and_the_door_is_as_before(door: Door) -> None:
    async with door.client() as client:
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get(ME)).status_code == 401


async def test_a_certificate_of_an_authority_that_nobody_trusts_does_not_get_past_the_handshake(door: Door) -> None:
    async with door.client(TrustDomain("partner.example").svid("billing")) as client:
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError, httpx.WriteError)):
            await client.get(ME)


async def test_an_expired_certificate_does_not_get_past_the_handshake(door: Door) -> None:
    async with door.client(door.partner.svid("billing", life=timedelta(seconds=-1))) as client:
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError, httpx.WriteError)):
            await client.get(ME)


async def test_one_trust_domains_authority_is_not_believed_about_another(door: Door) -> None:
    """The handshake cannot tell: the authority is trusted for somebody."""
    async with door.client(door.acme.leaf("spiffe://partner.example/billing")) as client:
        answer = await client.get(ME)
    assert (answer.status_code, answer.json()["code"]) == (401, "bad-certificate")
    assert "leads to no authority" in answer.json()["detail"]


async def test_a_certificate_that_expires_while_its_connection_is_open_is_refused_on_it(later: Door) -> None:
    async with later.client(later.partner.svid("billing")) as client:
        assert (await client.get(ME)).status_code == 200
        clock_of(later).advance(HOUR + timedelta(minutes=10))
        answer = await client.get(ME)
    assert (answer.status_code, answer.json()["detail"]) == (401, "the certificate has expired")


async def test_a_certificate_whose_authority_is_withdrawn_is_refused_on_an_open_connection(door: Door) -> None:
    async with door.client(door.partner.svid("billing")) as client:
        assert (await client.get(ME)).status_code == 200
        door.partner = TrustDomain("partner.example")
        door.trust()
        assert (await client.get(ME)).status_code == 401
    async with door.client(door.partner.svid("billing")) as client:
        assert (await client.get(ME)).status_code == 200


async def test_a_revoked_certificate_is_refused_at_once_also_where_it_was_never_on_record(door: Door) -> None:
    leaf = door.partner.svid("billing")
    async with door.client(leaf) as client:
        assert (await client.get(ME)).status_code == 200
        await door.app.storage.write(lambda tx: roster.revoke_key(tx, fingerprint(leaf.der), "compromised"))
        answer = await client.get(ME)
    assert (answer.status_code, answer.json()["detail"]) == (401, "the certificate was revoked here")
    assert not door.app.identity.credentials.is_live(f"cert_{fingerprint(leaf.der)}")


async def test_trust_changes_for_the_next_handshake_and_open_connections_stay_open(door: Door) -> None:
    before = door.client()
    async with before:
        await before.get("/healthz")
        third = TrustDomain("third.example")
        door.trust(**{"trust/third.toml": spiffe_file("third.example"), "trust/third.json": third.bundle()})
        async with door.client(third.svid("billing")) as client:
            assert (await client.get(ME)).status_code == 200
        assert (await before.get("/healthz")).status_code == 200


async def test_a_new_certificate_of_ours_is_served_to_the_next_and_the_last_connection_stays(later: Door) -> None:
    async with later.client() as client:
        await client.get("/healthz")
        old = later.folder / "state" / LEAF_FILE
        first = old.read_bytes()
        clock_of(later).advance(timedelta(days=25))
        assert later.certificates.renew()
        assert old.read_bytes() != first
        assert (await client.get("/healthz")).status_code == 200
        served = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", later.port))
    assert served in old.read_text()


async def test_the_operators_certificate_is_reloaded_when_its_files_change(tmp_path: Path) -> None:
    web = Authority("Web CA")
    clock = SettableClock()
    clock.time = datetime.now(UTC)
    file = web.leaf(dns=["localhost"]).write(tmp_path, "web")
    certificates = Certificates(Settings(state=tmp_path, tls=Tls(certificate=file)), clock)
    assert not certificates.reload()
    listener = Listener(lambda *_: None)  # type: ignore[arg-type]
    port = await listener.listen("127.0.0.1", 0, certificates.context)
    first = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))
    assert first in file.read_text()
    web.leaf(dns=["localhost"]).write(tmp_path, "web")
    assert certificates.reload()
    second = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))
    assert second != first
    file.write_text("half of it")
    with pytest.raises(Exception, match="cannot be used"):
        certificates.reload()
    assert await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port)) == second
    await listener.stop()


async def test_no_session_with_a_certificate_can_be_resumed(door: Door) -> None:
    context = door.context(door.partner.svid("billing"))
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context.maximum_version = version
        reader, writer = await asyncio.open_connection("localhost", door.port, ssl=context)
        writer.write(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        session = writer.get_extra_info("ssl_object").session
        assert not session.has_ticket
        writer.close()


async def test_a_connection_goes_by_one_showing_of_a_certificate_for_an_hour_at_most(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol_module, "CERTIFIED_SECONDS", 0.0)
    context = door.context(door.partner.svid("billing"))
    reader, writer = await asyncio.open_connection("localhost", door.port, ssl=context)
    writer.write(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    await reader.readuntil(b"}")
    door.listener._tick()
    async with asyncio.timeout(5):
        await reader.read()
    writer.close()


async def test_a_route_may_ask_for_a_certificate_and_says_so(door: Door) -> None:
    async def vault(call: Call) -> Reply:
        """Vault."""
        assert call.certificate is not None
        return Reply.of(call.certificate.name)

    app = Application([Route("GET", "/vault", vault, door="t", needs_certificate=True)], title="t", version="1")
    listener = Listener(app)
    port = await listener.listen("127.0.0.1", 0, door.certificates.context)
    leaf = door.partner.svid("billing")
    for shown, status in ((leaf, 200), (None, 401)):
        async with door.client(shown) as client:
            answer = await client.get(f"https://localhost:{port}/vault")
            assert answer.status_code == status
            assert answer.json() == fingerprint(leaf.der) or answer.json()["code"] == "no-certificate"
    async with door.client() as client:
        told = (await client.get(f"https://localhost:{port}/openapi.json")).json()
    assert told["paths"]["/vault"]["get"]["security"] == [{"certificate": []}]
    await listener.stop()


# ── tokens that are bound to a certificate ───────────────────────────────────────────────────────────────────────────


async def test_a_certificate_gets_a_token_that_is_bound_to_it(door: Door) -> None:
    leaf = door.partner.svid("billing")
    async with door.client(leaf) as client:
        answer = (await door.token(client, client_id="service:partner/billing")).json()
        assert answer["token_type"] == "Bearer"
        bearer = {"authorization": f"Bearer {answer['access_token']}"}
        assert (await client.get(ME, headers=bearer)).status_code == 200
        told = door.app.identity.tokens.verify(answer["access_token"])
        assert (told.bound_by, told.key) == ("x5t#S256", fingerprint(leaf.der))
    async with door.client(door.partner.svid("billing")) as other:
        refused = await other.get(ME, headers=bearer)
        assert (refused.status_code, "another certificate" in refused.text) == (401, True)
    async with door.client() as nobody:
        assert (await nobody.get(ME, headers=bearer)).status_code == 401


async def test_revoking_the_certificate_ends_the_tokens_that_came_of_it(door: Door) -> None:
    leaf = door.partner.svid("billing")
    async with door.client(leaf) as client:
        answer = (await door.token(client)).json()
        (await door.token(client)).raise_for_status()
        ended = await door.app.storage.write(lambda tx: roster.revoke_key(tx, fingerprint(leaf.der), "other"))
        assert {answer["credential"], f"cert_{fingerprint(leaf.der)}"} <= set(ended)
        assert (await door.token(client)).status_code == 401


async def test_a_certificate_proves_only_the_client_that_it_is_of(door: Door) -> None:
    async with door.client(door.partner.svid("billing")) as client:
        answer = await door.token(client, client_id="service:edge/proxy")
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_a_token_of_a_dpop_key_is_not_taken_as_bearer_on_any_certificates_connection(door: Door) -> None:
    holder = await registered(door, f"gate-{secrets.token_hex(4)}")
    async with door.client(door.partner.svid("billing")) as thief:
        answer = await thief.get(ME, headers={"authorization": f"Bearer {holder.token}"})
    assert (answer.status_code, "bound to a key" in answer.text) == (401, True)


async def test_a_token_of_a_certificate_is_not_taken_with_a_dpop_proof(door: Door) -> None:
    async with door.client(door.partner.svid("billing")) as client:
        token = (await door.token(client)).json()["access_token"]
    thief = Client(door.listener._config.app, URL, clock_of(door))  # type: ignore[arg-type]
    thief.token = token
    answer = await thief.send("GET", ME)
    assert (answer.status, b"bound to a certificate" in answer.body) == (401, True)


async def test_a_token_of_a_certificate_begets_none_for_a_dpop_key(door: Door) -> None:
    exchange = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
    }
    async with door.client(door.partner.svid("billing")) as client:
        token = (await door.token(client)).json()["access_token"]
        again = await client.post("/oauth/token", data={**exchange, "subject_token": token})
        assert again.json()["token_type"] == "Bearer", again.text
    thief = Client(door.listener._config.app, URL, clock_of(door))  # type: ignore[arg-type]
    answer = await thief.take({**exchange, "subject_token": token})
    assert (answer.status, "another certificate" in answer.json["error_description"]) == (400, True)


async def test_the_metadata_says_that_tokens_are_bound_to_certificates(door: Door) -> None:
    async with door.client() as client:
        told = (await client.get("/.well-known/oauth-authorization-server")).json()
    assert told["tls_client_certificate_bound_access_tokens"] is True
    assert "tls_client_auth" in told["token_endpoint_auth_methods_supported"]


async def test_a_jwt_svid_becomes_a_token_for_the_first_key_alone(door: Door) -> None:
    app, clock = door.listener._config.app, clock_of(door)
    token = door.partner.jwt_svid("billing", URL, clock.now())
    first, thief = Client(app, URL, clock), Client(app, URL, clock)  # type: ignore[arg-type]
    assert (await first.exchange(token)).status == 200
    assert (await first.send("GET", ME)).status == 200
    assert (await thief.exchange(token)).status == 400


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"aud": ["https://everproof.example", "x"]}, "several"),
        ({"aud": "sts.amazonaws.com"}, "another audience"),
        ({"iat": None}, "whole seconds"),
        ({"exp": 1}, "expired"),
        ({"sub": "spiffe://partner.example"}, "no workload"),
        ({"sub": "spiffe://partner.example/../billing"}, "segments"),
        ({"sub": "spiffe://edge.example/proxy"}, "are not taken"),
        ({"sub": "spiffe://third.example/x"}, "not trusted"),
        ({"sub": "spiffe://partner.example/payroll"}, "no trust binding"),
    ],
)
async def test_a_jwt_svid_that_is_not_for_us_is_refused(door: Door, changes: dict[str, Any], said: str) -> None:
    clock = clock_of(door)
    client = Client(door.listener._config.app, URL, clock)  # type: ignore[arg-type]
    answer = await client.exchange(door.partner.jwt_svid("billing", URL, clock.now(), **changes))
    assert (answer.status, said in answer.body.decode()) == (400, True), answer.body


# ── what a proxy says ────────────────────────────────────────────────────────────────────────────────────────────────


async def registered(door: Door, name: str) -> Client:
    client = Client(door.listener._config.app, URL, clock_of(door))  # type: ignore[arg-type]
    ref = Ref("Service", name)
    await door.app.storage.write(
        lambda tx: roster.register_client(tx, ref, [client.jwk], groups=("enforcement-points",))
    )
    assert (await client.credentials(f"service:{name}")).status == 200
    return client


def xfcc(leaf: Leaf, **more: str) -> str:
    told = {"Cert": f'"{quote(leaf.pem, safe="")}"', **more}
    return ";".join(f"{key}={value}" for key, value in told.items())


@pytest.mark.parametrize("header", ["x-forwarded-client-cert", "ssl-client-cert"])
@pytest.mark.parametrize("who", ["nobody", "a service with a certificate", "a service with a token"])
async def test_a_forged_header_is_refused_and_told_why(door: Door, header: str, who: str) -> None:
    victim = door.partner.svid("billing")
    value = xfcc(victim) if header.startswith("x-") else quote(victim.pem, safe="")
    if who == "a service with a token":
        holder = await registered(door, f"gate-{secrets.token_hex(4)}")
        headers = {"authorization": f"DPoP {holder.token}", "dpop": holder.proof("GET", ME, holder.token)}
        answer = await call(door.listener._config.app, "GET", ME, b"", {**headers, header: value})  # type: ignore[arg-type]
        status, told = answer.status, answer.json
    else:
        leaf = None if who == "nobody" else door.acme.leaf(dns=["batch.acme.example"])
        async with door.client(leaf, **{header: value}) as client:
            got = await client.get(ME)
        status, told = got.status_code, got.json()
    assert (status, told["code"]) == (403, "forwarded-certificate")
    assert "may not say with which certificate" in told["detail"]
    assert "tls.proxies" in told["todo"]


async def test_a_forged_header_at_the_token_endpoint_gets_no_token(door: Door) -> None:
    for leaf in (None, door.acme.leaf(dns=["batch.acme.example"])):
        async with door.client(leaf, **{"x-forwarded-client-cert": xfcc(door.partner.svid("billing"))}) as client:
            answer = await door.token(client)
            assert answer.status_code >= 400
            assert "may not say" in answer.text


async def test_a_named_proxy_says_with_which_certificate_its_client_came(door: Door) -> None:
    leaf = door.partner.svid("billing")
    async with door.client(door.edge.svid("proxy"), **{"x-forwarded-client-cert": xfcc(leaf)}) as proxy:
        answer = await proxy.get(ME)
        assert "partner/billing" in answer.text, answer.text
        told = (await door.token(proxy)).json()
        assert told["token_type"] == "Bearer", told
        bearer = {"authorization": f"Bearer {told['access_token']}"}
        assert (await proxy.get(ME, headers=bearer)).status_code == 200
        other = {**bearer, "x-forwarded-client-cert": xfcc(door.partner.svid("billing"))}
        assert (await proxy.get(ME, headers=other)).status_code == 401


async def test_a_client_without_a_certificate_is_not_taken_for_the_proxy_it_came_by(door: Door) -> None:
    async with door.client(door.edge.svid("proxy")) as proxy:
        answer = await proxy.get(ME)
        assert (answer.status_code, "nobody but its clients" in answer.text) == (401, True)
        assert (await door.token(proxy)).status_code == 401


async def test_a_proxy_that_is_contained_vouches_for_nobody(door: Door) -> None:
    proxies, header = Ref("Service", "edge/proxy"), {"x-forwarded-client-cert": xfcc(door.partner.svid("billing"))}
    async with door.client(door.edge.svid("proxy"), **header) as proxy:
        assert (await proxy.get(ME)).status_code == 200
        await door.app.storage.write(lambda tx: hold(tx, proxies, "test"))
        answer = await proxy.get(ME)
        assert (answer.status_code, "is contained" in answer.text) == (403, True)
        await door.app.storage.write(lambda tx: release(tx, proxies))
        assert (await proxy.get(ME)).status_code == 200


async def test_whoever_is_contained_is_denied_whatever_certificate_it_shows(door: Door) -> None:
    billing = Ref("Service", "partner/billing")
    async with door.client(door.partner.svid("billing")) as client:
        await door.app.storage.write(lambda tx: hold(tx, billing, "test"))
        answer = (await client.post(EVALUATION, json=QUESTION)).json()
        assert (answer["decision"], "is contained" in str(answer)) == (False, True)
        assert (await door.token(client)).status_code == 400
        await door.app.storage.write(lambda tx: release(tx, billing))
        assert (await client.post(EVALUATION, json=QUESTION)).json()["decision"] is True


async def test_a_proxy_that_forwards_itself_is_refused(door: Door) -> None:
    leaf = door.edge.svid("proxy")
    async with door.client(leaf, **{"x-forwarded-client-cert": xfcc(leaf)}) as proxy:
        assert (await proxy.get(ME)).status_code == 403


async def test_a_proxy_with_a_token_says_with_which_certificate_its_client_came(door: Door) -> None:
    gateway = await registered(door, "gateway")
    headers = {
        "authorization": f"DPoP {gateway.token}",
        "dpop": gateway.proof("GET", ME, gateway.token),
        "ssl-client-cert": quote(door.partner.svid("billing").pem, safe=""),
    }
    answer = await call(door.listener._config.app, "GET", ME, b"", headers)  # type: ignore[arg-type]
    assert (answer.status, b"partner/billing" in answer.body) == (200, True), answer.body


async def test_a_proxy_is_not_believed_about_a_certificate_that_no_authority_vouches_for(door: Door) -> None:
    forged = TrustDomain("partner.example").svid("billing")
    async with door.client(door.edge.svid("proxy"), **{"x-forwarded-client-cert": xfcc(forged)}) as proxy:
        answer = await proxy.get(ME)
    assert (answer.status_code, answer.json()["code"]) == (401, "bad-certificate")


async def test_what_the_client_itself_put_into_the_header_is_refused(door: Door) -> None:
    """Envoy set to append: the client's own element stands left of the one that the proxy made of it."""
    victim, client_ = door.partner.svid("billing"), door.acme.leaf(dns=["batch.acme.example"])
    header = f"{xfcc(victim)},{xfcc(client_)}"
    async with door.client(door.edge.svid("proxy"), **{"x-forwarded-client-cert": header}) as proxy:
        answer = await proxy.get(ME)
    assert (answer.status_code, "no proxy says who its client is" in answer.text) == (400, True)


async def test_two_proxies_in_a_row(door: Door) -> None:
    header = f"{xfcc(door.partner.svid('billing'))},{xfcc(door.edge.svid('proxy'))}"
    async with door.client(door.edge.svid("proxy"), **{"x-forwarded-client-cert": header}) as proxy:
        assert "partner/billing" in (await proxy.get(ME)).text


async def test_the_decision_records_by_whom_the_certificate_was_forwarded(door: Door) -> None:
    header = {"x-forwarded-client-cert": xfcc(door.partner.svid("billing"))}
    async with door.client(door.edge.svid("proxy"), **header) as proxy:
        answer = await proxy.post(EVALUATION, json=QUESTION)
    assert answer.json()["decision"] is True, answer.text
    body = json.loads(bytes(door.app.ledger.read(answer.json()["context"]["index"]).body))
    assert body["proof"]["kind"] == "forwarded-certificate"
    assert body["proof"]["vouched_by"] == {"type": "Service", "id": "edge/proxy"}


async def test_a_key_that_differs_from_the_certificates_does_not_get_past_the_handshake(door: Door) -> None:
    leaf, other = door.partner.svid("billing"), door.partner.svid("billing")
    file = door.folder / "mixed.pem"
    key = other.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_text(leaf.pem + key.decode())
    with pytest.raises(ssl.SSLError):
        door.context().load_cert_chain(file)
