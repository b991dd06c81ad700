"""The token endpoint as its callers see it, over a whole server; their JOSE is joserfc's."""

import json
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from openapi_spec_validator import validate

from tests.issuer import github_claims
from tests.server.asgi import call
from tests.server.client import EXCHANGE, FORM, JWT_TYPE, TOKEN_TYPE
from tests.server.conftest import URL, Site

DAY = "/oauth/token"


def job_token(site: Site, **changes: Any) -> str:
    return site.issuer.mint(github_claims(site.clock.now(), audience=URL, **changes))


async def test_a_job_token_becomes_a_token_bound_to_the_callers_key(site: Site) -> None:
    client = site.client()
    answer = await client.exchange(job_token(site))
    assert answer.status == 200, answer.body
    assert answer.json["token_type"] == "DPoP"
    assert answer.json["issued_token_type"] == TOKEN_TYPE
    assert answer.headers["cache-control"] == "no-store"
    keys = KeySet.import_key_set((await call(site.doors, "GET", "/jwks.json")).json)
    token = jwt.decode(answer.json["access_token"], keys, algorithms=["ES256"])
    assert token.header["typ"] == "at+jwt"
    assert token.claims["cnf"] == {"jkt": client.thumbprint}
    assert token.claims["aud"] == token.claims["iss"] == URL
    me = await client.send("GET", "/v1/identity/me")
    assert me.json["principal"]["ref"]["type"] == "Job"


async def test_the_first_proof_is_answered_with_a_nonce(site: Site) -> None:
    client = site.client()
    form = f"grant_type={EXCHANGE}&subject_token={job_token(site)}&subject_token_type={JWT_TYPE}".encode()
    headers = {"content-type": FORM, "dpop": client.proof("POST", DAY)}
    answer = await call(site.doors, "POST", DAY, form, headers)
    assert (answer.status, answer.json["error"]) == (400, "use_dpop_nonce")
    assert answer.headers["dpop-nonce"]
    resource = await call(
        site.doors, "GET", "/v1/identity/me", headers={"authorization": "DPoP x.y.z", "dpop": client.proof("GET", "/")}
    )
    assert resource.status == 401
    assert resource.headers["www-authenticate"].startswith("DPoP ")


async def test_a_job_token_replayed_with_another_key_is_refused(site: Site) -> None:
    token = job_token(site)
    assert (await site.client().exchange(token)).status == 200
    thief = await site.client().exchange(token)
    assert (thief.status, thief.json["error"]) == (400, "invalid_request")
    assert "another key" in thief.json["error_description"]


async def test_a_stolen_token_is_worth_nothing_without_its_key(site: Site) -> None:
    owner, thief = site.client(), site.client()
    await owner.exchange(job_token(site))
    thief.token = owner.token
    assert (await thief.send("GET", "/v1/identity/me")).status == 401
    bearer = await call(site.doors, "GET", "/v1/identity/me", headers={"authorization": f"Bearer {owner.token}"})
    bare = await call(site.doors, "GET", "/v1/identity/me", headers={"authorization": f"DPoP {owner.token}"})
    assert (bearer.status, bare.status) == (401, 401)


async def test_a_proof_that_was_used_is_refused(site: Site) -> None:
    client = site.client()
    await client.exchange(job_token(site))
    proof = client.proof("GET", "/v1/identity/me", client.token)
    headers = {"authorization": f"DPoP {client.token}", "dpop": proof}
    assert (await call(site.doors, "GET", "/v1/identity/me", headers=headers)).status == 200
    assert (await call(site.doors, "GET", "/v1/identity/me", headers=headers)).status == 401


async def test_a_token_of_another_audience_is_refused(site: Site) -> None:
    token = site.issuer.mint(github_claims(site.clock.now(), audience="https://elsewhere.example"))
    answer = await site.client().exchange(token)
    assert (answer.status, answer.json["error"]) == (400, "invalid_request")


async def test_what_policy_does_not_give_is_refused_in_oauths_words(site: Site) -> None:
    answer = await site.client().exchange(job_token(site), audience="https://bank.example")
    assert (answer.status, answer.json["error"]) == (400, "invalid_request")
    assert answer.json["explanation"]
    store = await site.client().exchange(job_token(site), audience="https://store.example")
    assert store.status == 200


async def test_a_service_proves_itself_with_a_signed_assertion_once(site: Site) -> None:
    client = await site.enrolled("Service", "billing")
    used = client.assertion("service:billing")
    form = {
        "grant_type": "client_credentials",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": used,
    }
    assert (await client.take(form)).status == 200
    again = await client.take(form)
    assert again.status == 400
    stranger = await site.client().credentials("service:billing")
    assert (stranger.status, stranger.json["error"]) == (401, "invalid_client")


async def test_revocation_ends_the_token_and_what_came_of_it(site: Site) -> None:
    client = await site.enrolled("Service", "billing")
    parent = client.token
    child = await client.take({"grant_type": EXCHANGE, "subject_token": parent, "subject_token_type": TOKEN_TYPE})
    assert child.status == 200
    assert (await client.send("POST", "/oauth/revoke", form={"token": parent})).status == 200
    for dead in (parent, child.json["access_token"]):
        assert (await client.send("GET", "/v1/identity/me", token=dead)).status == 401


async def test_revoking_what_is_unknown_is_200_and_anothers_is_refused(site: Site) -> None:
    billing, gateway = await site.enrolled("Service", "billing"), await site.enrolled("Service", "gateway")
    assert (await billing.send("POST", "/oauth/revoke", form={"token": "garbage"})).status == 200
    answer = await billing.send("POST", "/oauth/revoke", form={"token": gateway.token})
    assert (answer.status, answer.json["error"]) == (400, "unauthorized_client")
    assert (await gateway.send("GET", "/v1/identity/me")).status == 200


async def test_introspection_tells_the_owner_and_enforcement_points_alone(site: Site) -> None:
    owner = await site.enrolled("Service", "billing")
    point = await site.enrolled("Service", "gateway", "enforcement-points")
    stranger = await site.enrolled("Service", "stranger")
    for asker in (owner, point):
        told = await asker.send("POST", "/oauth/introspect", form={"token": owner.token})
        assert told.json["active"] is True, told.body
        assert told.json["sub"] == "service:billing"
        assert told.json["cnf"] == {"jkt": owner.thumbprint}
    assert (await stranger.send("POST", "/oauth/introspect", form={"token": owner.token})).json == {"active": False}
    assert (await owner.send("POST", "/oauth/introspect", form={"token": "x"})).json == {"active": False}
    assert (await call(site.doors, "POST", "/oauth/introspect", b"token=x", {"content-type": FORM})).status == 401


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "invalid_request"),
        (b"grant_type=password&username=a", "unsupported_grant_type"),
        (f"grant_type={EXCHANGE}".encode(), "invalid_request"),
        (f"grant_type={EXCHANGE}&grant_type={EXCHANGE}".encode(), "invalid_request"),
        (f"grant_type={EXCHANGE}&subject_token=a.b.c&subject_token_type={JWT_TYPE}".encode(), "invalid_request"),
        (f"grant_type={EXCHANGE}&subject_token=x&subject_token_type=saml".encode(), "invalid_request"),
        (b"grant_type=client_credentials&client_id=service:x&client_secret=y", "invalid_client"),
        (b"%ff%fe", "invalid_request"),
        (b"\xff\xfe", "invalid_request"),
    ],
)
async def test_a_bad_request_is_an_oauth_error(site: Site, body: bytes, error: str) -> None:
    answer = await call(site.doors, "POST", DAY, body, {"content-type": FORM})
    assert answer.status in {400, 401}
    assert answer.json["error"] == error


async def test_metadata_is_complete_and_says_where_things_are(site: Site) -> None:
    for path in ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"):
        found = (await call(site.doors, "GET", path)).json
        assert found["issuer"] == URL
        assert found["token_endpoint"] == f"{URL}/oauth/token"
        assert "private_key_jwt" in found["token_endpoint_auth_methods_supported"]
        for name in ("jwks_uri", "introspection_endpoint", "revocation_endpoint"):
            path_of = found[name].removeprefix(URL)
            assert (await call(site.doors, "GET", path_of)).status in {200, 405}


async def test_the_whole_document_is_valid(site: Site) -> None:
    document = json.loads((await call(site.doors, "GET", "/openapi.json")).body)
    validate(document)
    token = document["paths"]["/oauth/token"]["post"]
    assert "application/x-www-form-urlencoded" in token["requestBody"]["content"]
    assert "security" not in token
