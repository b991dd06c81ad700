import base64
import binascii
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import JWKRegistry

from everproof.identity.jose import (
    Algorithm,
    JoseError,
    compact,
    header_segment,
    read_jws,
    read_object,
    segment_bytes,
    verify_signature,
)
from everproof.kernel.canonical import b64url, from_b64url
from everproof.kernel.errors import InputError
from everproof.keys import PrivateKey, public_jwk

KEYS: dict[Algorithm, PrivateKey] = {
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize("algorithm", KEYS)
def test_joserfc_verifies_what_we_sign_and_we_what_it_signs(algorithm: Algorithm) -> None:
    key = KEYS[algorithm]
    ours = compact(header_segment({"alg": algorithm, "typ": "JWT"}), {"a": 1}, algorithm, key)
    oracle = JWKRegistry.import_key({**public_jwk(key.public_key())})
    assert json.loads(jws.deserialize_compact(ours, oracle, algorithms=[algorithm]).payload) == {"a": 1}
    private = JWKRegistry.key_types[str(public_jwk(key.public_key())["kty"])].import_key(key)  # type: ignore[arg-type]
    theirs = read_jws(jws.serialize_compact({"alg": algorithm}, b"payload", private, algorithms=[algorithm]))
    verify_signature(algorithm, key.public_key(), theirs.signing_input, theirs.signature)
    with pytest.raises(JoseError):
        verify_signature(algorithm, key.public_key(), theirs.signing_input + b"x", theirs.signature)


@pytest.mark.parametrize("algorithm", KEYS)
@pytest.mark.parametrize("other", KEYS)
def test_a_key_is_of_one_algorithm(algorithm: Algorithm, other: Algorithm) -> None:
    if algorithm != other:
        with pytest.raises(JoseError):
            verify_signature(algorithm, KEYS[other].public_key(), b"x", b"\1" * 64)


@given(st.text(alphabet="ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", max_size=12))
def test_base64url_has_one_spelling(segment: str) -> None:
    try:
        wanted = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except binascii.Error:
        wanted = None
    if wanted is None or base64.urlsafe_b64encode(wanted).decode().rstrip("=") != segment:
        for read, error in ((from_b64url, InputError), (segment_bytes, JoseError)):
            with pytest.raises(error):
                read(segment)
        return
    assert from_b64url(segment) == segment_bytes(segment) == wanted
    assert b64url(segment_bytes(segment)) == segment


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=4), st.booleans(), st.booleans())
def test_objects_are_read_as_python_reads_them(value: dict[str, Any], ascii_: bool, spaced: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_, separators=None if spaced else (",", ":"))
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return
    try:
        assert read_object(data, "x") == value
    except JoseError:
        assert "\\ud" in text.lower() or _depth(value) > 8


@given(st.dictionaries(st.text("ab", min_size=1, max_size=2), st.integers(0, 9), min_size=1, max_size=3), st.data())
def test_a_doubled_name_is_never_read(value: dict[str, int], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(value)))
    spelling = data.draw(st.sampled_from([name, "".join(f"\\u{ord(char):04x}" for char in name)]))
    body = json.dumps(value)[1:-1]
    nested = data.draw(st.booleans())
    text = f'{{{body}, "{spelling}": {data.draw(st.integers(0, 9))}}}'
    with pytest.raises(JoseError):
        read_object(f'{{"x": [{text}]}}'.encode() if nested else text.encode(), "x")


def _depth(value: Any) -> int:
    if isinstance(value, dict | list):
        return 1 + max(map(_depth, value.values() if isinstance(value, dict) else value), default=0)
    return 0
