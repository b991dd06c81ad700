from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from everproof.identity.client_assertion import ClientKey
from everproof.identity.jwk import VerificationKey
from everproof.identity.oauth import InvalidClientError
from tests.identity.caller import TOKEN_ENDPOINT, Caller
from tests.identity.tokens import ISSUER, TokenService

BILLING = "service:billing"


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """One database: nothing here depends on which."""
    return f"sqlite:///{tmp_path / 'everproof.db'}"


@pytest.fixture
def billing(service: TokenService) -> Caller:
    caller = service.caller()
    service.records.enrol(caller, "billing")
    return caller


def refused(service: TokenService, assertion: str, match: str, **changes: Any) -> None:
    with pytest.raises(InvalidClientError, match=match):
        service.assertions.verify(assertion, **changes)


def test_a_client_proves_itself_with_its_key(service: TokenService, billing: Caller) -> None:
    for audience in (ISSUER, TOKEN_ENDPOINT, [ISSUER]):
        found = service.assertions.verify(billing.assertion(BILLING, audience=audience), client_id=BILLING)
        assert found.client == BILLING
        assert found.proof.key == billing.thumbprint


def test_any_of_its_keys_will_do(service: TokenService, billing: Caller) -> None:
    other = Caller(service.clock, key=ed25519.Ed25519PrivateKey.generate())
    key = VerificationKey("EdDSA", other.key.public_key())
    service.records.clients[BILLING][1].append(ClientKey(other.thumbprint, key, "cred_machine"))
    assert service.assertions.verify(other.assertion(BILLING)).proof.credential == "cred_machine"
    service.assertions.verify(billing.assertion(BILLING))


def test_another_key_is_refused_like_another_client(service: TokenService, billing: Caller) -> None:
    """An answer that differed would tell which clients there are."""
    texts = []
    for assertion in (service.caller().assertion(BILLING), billing.assertion("service:nobody")):
        with pytest.raises(InvalidClientError) as refusal:
            service.assertions.verify(assertion)
        texts.append(str(refusal.value))
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"aud": "https://other.example"}, "another audience"),
        ({"aud": [ISSUER, "https://other.example"]}, "another audience"),
        ({"aud": ISSUER + "/"}, "another audience"),
        ({"aud": None}, "another audience"),
        ({"aud": []}, "another audience"),
        ({"iss": "service:other"}, "one client"),
        ({"iss": None}, "one client"),
        ({"sub": 7}, "one client"),
        ({"jti": None}, "no id"),
        ({"jti": ""}, "no id"),
        ({"iat": None}, "claims.iat"),
        ({"exp": None}, "claims.exp"),
    ],
)
def test_an_assertion_that_is_not_for_this_request_is_refused(
    service: TokenService, billing: Caller, changes: dict[str, Any], match: str
) -> None:
    refused(service, billing.assertion(BILLING, **changes), match)


def test_an_assertion_lives_minutes(service: TokenService, billing: Caller) -> None:
    now = int(service.clock.now().timestamp())
    service.assertions.verify(billing.assertion(BILLING, exp=now + 300))
    refused(service, billing.assertion(BILLING, exp=now + 301), "too long")
    assertion = billing.assertion(BILLING)
    service.clock.advance(timedelta(seconds=90))
    refused(service, assertion, "expired")


def test_an_assertion_of_another_client_is_refused(service: TokenService, billing: Caller) -> None:
    refused(service, billing.assertion(BILLING), "one client", client_id="service:other")


def test_a_proof_or_a_token_is_no_assertion(service: TokenService, billing: Caller) -> None:
    refused(service, billing.proof(), "another purpose")
    for garbage in ("", "a.b.c", "A" * 9_000, "..", billing.assertion(BILLING) + "="):
        refused(service, garbage, "client_assertion")


def test_no_error_carries_the_assertion(service: TokenService, billing: Caller) -> None:
    assertion = billing.assertion(BILLING, audience="x")
    with pytest.raises(InvalidClientError) as refusal:
        service.assertions.verify(assertion)
    assert assertion not in repr(refusal.value)
