"""Claims as Google documents them."""

from typing import Any

import pytest

from everproof.identity.jose import JoseError
from everproof.identity.sign_on.files import ProviderTable
from everproof.integrations.google.sign_on import GoogleSignOn

FILE = ProviderTable(provider="google", client_id="c", hosted_domains=("example.com", "example.org"))
CLAIMS: dict[str, Any] = {
    "iss": "https://accounts.google.com",
    "azp": "1234987819200.apps.googleusercontent.com",
    "sub": "10769150350006150715113082367",
    "aud": "1234987819200.apps.googleusercontent.com",
    "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q",
    "hd": "example.com",
    "email": "jsmith@example.com",
    "email_verified": True,
    "iat": 1353601026,
    "exp": 1353604926,
    "nonce": "0394852-3190485-2490358",
}


def test_the_subject_is_the_accounts_number() -> None:
    assert GoogleSignOn().subject(CLAIMS) == "10769150350006150715113082367"


@pytest.mark.parametrize("domain", ["example.com", "example.org", "Example.com"])
def test_an_account_that_the_organisation_manages(domain: str) -> None:
    GoogleSignOn().check_claims(FILE, CLAIMS | {"hd": domain})


@pytest.mark.parametrize(
    "domain", [None, "", "evil.example", "sub.example.com", "example.com.evil.example", ["example.com"], True]
)
def test_an_account_that_it_does_not(domain: object) -> None:
    """Also a private account, opened under an address of the organisation's."""
    with pytest.raises(JoseError, match=r"claims\.hd"):
        GoogleSignOn().check_claims(
            FILE, {name: one for name, one in (CLAIMS | {"hd": domain}).items() if one is not None}
        )


def test_groups_are_never_said() -> None:
    assert GoogleSignOn().groups(CLAIMS | {"groups": ["administrators"]}, "groups") is None
