"""Secrets of gateways: what is on record tells nothing of them, and nothing but them makes it."""

import pytest

from everproof.identity.gateways import gateway_jwk, new_secret
from everproof.identity.jwk import read_published_key
from everproof.kernel.errors import InputError


def test_a_secret_makes_one_public_key_and_no_private_one() -> None:
    secret, other = new_secret(), new_secret()
    jwk = gateway_jwk(secret)
    assert jwk == gateway_jwk(secret)
    assert jwk["x"] != gateway_jwk(other)["x"]
    assert "d" not in jwk
    assert not any(secret[4:12] in value for value in jwk.values())
    read_published_key(jwk)


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "egw_",
        "egw_" + "A" * 42,
        "egw_" + "A" * 44,
        "A" * 47,
        "egx_" + "A" * 43,
        "egw_" + "B" * 43,
        "egw_" + "=" * 43,
    ],
)
def test_what_is_no_secret_makes_no_key(wrong: str) -> None:
    with pytest.raises(InputError):
        gateway_jwk(wrong)
