"""Wycheproof's JSON Web Signature and JSON Web Key vectors, against joserfc and against our own reading.

A vector is given as a verifier meets it: the key, the algorithm that the key is for, and the token. Known deviations
are named one by one; a new one fails, and so does one that has gone.
"""

import json
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from joserfc import jws
from joserfc.errors import JoseError as JoserfcError
from joserfc.jwk import JWKRegistry, KeySet

from everproof.identity.jose import JoseError, read_jws, verify_signature
from everproof.identity.jwk import read_key_set, read_published_key

KEY_SAYS_OTHERWISE = "the key's own `alg` contradicts the header; refusing is right"
LAX_BASE64 = "base64 in another spelling than the canonical one; refusing is right"
MISLABELLED = "byte for byte the same as vector 357, which is labelled valid"

DEVIATIONS = {
    346: KEY_SAYS_OTHERWISE,
    347: KEY_SAYS_OTHERWISE,
    350: KEY_SAYS_OTHERWISE,
    351: KEY_SAYS_OTHERWISE,
    372: LAX_BASE64,
    373: LAX_BASE64,
    367: MISLABELLED,
    370: MISLABELLED,
}
"""Of joserfc, on all algorithms."""

NOT_OURS = "keys that are shared secrets are not read from a published set"
JOSERFC_ALONE = "joserfc leaves this to its caller; our own reading refuses it"

KEY_SET_DEVIATIONS = {
    "joserfc": dict.fromkeys((1, 7, 8, 10, 11, 12), JOSERFC_ALONE),
    "ours": dict.fromkeys((2, 13, 14, 15), NOT_OURS),
}
"""Of key sets: mixed with a shared secret (1), a ROCA key (7), a short RSA key (8), short secrets (10 to 12)."""

OURS = {"RS256", "ES256"}
"""Our own reading takes these algorithms alone; keys for others are refused, whatever the vector says."""


@cache
def groups(file: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(file.read_text())["testGroups"]
    return found


def accepted_by_joserfc(key: dict[str, Any], token: str) -> bool:
    try:
        with warnings.catch_warnings(action="ignore"):
            jws.deserialize_compact(token, JWKRegistry.import_key(key), algorithms=[key["alg"]])
    except (JoserfcError, ValueError, TypeError, KeyError):
        return False
    return True


def accepted_by_us(key: dict[str, Any], token: str) -> bool:
    try:
        known = read_published_key(key)
        read = read_jws(token)
        if read.header["alg"] != known.algorithm:
            return False
        verify_signature(known.algorithm, known.public, read.signing_input, read.signature)
    except JoseError:
        return False
    return True


def test_joserfc_agrees_but_for_the_known_deviations(vectors: Path) -> None:
    disagreeing = set()
    for group in groups(vectors / "wycheproof" / "json_web_signature_test.json"):
        key = group.get("public") or group["private"]
        for test in group["tests"]:
            if accepted_by_joserfc(key, test["jws"]) != (test["result"] == "valid"):
                disagreeing.add(test["tcId"])
    assert disagreeing == set(DEVIATIONS)


def test_our_reading_agrees_on_its_algorithms(vectors: Path) -> None:
    seen, disagreeing = 0, {}
    for group in groups(vectors / "wycheproof" / "json_web_signature_test.json"):
        key = group.get("public")
        if key is None or key.get("alg") not in OURS:
            continue
        for test in group["tests"]:
            seen += 1
            if accepted_by_us(key, test["jws"]) != (test["result"] == "valid"):
                disagreeing[test["tcId"]] = test["comment"]
    assert seen > 250
    assert disagreeing == {}


def test_our_reading_accepts_nothing_that_joserfc_refuses(vectors: Path) -> None:
    for group in groups(vectors / "wycheproof" / "json_web_signature_test.json"):
        key = group.get("public") or group["private"]
        for test in group["tests"]:
            if accepted_by_us(key, test["jws"]):
                assert accepted_by_joserfc(key, test["jws"]), test["tcId"]


@pytest.mark.parametrize("reader", ["joserfc", "ours"])
def test_key_sets(vectors: Path, reader: str) -> None:
    disagreeing = set()
    for group in groups(vectors / "wycheproof" / "json_web_key_test.json"):
        key_set = group.get("public") or group["private"]
        for test in group["tests"]:
            accept = set_accepted_by_joserfc if reader == "joserfc" else set_accepted_by_us
            if accept(key_set, test["jws"]) != (test["result"] == "valid"):
                disagreeing.add(test["tcId"])
    assert disagreeing == set(KEY_SET_DEVIATIONS[reader])


def set_accepted_by_joserfc(key_set: Any, token: str) -> bool:
    try:
        with warnings.catch_warnings(action="ignore"):
            keys = KeySet.import_key_set(key_set)
            jws.deserialize_compact(token, keys, algorithms=["RS256", "ES256", "HS256", "HS384", "HS512"])
    except (JoserfcError, ValueError, TypeError, KeyError):
        return False
    return True


def set_accepted_by_us(key_set: Any, token: str) -> bool:
    try:
        keys = read_key_set(json.dumps(key_set).encode())
        read = read_jws(token)
        known = keys.find(read.header.get("kid"), read.header["alg"])
        if known is None:
            return False
        verify_signature(known.algorithm, known.public, read.signing_input, read.signature)
    except JoseError:
        return False
    return True
