"""Claims as Okta documents them: an ID token of a custom authorization server."""

from typing import Any

import pytest

from everproof.identity.jose import JoseError
from everproof.integrations.okta.sign_on import CUT_OFF, OktaSignOn

CLAIMS: dict[str, Any] = {
    "ver": 1,
    "sub": "00uid4BxXw6I6TV4m0g3",
    "iss": "https://acme.okta.com/oauth2/default",
    "aud": "0oabzljloplQkzQv40g4",
    "iat": 1734552000,
    "exp": 1734555600,
    "jti": "ID.4eAWJOCMB3SX8XewDfVR",
    "auth_time": 1734551990,
    "amr": ["pwd", "mfa"],
    "idp": "00ok1u7AsAkrwdZL3z0x",
    "nonce": "n",
    "at_hash": "cpqKfdQA5eH891Ff5oJr_Q",
    "name": "Ada Lovelace",
    "preferred_username": "ada@example.com",
    "email": "ada@example.com",
    "email_verified": True,
    "sid": "102Ue2pVQBGTdK0CJK1wgkVAg",
    "groups": ["Everyone", "Engineering"],
}


def test_the_subject_is_the_users_id() -> None:
    assert OktaSignOn().subject(CLAIMS) == "00uid4BxXw6I6TV4m0g3"


def test_groups_by_their_names() -> None:
    assert OktaSignOn().groups(CLAIMS, "groups") == ("Everyone", "Engineering")
    assert OktaSignOn().groups(CLAIMS | {"groups": []}, "groups") == ()


def test_groups_that_may_have_been_cut_off_are_unknown() -> None:
    many = [f"g{number}" for number in range(CUT_OFF)]
    assert OktaSignOn().groups(CLAIMS | {"groups": many}, "groups") is None
    assert OktaSignOn().groups({name: one for name, one in CLAIMS.items() if name != "groups"}, "groups") is None


@pytest.mark.parametrize("groups", ["Engineering", {"a": 1}, [1], [""], ["x" * 600], [None]])
def test_groups_that_are_none(groups: object) -> None:
    with pytest.raises(JoseError, match=r"claims\.groups"):
        OktaSignOn().groups(CLAIMS | {"groups": groups}, "groups")
