from pathlib import Path
from typing import Any

import pytest

from everproof.identity.oauth import (
    InvalidClientError,
    InvalidRequestError,
    InvalidScopeError,
    InvalidTargetError,
    OAuthError,
    UnsupportedGrantError,
)
from everproof.identity.token_request import read_token_request
from tests.identity.tokens import ASSERTION, JWT, TokenService


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """One database: nothing here depends on which."""
    return f"sqlite:///{tmp_path / 'everproof.db'}"


@pytest.mark.parametrize(
    ("fields", "error", "place"),
    [
        ({"grant_type": None}, InvalidRequestError, "grant_type"),
        ({"grant_type": "password"}, UnsupportedGrantError, "grant_type"),
        ({"grant_type": "authorization_code"}, UnsupportedGrantError, "grant_type"),
        ({"subject_token": None}, InvalidRequestError, "subject_token"),
        ({"subject_token_type": None}, InvalidRequestError, "subject_token_type"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:saml2"}, InvalidRequestError, "subject_token_type"),
        ({"requested_token_type": "urn:x"}, InvalidRequestError, "requested_token_type"),
        ({"audience": "a b"}, InvalidTargetError, "audience"),
        ({"audience": "x" * 513}, InvalidTargetError, "audience"),
        ({"resource": "not-absolute"}, InvalidTargetError, "resource"),
        ({"resource": "https://a.example/#f"}, InvalidTargetError, "resource"),
        ({"audience": "x", "resource": "https://a.example"}, InvalidTargetError, "resource"),
        ({"scope": "a  b"}, InvalidScopeError, "scope"),
        ({"scope": 'a"b'}, InvalidScopeError, "scope"),
        ({"scope": " ".join(f"s{n}" for n in range(51))}, InvalidScopeError, "scope"),
        ({"expires_in": "-1"}, InvalidRequestError, "expires_in"),
        ({"expires_in": "1e9"}, InvalidRequestError, "expires_in"),
        ({"expires_in": "٣"}, InvalidRequestError, "expires_in"),
        ({"actor_token": "x"}, InvalidRequestError, "actor_token"),
        ({"client_assertion": "x"}, InvalidRequestError, "client_assertion"),
    ],
)
async def test_a_request_that_is_not_right_says_where(
    service: TokenService, job_token: str, fields: dict[str, Any], error: type[OAuthError], place: str
) -> None:
    good = {"subject_token": job_token, "subject_token_type": JWT}
    with pytest.raises(error) as refusal:
        await service.prepare(service.caller(), **{**good, **fields})
    assert refusal.value.place == place


def test_a_doubled_field_is_refused(service: TokenService) -> None:
    with pytest.raises(InvalidRequestError, match="twice"):
        read_token_request([("grant_type", "a"), ("grant_type", "b")])
    with pytest.raises(InvalidTargetError, match="one audience"):
        read_token_request([("grant_type", "a"), ("audience", "a"), ("audience", "b")])


async def test_a_client_without_assertion_is_refused(service: TokenService) -> None:
    for fields in ({}, {"client_assertion": "x"}, {"client_assertion_type": ASSERTION}, {"client_secret": "x"}):
        with pytest.raises(InvalidClientError):
            await service.prepare(service.caller(), grant_type="client_credentials", **fields)
