"""Assertions to services: for one audience, for a minute, never beyond what they came from."""

from datetime import timedelta
from typing import Any, cast

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from everproof.identity.assertions import Assertions
from everproof.identity.jose import read_jws
from everproof.kernel.words import Principal, Proof, Ref
from everproof.keys import SigningKey, SigningKeys
from tests.conftest import SettableClock


class Keys:
    def __init__(self, clock: SettableClock) -> None:
        self._clock = clock
        self.kid = "one"

    def current(self, _algorithm: str) -> SigningKey:
        private = ec.generate_private_key(ec.SECP256R1())
        return SigningKey(kid=self.kid, algorithm="ES256", private=private, since=self._clock.now())


def made(clock: SettableClock) -> tuple[Keys, Assertions, Proof]:
    keys = Keys(clock)
    group, space = Ref("Group", "readers"), Ref("Space", "main")
    principal = Principal(ref=Ref("User", "alice"), parents=(group, space))
    proof = Proof(kind="access-token", principal=principal, at=clock.now(), credential="cred_1")
    return keys, Assertions(cast("SigningKeys", keys), clock, issuer="https://everproof.example"), proof


def read(text: str) -> dict[str, Any]:
    claims: dict[str, Any] = msgspec.json.decode(read_jws(text).payload)
    return claims


def test_an_assertion_says_who_for_whom_and_until_when(clock: SettableClock) -> None:
    _, assertions, proof = made(clock)
    text = assertions.make(proof, audience="https://wiki.example", route="pages")
    assert read_jws(text).header == {"alg": "ES256", "kid": "one", "typ": "everproof-assertion+jwt"}
    now = int(clock.now().timestamp())
    assert read(text) == {
        "iss": "https://everproof.example",
        "sub": "user:alice",
        "aud": "https://wiki.example",
        "iat": now,
        "exp": now + 60,
        "auth_time": now,
        "principal": {"type": "User", "id": "alice"},
        "groups": ["readers"],
        "route": "pages",
        "credential": "cred_1",
    }


def test_one_is_given_again_only_to_the_same_for_the_same_and_for_seconds(clock: SettableClock) -> None:
    keys, assertions, proof = made(clock)
    first = assertions.make(proof, audience="https://wiki.example", route="pages")
    assert assertions.make(proof, audience="https://wiki.example", route="pages") == first
    changed = msgspec.structs.replace(proof.principal, parents=())
    others = [
        assertions.make(proof, audience="https://shop.example", route="pages"),
        assertions.make(proof, audience="https://wiki.example", route="admin"),
        assertions.make(
            msgspec.structs.replace(proof, credential="cred_2"), audience="https://wiki.example", route="pages"
        ),
        assertions.make(
            msgspec.structs.replace(proof, principal=changed), audience="https://wiki.example", route="pages"
        ),
    ]
    keys.kid = "two"
    others.append(assertions.make(proof, audience="https://wiki.example", route="pages"))
    clock.advance(timedelta(seconds=10))
    others.append(assertions.make(proof, audience="https://wiki.example", route="pages"))
    assert len({first, *others}) == 7
    assert read(others[3])["groups"] == []


def test_an_assertion_does_not_outlive_the_token_that_it_came_from(clock: SettableClock) -> None:
    _, assertions, proof = made(clock)
    ends = clock.now() + timedelta(seconds=5)
    short = msgspec.structs.replace(proof, expires=ends)
    text = assertions.make(short, audience="https://wiki.example", route="pages")
    assert read(text)["exp"] == int(ends.timestamp())
    clock.advance(timedelta(seconds=5))
    assert assertions.make(proof, audience="https://wiki.example", route="pages") != text
