"""Replay: the same bytes by the same bundle, and by another whom it would have locked out; nothing can be drowned."""

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import starmap
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everproof.authorize.record import DecisionRecord, ProofRecord
from everproof.kernel.canonical import encode
from everproof.kernel.errors import InputError
from everproof.kernel.words import Ref
from everproof.policy import Bundle, Engine, Request
from everproof.policy.replay import Move, PastDecision, UnwrittenError, past_decision, replay, request_of
from everproof.policy.replay_bound import Bound, bound_of
from everproof.policy.replay_findings import MAX_GROUPS, Findings, Share, Tally
from tests.policy.build import asks, bundle, what, who

NOW = datetime(2026, 11, 21, tzinfo=UTC)
SALT = b"nobody's choice."

READERS = (
    'permit(principal in Group::"readers", action == Action::"secret:read", resource) when { context.mfa_age < 9 };'
)
OPEN = 'permit(principal, action == Action::"secret:read", resource);'


def readers(text: str = READERS) -> Bundle:
    return bundle(text.replace("context.mfa_age", "context has mfa_age && context.mfa_age"))


def record(engine: Engine, request: Request, word: str = "", **more: Any) -> PastDecision:
    """The decision as it would be read from its entry."""
    verdict = engine.decide(request)
    body = DecisionRecord(
        decision=word or ("allow" if verdict.decision.allowed else "deny"),
        principal=request.principal.ref,
        action=request.action.name,
        resource=request.resource.ref,
        proof=ProofRecord("access-token", vouched_by=more.pop("vouched_by", None)),
        context=msgspec.Raw(verdict.context),
        entities=msgspec.Raw(verdict.entities),
        sources=(),
        bundle=verdict.decision.bundle,
        engine=engine.version,
        reasons=verdict.decision.reasons,
        errors=verdict.decision.errors,
        shadow=verdict.shadow,
        **more,
    )
    return past_decision(encode(body))


def reading(name: str = "User:ada", *groups: str, age: int = 1) -> Request:
    return asks(who(name, *(groups or ("Group:readers",))), "secret:read", what("Secret:db"), mfa_age=age)


values = st.recursive(
    st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.text(max_size=8)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.builds(Ref, st.sampled_from(["User", "Group"]), st.text(max_size=3)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
attributes = st.dictionaries(
    st.sampled_from(["name", "department", "emails", "manager", "mfa_age", "risk", "scope", "own", "x"]),
    values,
    max_size=5,
)


@settings(max_examples=150, deadline=None)
@given(attributes, attributes, attributes, st.booleans(), st.booleans())
def test_the_same_bundle_gives_the_same_bytes_whatever_was_asked(
    context: dict[str, Any], of_principal: dict[str, Any], of_resource: dict[str, Any], itself: bool, around: bool
) -> None:
    engine = ENGINE
    principal = who("User:ada", "Group:readers", **of_principal)
    resource = what("User:ada" if itself else "Secret:db", **of_resource)
    others = (what("Group:readers", "Group:staff"),) if around else ()
    request = asks(principal, "decision:ask" if itself else "secret:read", resource, *others, **context)
    again = replay(engine, record(engine, request))
    assert again.identical
    assert again.turn() is None


ENGINE = Engine(
    bundle(
        'permit(principal in Group::"staff", action, resource) when { context has mfa_age && context.mfa_age < 9 };',
        "permit(principal, action, resource) when { principal == resource };",
        '@id("s") @shadow("true") forbid(principal, action, resource) when { principal has department };',
    )
)


def test_what_was_never_written_down_cannot_be_replayed() -> None:
    past = record(ENGINE, asks(who("User:ada"), "secret:read", what("Secret:db"), x=object()))
    assert past.errors == ("the request holds what JSON has no form for",)
    with pytest.raises(UnwrittenError):
        request_of(past)


@pytest.mark.parametrize(
    ("policies", "how", "by"),
    [
        ((READERS, "forbid(principal, action, resource) when { !(context has incident) };"), "forbidden", ("b",)),
        ((READERS.replace('"readers"', '"others"'),), "no longer permitted", ("a",)),
        (
            (READERS, "forbid(principal, action, resource) when { context has risk || context.mfa_age + 1 > 0 };"),
            "undecidable",
            ("b",),
        ),
    ],
)
def test_a_lockout_is_told_by_what_locks_out(policies: tuple[str, ...], how: str, by: tuple[str, ...]) -> None:
    texts = [one.replace("context.mfa_age", "context has mfa_age && context.mfa_age") for one in policies]
    if how == "undecidable":
        largest = 2**63 - 1
        texts[1] = (
            f"forbid(principal, action, resource) when {{ context has mfa_age && context.mfa_age + {largest} > 0 }};"
        )
    past = record(Engine(readers()), reading())
    again = replay(Engine(bundle(*texts)), past)
    assert (again.turn(), again.why()) == ("denied", (how, by))


def test_what_is_newly_allowed_is_told_by_the_permit() -> None:
    past = record(Engine(readers()), reading("User:eve", "Group:guests"))
    again = replay(Engine(bundle(OPEN)), past)
    assert (again.turn(), again.why()) == ("allowed", ("permitted", ("a",)))


def test_what_something_else_than_policy_refused_stays_refused() -> None:
    engine = Engine(readers())
    revoked = record(engine, reading(), "deny", refusal="the credential was revoked")
    assert revoked.permitted
    for policies in (READERS.replace('"readers"', '"others"'), OPEN):
        assert replay(Engine(readers(policies)), revoked).turn() is None


def test_what_an_observing_door_let_pass_is_locked_out_by_one_that_enforces() -> None:
    engine = Engine(readers())
    passed = record(engine, reading("User:eve", "Group:guests"), "would_deny", mode="observe")
    again = replay(engine, passed)
    assert (again.turn(), again.turn(enforcing=True)) == (None, "denied")


def test_whoever_moves_between_groups_or_leaves_is_decided_upon_as_they_would_be() -> None:
    engine = Engine(readers())
    past = record(engine, reading())
    leaving = {Ref("User", "ada"): Move(Ref("User", "ada"), leaves=(Ref("Group", "readers"),))}
    assert replay(engine, past, leaving).turn() == "denied"
    gone = replay(engine, past, {Ref("User", "ada"): Move(Ref("User", "ada"), gone=True)})
    assert (gone.turn(), gone.why()) == ("denied", ("gone", ()))
    joining = {Ref("User", "eve"): Move(Ref("User", "eve"), joins=(Ref("Group", "readers"),))}
    assert replay(engine, record(engine, reading("User:eve", "Group:guests")), joining).turn() == "allowed"


def tallied(parts: Iterable[Iterable[tuple[int, PastDecision]]], engine: Engine, **more: Any) -> Findings:
    whole = Tally(None, SALT, **more)
    for part in parts:
        tally = Tally(engine, SALT, **more)
        for index, past in part:
            tally.add(replay(engine, past), index, f"ent_{index}", NOW + timedelta(seconds=index))
        whole.merge(tally.findings())
    return whole.findings()


LOCKED = Engine(bundle("forbid(principal, action, resource);"))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 7), st.integers(1, 6))
def test_in_whatever_parts_and_order_it_is_read_the_same_is_found(seed: int, parts: int, most: int) -> None:
    rng = random.Random(seed)
    pasts = list(enumerate(PASTS))
    whole = tallied([pasts], LOCKED, most=most)
    rng.shuffle(pasts)
    assert tallied([pasts[at::parts] for at in range(parts)], LOCKED, most=most) == whole
    assert sum(group.count for group in whole.groups) + sum(rest.count for rest in whole.rest) == len(pasts)


PASTS = [record(Engine(readers()), reading(f"User:u{number % 11}")) for number in range(40)]


def test_attack_a_flood_of_other_lockouts_does_not_hide_the_one_that_matters() -> None:
    """Jobs without number, and names that an enforcement point makes up, have no room of the people's."""
    engine = Engine(readers())
    job = record(engine, reading("Job:1"))
    made_up = record(engine, reading("User:1"), vouched_by=Ref("Service", "gateway"))
    flood = [
        msgspec.structs.replace(one, principal=Ref(one.principal.type, f"{number}"))
        for number in range(3 * MAX_GROUPS)
        for one in (job, made_up)
    ]
    tally = Tally(LOCKED, SALT)
    verdicts = {id(one): replay(LOCKED, one) for one in (job, made_up)}
    for index, past in enumerate(flood):
        again = verdicts[id(job if past.principal.type == "Job" else made_up)]
        tally.add(msgspec.structs.replace(again, past=past), index, "ent", NOW)
    tally.add(replay(LOCKED, record(engine, reading("User:ada"))), 7, "ent_7", NOW)
    found = tally.findings()
    assert found.denied == 6 * MAX_GROUPS + 1
    [people] = [one for one in found.groups if one.principal.type == "User" and not one.vouched]
    assert (people.principal.id, people.example.index) == ("ada", 7)
    assert len(found.groups) == 2 * MAX_GROUPS + 1
    assert {(rest.type, rest.vouched): rest.count for rest in found.rest} == {
        ("Job", False): 2 * MAX_GROUPS,
        ("User", True): 2 * MAX_GROUPS,
    }


def test_the_same_bundle_is_compared_byte_by_byte_and_another_engine_is_said() -> None:
    engine = Engine(readers())
    past = record(engine, reading())
    other = msgspec.structs.replace(past, engine="cedarpy 1.0, schema old")
    forged = msgspec.structs.replace(past, reasons=("z",))
    found = tallied([[(0, past), (1, other), (2, forged)]], engine)
    assert (found.identical, found.other_engine, found.differing, found.differing_at) == (1, 1, 1, (2,))
    assert found.elsewhere == 1


def test_attack_a_million_calls_of_a_gateway_do_not_make_a_person_a_rounding_error() -> None:
    shares = (Share("Service", "api:call", 1_000_000, 0), Share("User", "git:push", 3, 1))
    found = Findings(decisions=1_000_003, denied=1, shares=shares)
    assert "1 of the 3 decisions that allowed a User git:push" in Bound(percent=1.0).exceeded(found)
    assert Bound(percent=34.0).exceeded(found) == ""
    assert "denied 1 decision of those" in Bound(decisions=0).exceeded(found)
    assert Bound(decisions=1).exceeded(found) == ""


def test_bounds_are_read_strictly() -> None:
    assert [bound_of(text, place="x") for text in (0, "12", "0.5%", "1 %")] == list(
        starmap(Bound, [(0, None), (12, None), (None, 0.5), (None, 1.0)])
    )
    for text in ("", "-1", "101%", "many", "1e3", "٣", 10**13, "0x10", "5%%"):
        with pytest.raises(InputError, match="no bound"):
            bound_of(text, place="x")


def test_a_looser_bound_is_known_as_one() -> None:
    strict, loose, share = Bound(decisions=0), Bound(decisions=9), Bound(percent=5.0)
    assert strict.within(loose)
    assert strict.within(share)
    assert not loose.within(strict)
    assert not share.within(loose)
    assert not loose.within(share)
    assert Bound(percent=1.0).within(share)
