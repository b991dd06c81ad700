import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from everproof.identity.dpop import NONCE_PERIOD, Dpop, DpopError, DpopNonceError, normal_url
from everproof.kernel.canonical import b64url
from everproof.kernel.errors import UnavailableError
from tests.conftest import SettableClock
from tests.identity.caller import TOKEN_ENDPOINT, Caller


@pytest.fixture
def dpop(clock: SettableClock) -> Dpop:
    return Dpop(clock)


@pytest.fixture
def caller(clock: SettableClock, dpop: Dpop) -> Caller:
    return Caller(clock, dpop)


@pytest.fixture
def verify(dpop: Dpop) -> Callable[..., str]:
    def call(proof: str, **changes: Any) -> str:
        return dpop.verify(proof, **{"method": "POST", "url": TOKEN_ENDPOINT, **changes})

    return call


@pytest.fixture
def refused(caller: Caller, verify: Callable[..., str]) -> Callable[..., None]:
    """Checks that an honest proof is taken and the given one is not."""

    def call(proof: str, match: str, **changes: Any) -> None:
        assert verify(caller.proof()) == caller.thumbprint
        with pytest.raises(DpopError, match=match):
            verify(proof, **changes)

    return call


def test_a_proof_names_its_key(caller: Caller, verify: Callable[..., str]) -> None:
    assert verify(caller.proof()) == caller.thumbprint


def test_ed25519_is_a_key_too(clock: SettableClock, dpop: Dpop, verify: Callable[..., str]) -> None:
    caller = Caller(clock, dpop, key=ed25519.Ed25519PrivateKey.generate())
    assert verify(caller.proof()) == caller.thumbprint
    assert verify(caller.proof(header={"alg": "Ed25519"})) == caller.thumbprint


def test_a_replayed_proof_is_refused(caller: Caller, verify: Callable[..., str], clock: SettableClock) -> None:
    proof = caller.proof()
    verify(proof)
    for _ in range(8):
        with pytest.raises(DpopError, match=r"used before|s old"):
            verify(proof)
        clock.advance(timedelta(seconds=20))


def test_a_proof_made_twice_from_one_id_is_refused(caller: Caller, verify: Callable[..., str]) -> None:
    verify(caller.proof(jti="same"))
    with pytest.raises(DpopError, match="used before"):
        verify(caller.proof(jti="same"))


def test_two_keys_may_use_the_same_id(clock: SettableClock, dpop: Dpop, verify: Callable[..., str]) -> None:
    for caller in (Caller(clock, dpop), Caller(clock, dpop)):
        verify(caller.proof(jti="same"))


def test_a_proof_for_another_request_is_refused(caller: Caller, refused: Callable[..., None]) -> None:
    refused(caller.proof("GET"), "another method")
    refused(caller.proof("post"), "another method")
    for url in (
        "https://evil.example/token",
        f"{TOKEN_ENDPOINT}/",
        "http://everproof.example/token",
        "",
        "::",
        7,
        None,
    ):
        refused(caller.proof(url=url), "another address")
    refused(caller.proof(url="https://everproof.example:8443/token"), "another address")
    refused(caller.proof(url="https://[::1/token"), "another address")


@pytest.mark.parametrize(
    "url",
    [
        "HTTPS://EVERPROOF.example/token", "https://everproof.example:443/token", f"{TOKEN_ENDPOINT}?x=1",
        f"{TOKEN_ENDPOINT}#x",
    ],
)  # fmt: skip
def test_an_address_in_another_spelling_is_the_same(caller: Caller, verify: Callable[..., str], url: str) -> None:
    verify(caller.proof(url=url))


def test_a_path_keeps_its_case() -> None:
    assert normal_url("https://h/Token") != normal_url("https://h/token")
    assert normal_url("https://h") == normal_url("https://h/")


def test_a_stolen_token_with_another_key_is_refused(
    clock: SettableClock, dpop: Dpop, caller: Caller, verify: Callable[..., str]
) -> None:
    token = "token-bound-to-the-caller"
    assert verify(caller.proof(token=token), token=token, key=caller.thumbprint) == caller.thumbprint
    with pytest.raises(DpopError, match="another key"):
        verify(Caller(clock, dpop).proof(token=token), token=token, key=caller.thumbprint)


def test_a_proof_for_another_token_is_refused(caller: Caller, refused: Callable[..., None]) -> None:
    refused(caller.proof(token="other"), "not for this token", token="mine")
    refused(caller.proof(), "not for this token", token="mine")
    lax = hashlib.sha256(b"mine").hexdigest()
    refused(caller.proof(ath=lax), "not for this token", token="mine")


def test_a_proof_without_nonce_is_told_the_nonce(caller: Caller, verify: Callable[..., str], dpop: Dpop) -> None:
    for nonce in (None, "", "invented", 7, [dpop.nonce]):
        with pytest.raises(DpopNonceError) as challenge:
            verify(caller.proof(nonce=nonce))
        assert challenge.value.nonce == dpop.nonce
        assert challenge.value.oauth_error == "use_dpop_nonce"
        assert challenge.value.headers["dpop-nonce"] == dpop.nonce
    verify(caller.proof(nonce=dpop.nonce))


def test_a_nonce_of_another_process_is_refused(
    clock: SettableClock, caller: Caller, verify: Callable[..., str]
) -> None:
    """What another replica saw, or this one before its restart, is not accepted here."""
    other = Dpop(clock)
    with pytest.raises(DpopNonceError):
        verify(caller.proof(nonce=other.nonce))


def test_a_nonce_serves_for_two_periods_and_no_longer(
    clock: SettableClock, caller: Caller, dpop: Dpop, verify: Callable[..., str]
) -> None:
    nonce = dpop.nonce
    clock.advance(NONCE_PERIOD)
    verify(caller.proof(nonce=nonce))
    assert dpop.nonce != nonce
    assert dpop.nonce[:8] == nonce[:8], "it names the process"
    clock.advance(NONCE_PERIOD)
    with pytest.raises(DpopNonceError):
        verify(caller.proof(nonce=nonce))
    quiet = dpop.nonce
    clock.advance(NONCE_PERIOD * 3)
    with pytest.raises(DpopNonceError):
        verify(caller.proof(nonce=quiet))


def test_a_proof_made_long_ago_or_for_later_is_refused(
    clock: SettableClock, caller: Caller, refused: Callable[..., None]
) -> None:
    now = int(clock.now().timestamp())
    for issued in (now - 91, now + 31, str(now), float(now), None, True, -1):
        refused(caller.proof(iat=issued), "s old|whole seconds")


def test_a_proof_at_the_edge_of_the_clocks_is_taken(
    clock: SettableClock, caller: Caller, verify: Callable[..., str]
) -> None:
    now = int(clock.now().timestamp())
    verify(caller.proof(iat=now - 90))
    verify(caller.proof(iat=now + 30))


@pytest.mark.parametrize("jti", [None, "", 7, "x" * 257, ["a"]])
def test_a_proof_without_a_sensible_id_is_refused(caller: Caller, refused: Callable[..., None], jti: Any) -> None:
    refused(caller.proof(jti=jti), "DPoP jti")


def test_a_token_of_another_type_is_no_proof(caller: Caller, refused: Callable[..., None]) -> None:
    for type_ in ("JWT", "at+jwt", "DPOP+JWT", None):
        refused(caller.proof(header={"typ": type_}), "not a DPoP proof")


def test_a_proof_signed_by_another_key_than_it_brings_is_refused(
    clock: SettableClock, dpop: Dpop, caller: Caller, refused: Callable[..., None]
) -> None:
    refused(Caller(clock, dpop).proof(header={"jwk": caller.jwk}), "signature")


def test_a_proof_that_gives_its_private_key_away_is_refused(caller: Caller, refused: Callable[..., None]) -> None:
    refused(caller.proof(header={"jwk": {**caller.jwk, "d": "AA"}}), "private key")


def test_a_proof_with_a_key_of_another_kind_is_refused(caller: Caller, refused: Callable[..., None]) -> None:
    point = b64url(b"\x01" * 32)
    keys: tuple[Any, ...] = (
        {"kty": "oct", "k": "AA"}, {"kty": "RSA", "n": "AA", "e": "AQAB"}, {**caller.jwk, "crv": "P-384"},
        {**caller.jwk, "crv": "secp256k1"}, {**caller.jwk, "x": point}, {**caller.jwk, "x": None},
        {**caller.jwk, "x": caller.jwk["x"] + "="}, {**caller.jwk, "x": "AA" + caller.jwk["x"]}, {**caller.jwk, "x": 7},
        {**caller.jwk, "use": "enc"}, {**caller.jwk, "alg": "ES384"}, {**caller.jwk, "alg": ["ES256"]},
        {**caller.jwk, "key_ops": ["sign"]}, {"kty": "OKP", "crv": "Ed25519", "x": "AA"},
        {"kty": "OKP", "crv": "X25519"}, {}, [], "x", None,
    )  # fmt: skip
    for jwk in keys:
        refused(caller.proof(header={"jwk": jwk}), "key")


def test_the_algorithm_is_the_keys(caller: Caller, refused: Callable[..., None]) -> None:
    for algorithm in ("EdDSA", "RS256", "HS256", "none", "ES384", ""):
        refused(caller.proof(header={"alg": algorithm}), "not of this algorithm")


@pytest.mark.parametrize("proof", ["", ".", "..", "a.b.c", "a.b", "é.é.é", "A" * 5_000, "a.b.c.d", "\0", "e30.e30.AA"])
def test_garbage_is_refused(refused: Callable[..., None], proof: str) -> None:
    refused(proof, ".")


def test_a_signature_in_another_form_is_refused(caller: Caller, refused: Callable[..., None]) -> None:
    proof = caller.proof()
    signed, _, signature = proof.rpartition(".")
    for other in (signature[:-2], signature + "AA", b64url(b"\0" * 64), b64url(b"\xff" * 64), signature + "="):
        refused(f"{signed}.{other}", "signature|canonical|compact")


def test_memory_for_proofs_is_bounded_and_full_means_refused(
    caller: Caller, verify: Callable[..., str], clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("everproof.identity.dpop.MAX_SEEN", 3)
    for _ in range(3):
        verify(caller.proof())
    with pytest.raises(UnavailableError):
        verify(caller.proof())
    clock.advance(timedelta(seconds=121))
    verify(caller.proof())


def test_memory_for_keys_is_bounded(
    clock: SettableClock, dpop: Dpop, verify: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("everproof.identity.dpop.MAX_KEYS", 2)
    callers = [Caller(clock, dpop) for _ in range(4)]
    for caller in callers * 2:
        assert verify(caller.proof()) == caller.thumbprint
    assert len(dpop._keys) == 2


def test_no_error_carries_the_proof(caller: Caller, verify: Callable[..., str]) -> None:
    key = caller.key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    proof = caller.proof(url="https://evil.example/")
    with pytest.raises(DpopError) as refusal:
        verify(proof)
    assert proof not in repr(refusal.value)
    assert pem not in repr(refusal.value)
