"""What the well-known addresses say is so (OpenID Connect Discovery 1.0, section 3; RFC 8414, section 2)."""

import pytest
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata  # type: ignore[import-untyped]
from authlib.oidc.discovery import OpenIDProviderMetadata  # type: ignore[import-untyped]

from tests.provider.site import URL, Site
from tests.server.asgi import call

pytestmark = pytest.mark.asyncio(loop_scope="module")

REQUIRED = {
    "issuer", "authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri", "response_types_supported",
    "subject_types_supported", "id_token_signing_alg_values_supported", "scopes_supported", "claims_supported",
}  # fmt: skip


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"])
async def test_the_document_conforms(site: Site, path: str) -> None:
    answer = await call(site.doors, "GET", path)
    assert answer.headers["content-type"] == "application/json"
    found = answer.json
    assert found.keys() >= REQUIRED
    assert found["issuer"] == URL
    AuthorizationServerMetadata(found).validate()
    OpenIDProviderMetadata(found).validate()


async def test_every_address_in_it_is_served(site: Site) -> None:
    found = (await call(site.doors, "GET", "/.well-known/openid-configuration")).json
    addresses = [value for name, value in found.items() if name.endswith(("_endpoint", "_uri"))]
    assert len(addresses) >= 9
    for address in addresses:
        assert address.startswith(URL)
        statuses = {(await call(site.doors, method, address.removeprefix(URL))).status for method in ("GET", "POST")}
        assert statuses - {404, 405}, address


async def test_the_weak_is_not_offered(site: Site) -> None:
    found = (await call(site.doors, "GET", "/.well-known/openid-configuration")).json
    assert found["response_types_supported"] == ["code"]
    assert found["code_challenge_methods_supported"] == ["S256"]
    assert "none" not in found["id_token_signing_alg_values_supported"]
    assert not {"password", "implicit"} & set(found["grant_types_supported"])
    assert found["request_uri_parameter_supported"] is False


async def test_the_keys_that_sign_are_published_with_their_algorithm(site: Site) -> None:
    keys = (await call(site.doors, "GET", "/jwks.json")).json["keys"]
    assert {one["alg"] for one in keys} == {"RS256", "ES256"}
    assert all("d" not in one and one["use"] == "sig" and one["kid"] for one in keys)
