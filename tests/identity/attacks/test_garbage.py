"""Whatever is sent, the answer is an error of ours with a place, never an exception that nobody expected."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from everproof.identity.dpop import Dpop
from everproof.identity.jose import JoseError, read_jws
from everproof.identity.jwk import read_key_set, read_proof_key, read_published_key
from everproof.identity.oauth import OAuthError
from everproof.identity.token_request import read_token_request
from everproof.kernel.canonical import b64url
from everproof.kernel.errors import Error, InputError
from tests.conftest import SettableClock
from tests.identity.trust import load

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
MEMBERS = ["alg", "typ", "kid", "jwk", "crit", "kty", "crv", "x", "y", "n", "e", "use", "key_ops", "keys", "d", "b64"]
GOOD = ["ES256", "RS256", "dpop+jwt", "EC", "RSA", "OKP", "P-256", "Ed25519", "AQAB", "sig", "AAAA"]
OBJECTS = st.dictionaries(st.sampled_from(MEMBERS), VALUES | st.sampled_from(GOOD), max_size=8)
NESTED = st.builds(lambda outer, jwk: {**outer, "jwk": jwk, "typ": "dpop+jwt"}, OBJECTS, OBJECTS)

relaxed = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def segment(value: Any) -> str:
    return b64url(json.dumps(value).encode("utf-8", "surrogatepass"))


@given(st.text(max_size=40) | st.text(alphabet="ab-_.=", max_size=20))
def test_any_text_as_a_token(text: str) -> None:
    with pytest.raises(JoseError):
        read_jws(text)


@relaxed
@given(header=NESTED, claims=OBJECTS | VALUES)
def test_any_header_in_a_proof(clock: SettableClock, header: dict[str, Any], claims: Any) -> None:
    with pytest.raises(Error):
        Dpop(clock).verify(f"{segment(header)}.{segment(claims)}.AAAA", method="GET", url="https://h/")


@given(OBJECTS | VALUES)
def test_anything_as_a_key(jwk: Any) -> None:
    for read in (read_published_key, read_proof_key):
        if read is read_proof_key and not isinstance(jwk, dict):
            continue
        with suppress(JoseError):
            read(jwk)


@given(st.binary(max_size=50) | st.builds(lambda keys: json.dumps({"keys": keys}).encode(), st.lists(OBJECTS | VALUES)))
def test_anything_as_a_key_set(data: bytes) -> None:
    with suppress(JoseError):
        read_key_set(data)


@given(st.lists(st.tuples(st.sampled_from(["grant_type", "scope", "audience", "resource", "expires_in"]), st.text())))
def test_anything_as_a_token_request(form: list[tuple[str, str]]) -> None:
    with suppress(OAuthError):
        read_token_request(form)


@given(st.text(alphabet='[]{}="\n a.1', max_size=40))
def test_anything_as_a_trust_file(text: str) -> None:
    with pytest.raises(InputError) as refusal:
        load(text)
    assert (refusal.value.place or "").startswith("trust/0.toml")
