"""Signing in by way of a relying party that is not ours: Authlib, from discovery to the checked id_token."""

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.provider.site import URL, Person, Site
from tests.server.asgi import call

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_person_signs_in_to_a_confidential_client_with_rs256(site: Site, alice: Person) -> None:
    grafana = site.relying_party("grafana")
    found = await grafana.sign_in(alice)
    assert found["token_type"] == "Bearer"
    claims = found["userinfo"]
    assert (claims["iss"], claims["sub"], claims["aud"]) == (URL, f"user:{alice.id}", "grafana")
    assert claims["email"] == f"{alice.id}@example.org"
    assert claims["groups"] == ["everyone", "platform"]
    assert claims["preferred_username"] == alice.id
    keys = KeySet.import_key_set((await call(site.doors, "GET", "/jwks.json")).json)
    assert jwt.decode(found["id_token"], keys, algorithms=["RS256"]).header["alg"] == "RS256"
    told = await grafana.app.userinfo(token=found)
    assert told["sub"] == f"user:{alice.id}"
    assert told["groups"] == ["everyone", "platform"]


async def test_a_person_signs_in_to_a_public_client_with_es256(site: Site, alice: Person) -> None:
    argo = site.relying_party("argo-cd", secret=None)
    found = await argo.sign_in(alice)
    keys = KeySet.import_key_set((await call(site.doors, "GET", "/jwks.json")).json)
    assert jwt.decode(found["id_token"], keys, algorithms=["ES256"]).claims["groups"] == ["platform"]
