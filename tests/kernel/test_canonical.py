import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from everproof.kernel.canonical import b64url, encode, from_b64url
from everproof.kernel.errors import InputError

KEYS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4))


@given(VALUES)
def test_the_encoding_is_rfc_8785_on_the_values_we_use(value: object) -> None:
    assert encode(value) == rfc8785.dumps(value)  # type: ignore[arg-type]  # its type knows no object


@given(st.binary(max_size=64))
def test_base64url_comes_back(data: bytes) -> None:
    assert from_b64url(b64url(data)) == data


@pytest.mark.parametrize("text", ["YQ==", "YR", "a", "Y+==", "YQ\n", " YQ", "é"])
def test_another_spelling_of_base64url_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        from_b64url(text)
