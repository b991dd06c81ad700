from datetime import timedelta

import msgspec
import pytest

from everproof.identity.claims import ClaimRules, Classes, UnknownClaims, plain
from everproof.identity.external import ExternalTokens
from everproof.identity.jose import JoseError
from everproof.kernel.canonical import encode
from tests.conftest import SettableClock
from tests.identity.trust import AUDIENCE
from tests.issuer import Issuer, github_claims

RULES = ClaimRules(
    required=frozenset({"sub"}), optional=frozenset({"ref"}), unchecked=frozenset({"run"}), prefixes=("p_",)
)


def test_every_claim_falls_in_one_class() -> None:
    found = Classes(["repo"], RULES).sort(["iss", "sub", "ref", "p_tier", "run", "new", "repo"])
    assert msgspec.to_builtins(found) == {
        "verified": ("iss", "repo"),
        "unverifiable": ("sub",),
        "optional": ("ref", "p_tier"),
        "unchecked": ("run",),
        "unknown": ("new",),
    }


def test_an_issuer_whose_claims_are_its_owners_choice_has_no_unknown_ones() -> None:
    assert Classes([], ClaimRules(open=True)).sort(["anything"]).unknown == ()


async def test_an_unknown_claim_is_told_and_recorded(
    issuer: Issuer, external: ExternalTokens, clock: SettableClock, unknown: list[tuple[str, str]]
) -> None:
    claims = github_claims(clock.now(), audience=AUDIENCE, brand_new="1", repo_property_tier="gold")
    for _ in range(2):
        await external.verify(issuer.mint(claims))
    token = await external.verify(issuer.mint(claims))
    assert unknown == [(issuer.url, "brand_new")]
    assert token.proof.claims["classes"].unknown == ("brand_new",)
    assert token.proof.claims["token"]["brand_new"] == "1"


async def test_a_token_without_what_every_token_has_is_refused(
    issuer: Issuer, external: ExternalTokens, clock: SettableClock
) -> None:
    with pytest.raises(JoseError, match=r"claims\.actor_id"):
        await external.verify(issuer.mint(github_claims(clock.now(), audience=AUDIENCE, actor_id=None)))


def test_unknown_claims_are_told_seldom(clock: SettableClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("everproof.identity.claims.MAX_TOLD", 2)
    told: list[str] = []
    claims = UnknownClaims(clock, lambda _, name: told.append(name))
    for name in ("a", "b", "c", "a"):
        claims.seen("issuer", (name,))
    assert told == ["a", "b"]
    clock.advance(timedelta(hours=1))
    claims.seen("issuer", ("a", "c"))
    assert told == ["a", "b", "a"]


def test_recorded_claims_are_what_the_ledger_can_hold() -> None:
    odd = {"a": None, "b": 1.5, "c": 2**60, "d": [None, 1.0, {"x": None}], "é": 1, "f": True}
    assert plain(odd) == {"b": "1.5", "c": str(2**60), "d": ["1.0", {}], "f": True}
    encode(plain(odd))
