import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from everproof.identity.jose import JoseError
from everproof.identity.jwk import read_key_set, read_published_key
from everproof.identity.jwks import COOLDOWN, FRESH, STALE, IssuerKeys
from everproof.identity.outbound import OutboundError
from everproof.keys import public_jwk
from tests.conftest import SettableClock
from tests.issuer import PATH, Issuer


async def test_concurrent_callers_share_one_fetch(issuer: Issuer, keys: IssuerKeys) -> None:
    found = await asyncio.gather(*(keys.key(issuer.url, "key-1", "RS256") for _ in range(50)))
    assert len({id(key.public) for key in found}) == 1
    assert len(issuer.fetches) == 2


async def test_one_caller_going_away_does_not_take_the_answer_from_the_others(issuer: Issuer, keys: IssuerKeys) -> None:
    gone, staying = (asyncio.create_task(keys.key(issuer.url, "key-1", "RS256")) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    assert (await staying).kid == "key-1"


async def test_keys_are_asked_for_again_when_they_are_not_fresh(
    issuer: Issuer, keys: IssuerKeys, clock: SettableClock
) -> None:
    await keys.key(issuer.url, "key-1", "RS256")
    clock.advance(FRESH)
    await keys.key(issuer.url, "key-1", "RS256")
    assert len(issuer.fetches) == 2
    clock.advance(timedelta(seconds=1))
    await keys.key(issuer.url, "key-1", "RS256")
    assert len(issuer.fetches) == 4


async def test_a_new_key_is_found_at_once(issuer: Issuer, keys: IssuerKeys, clock: SettableClock) -> None:
    await keys.key(issuer.url, "key-1", "RS256")
    clock.advance(COOLDOWN)
    issuer.rotate("key-2")
    assert (await keys.key(issuer.url, "key-2", "RS256")).kid == "key-2"


async def test_invented_key_names_do_not_make_us_ask_and_ask(
    issuer: Issuer, keys: IssuerKeys, clock: SettableClock
) -> None:
    await keys.key(issuer.url, "key-1", "RS256")
    for number in range(50):
        with pytest.raises(JoseError, match="no RS256 key"):
            await keys.key(issuer.url, f"invented-{number}", "RS256")
    assert len(issuer.fetches) == 2
    clock.advance(COOLDOWN)
    with pytest.raises(JoseError):
        await keys.key(issuer.url, "invented", "RS256")
    assert len(issuer.fetches) == 4


async def test_a_withdrawn_key_is_dead_when_the_keys_are_asked_for_again(
    issuer: Issuer, keys: IssuerKeys, clock: SettableClock
) -> None:
    await keys.key(issuer.url, "key-1", "RS256")
    issuer.rotate("key-2", keep=False)
    clock.advance(FRESH + timedelta(seconds=1))
    with pytest.raises(JoseError, match="no RS256 key"):
        await keys.key(issuer.url, "key-1", "RS256")


async def test_known_keys_serve_while_the_issuer_is_down_but_not_forever(
    issuer: Issuer, keys: IssuerKeys, clock: SettableClock
) -> None:
    await keys.key(issuer.url, "key-1", "RS256")
    issuer.failing = True
    clock.advance(FRESH + COOLDOWN)
    for _ in range(20):
        assert (await keys.key(issuer.url, "key-1", "RS256")).kid == "key-1"
    assert len(issuer.fetches) == 3, "a failing issuer is asked once in a cooldown"
    clock.advance(STALE)
    with pytest.raises(OutboundError, match="503"):
        await keys.key(issuer.url, "key-1", "RS256")


async def test_an_issuer_that_was_never_reached_is_asked_once_in_a_cooldown(issuer: Issuer, keys: IssuerKeys) -> None:
    issuer.failing = True
    for _ in range(5):
        with pytest.raises(OutboundError, match="503"):
            await keys.key(issuer.url, "key-1", "RS256")
    assert len(issuer.fetches) == 1


async def test_a_discovery_document_of_another_issuer_is_refused(issuer: Issuer, keys: IssuerKeys) -> None:
    issuer.discovery = {"issuer": issuer.url + "/"}
    with pytest.raises(OutboundError, match="of another issuer"):
        await keys.key(issuer.url, "key-1", "RS256")
    assert len(issuer.fetches) == 1


@pytest.mark.parametrize("address", ["http://127.0.0.1/jwks", "file:///etc/passwd", "https://u@127.0.0.1/", None, 7])
async def test_keys_elsewhere_than_over_https_are_refused(issuer: Issuer, keys: IssuerKeys, address: Any) -> None:
    issuer.discovery = {"jwks_uri": address}
    with pytest.raises(OutboundError):
        await keys.key(issuer.url, "key-1", "RS256")
    assert len(issuer.fetches) == 1


@pytest.mark.parametrize("body", [b"", b"[]", b'{"keys":{}}', b'{"keys":[],"keys":[]}', b"<html>", b"[" * 100_000])
async def test_keys_that_cannot_be_read_are_an_issuer_that_cannot_be_asked(
    issuer: Issuer, keys: IssuerKeys, body: bytes
) -> None:
    issuer.answers[f"{PATH}/jwks"] = (200, {}, body)
    with pytest.raises(OutboundError, match="cannot be read"):
        await keys.key(issuer.url, "key-1", "RS256")


async def test_issuers_that_are_trusted_no_more_are_forgotten(issuer: Issuer, keys: IssuerKeys) -> None:
    await keys.key(issuer.url, "key-1", "RS256")
    keys.forget(frozenset())
    assert keys.cached(issuer.url, "key-1", "RS256") is None


def test_keys_are_taken_for_what_they_are_published_for(issuer: Issuer) -> None:
    jwk: dict[str, Any] = {**public_jwk(issuer.keys["key-1"].public_key()), "kid": "a"}
    assert read_published_key(jwk).algorithm == "RS256"
    for change in (
        {"use": "enc"}, {"use": 1}, {"key_ops": ["encrypt"]}, {"key_ops": "verify"}, {"key_ops": 7}, {"alg": "PS256"},
        {"alg": ["RS256"]}, {"kid": 7}, {"d": "AQAB"}, {"kty": "oct", "k": "AA"}, {"kty": "EC"}, {"e": "Aw"}, {"e": 3},
        {"e": "AQAC"}, {"n": "AQAB"}, {"n": None}, {"n": "A" * 4000}, {"e": "AQAB="},
    ):  # fmt: skip
        with pytest.raises(JoseError):
            read_published_key({**jwk, **change})


def test_two_keys_by_one_name_are_none(issuer: Issuer) -> None:
    issuer.rotate("key-2")
    one, other = (public_jwk(issuer.keys[kid].public_key()) for kid in ("key-1", "key-2"))
    same = read_key_set(json.dumps({"keys": [{**one, "kid": "a"}, {**other, "kid": "a"}]}).encode())
    assert same.find("a", "RS256") is None
    different = read_key_set(json.dumps({"keys": [{**one, "kid": "a"}, {**other, "kid": "b"}]}).encode())
    assert different.find("a", "RS256") is not None
    assert different.find(None, "RS256") is None
    single = read_key_set(json.dumps({"keys": [{"kty": "made-up"}, "x", None, one]}).encode())
    assert single.find(None, "RS256") is not None
    assert single.find("a", "RS256") is None
