"""Claims as Keycloak's mappers make them."""

from typing import Any

from everproof.integrations.keycloak.sign_on import KeycloakSignOn

CLAIMS: dict[str, Any] = {
    "exp": 1763733000,
    "iat": 1763732700,
    "auth_time": 1763732699,
    "jti": "onrtac:0a1b2c3d-1111-4222-8333-444455556666",
    "iss": "https://sso.example.com/realms/acme",
    "aud": "everproof",
    "sub": "f:8d1a:4c9a2f0e-7a60-4d3b-9d2e-0c1b2a3f4e5d",
    "typ": "ID",
    "azp": "everproof",
    "nonce": "n",
    "sid": "b3e1f2a4-5566-4777-8888-99aabbccddee",
    "at_hash": "x",
    "acr": "1",
    "email_verified": True,
    "name": "Ada Lovelace",
    "preferred_username": "ada",
    "email": "ada@example.com",
    "groups": ["/engineering/platform", "/staff"],
}


def test_the_subject_is_the_users_id_also_where_a_store_of_users_gives_it() -> None:
    assert KeycloakSignOn().subject(CLAIMS) == "f:8d1a:4c9a2f0e-7a60-4d3b-9d2e-0c1b2a3f4e5d"


def test_groups_by_their_paths() -> None:
    assert KeycloakSignOn().groups(CLAIMS, "groups") == ("/engineering/platform", "/staff")
    assert KeycloakSignOn().groups({"sub": "x"}, "groups") is None
