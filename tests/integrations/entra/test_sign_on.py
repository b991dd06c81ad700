"""Claims as Microsoft documents them: a version 2.0 ID token, and what stands there where groups do not fit."""

from typing import Any

import pytest

from everproof.identity.jose import JoseError
from everproof.identity.sign_on.files import ProviderTable
from everproof.integrations.entra.sign_on import EntraSignOn

TENANT = "6f1c2d3e-4a5b-4c6d-8e7f-901234567890"
FILE = ProviderTable(provider="entra", client_id="c", tenant=TENANT)
CLAIMS: dict[str, Any] = {
    "ver": "2.0",
    "iss": f"https://login.microsoftonline.com/{TENANT}/v2.0",
    "sub": "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ",
    "aud": "6cb04018-a3f5-46a7-b995-940c78f5aef3",
    "exp": 1536361411,
    "iat": 1536274711,
    "nbf": 1536274711,
    "name": "Abe Lincoln",
    "preferred_username": "abeli@microsoft.com",
    "oid": "00000000-0000-0000-66f3-3332eca7ea81",
    "tid": TENANT,
    "nonce": "123523",
    "aio": "Df2UVXL1ix!lMCWMSOJBcFatzcGfvFGhjKv8q5g0x732dR5MB5BisvGQO7YWByjd8iQDLq",
    "groups": ["b0a1c2d3-0000-4000-8000-000000000001", "b0a1c2d3-0000-4000-8000-000000000002"],
}
WITHOUT = {name: one for name, one in CLAIMS.items() if name != "groups"}
ELSEWHERE = {
    "_claim_names": {"groups": "src1"},
    "_claim_sources": {
        "src1": {"endpoint": f"https://graph.microsoft.com/v1.0/users/{CLAIMS['oid']}/getMemberObjects"}
    },
}


def test_the_subject_is_the_object_id_and_neither_the_pairwise_one_nor_a_name() -> None:
    assert EntraSignOn().subject(CLAIMS) == "00000000-0000-0000-66f3-3332eca7ea81"


def test_the_tenant_is_ours() -> None:
    EntraSignOn().check_claims(FILE, CLAIMS)
    with pytest.raises(JoseError, match="tenant"):
        EntraSignOn().check_claims(FILE, CLAIMS | {"tid": "11111111-2222-4333-8444-555555555555"})
    with pytest.raises(JoseError, match="version"):
        EntraSignOn().check_claims(FILE, CLAIMS | {"ver": "1.0"})


def test_groups_by_their_object_ids() -> None:
    assert EntraSignOn().groups(CLAIMS, "groups") == tuple(CLAIMS["groups"])


@pytest.mark.parametrize("more", [ELSEWHERE, {"hasgroups": True}, {"hasgroups": "true"}, {}])
def test_groups_that_did_not_fit_are_unknown(more: dict[str, Any]) -> None:
    assert EntraSignOn().groups(WITHOUT | more, "groups") is None


def test_groups_beside_the_word_that_there_are_more_are_unknown() -> None:
    assert EntraSignOn().groups(CLAIMS | ELSEWHERE, "groups") is None
