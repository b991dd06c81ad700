"""Whatever is sent, it is refused in our own words or means what it says."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everproof.identity.jose import JoseError
from everproof.identity.sign_on import ProviderKind, SignOnError, read_sign_on
from everproof.identity.sign_on.attempts import SignOnAttempts
from everproof.identity.sign_on.metadata import read_metadata
from everproof.integrations.sign_on import provider_kinds
from everproof.kernel.errors import InputError
from everproof.server.sign_on import require_path

ISSUER = "https://id.example.com"
PROVIDER = read_sign_on(
    {"sign-on/acme.toml": f'provider = "oidc"\nissuer = "{ISSUER}"\nclient_id = "c"\n'.encode()}, provider_kinds()
)["acme"]
KINDS = [provider_kinds().named(name, place="") for name in ("okta", "entra", "keycloak", "google", "oidc")]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)
CLAIMS = st.dictionaries(
    st.sampled_from(["sub", "oid", "tid", "hd", "ver", "groups", "hasgroups", "_claim_names"]), JSON, max_size=6
)
FIELDS = [
    "issuer", "authorization_endpoint", "token_endpoint", "jwks_uri", "pushed_authorization_request_endpoint",
    "code_challenge_methods_supported", "response_types_supported", "token_endpoint_auth_methods_supported",
    "authorization_response_iss_parameter_supported", "end_session_endpoint",
]  # fmt: skip


class StillClock:
    def now(self) -> datetime:
        return datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


ATTEMPTS = SignOnAttempts(StillClock(), key=bytes(32))


def as_a_browser_reads(address: str) -> str:
    """What browsers leave out of an address, and what they take for a slash (WHATWG URL, basic parser)."""
    return "".join(one for one in address.strip() if one not in "\t\r\n").replace("\\", "/")


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="/\\.%:@?#&= \t\r\nabé\x00", max_size=14) | st.text(max_size=10).map(lambda text: f"/{text}"))
def test_a_way_on_is_on_this_server(text: str) -> None:
    try:
        path = require_path(text)
    except InputError:
        return
    there = urlsplit(urljoin("https://everproof.example/login/x", as_a_browser_reads(path)))
    assert (there.scheme, there.netloc) == ("https", "everproof.example")


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=50), st.text(max_size=300) | st.none())
def test_a_cookie_that_we_did_not_make_begins_nothing(state: str, value: str | None) -> None:
    with pytest.raises(SignOnError):
        ATTEMPTS.open(state, value)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_cookie_that_was_changed_anywhere_begins_nothing(data: st.DataObject) -> None:
    attempt = ATTEMPTS.new(PROVIDER, next_="/x")
    _, value = ATTEMPTS.seal(attempt)
    assert ATTEMPTS.open(attempt.state, value) == attempt
    at = data.draw(st.integers(0, len(value) - 1))
    other = data.draw(st.sampled_from("ABab09-_").filter(lambda one: one != value[at]))
    with pytest.raises(SignOnError):
        ATTEMPTS.open(attempt.state, value[:at] + other + value[at + 1 :])
    with pytest.raises(SignOnError):
        ATTEMPTS.open(ATTEMPTS.new(PROVIDER).state, value)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), JSON | st.just(ISSUER) | st.just([]), max_size=10))
def test_a_discovery_document_is_used_or_refused(document: dict[str, Any]) -> None:
    try:
        found = read_metadata(document, ISSUER, place="document")
    except InputError:
        return
    assert found.token_endpoint.startswith("https://")
    assert document["issuer"] == ISSUER


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@settings(max_examples=60, deadline=None)
@given(claims=CLAIMS)
def test_claims_say_who_it_is_or_nothing(kind: ProviderKind, claims: dict[str, Any]) -> None:
    try:
        subject = kind.subject(claims)
        groups = kind.groups(claims, "groups")
    except JoseError:
        return
    assert 0 < len(subject) <= 255
    assert subject.isascii()
    assert groups is None or set(groups) <= set(claims["groups"])
