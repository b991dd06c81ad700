# ruff: noqa: E501 - a policy and what comes of it are read best on one line
"""What an explanation says is so: give a condition that it names a value that satisfies it, and Cedar agrees."""

import random
from collections.abc import Iterator
from typing import Any

import cedarpy
import msgspec
import pytest

from everproof.kernel.canonical import encode
from everproof.kernel.words import Action, Principal, Ref, Resource
from everproof.policy import Condition, Engine, Explanation, Request, load_bundle
from everproof.policy.explain import Explainer
from everproof.policy.phrases import duration
from everproof.policy.request import bodies, closure
from tests.policy.build import asks, bundle, what, who

ABSENT = object()
BUNDLES, POLICIES = 100, 100

# Each test as Cedar: what it looks at, values that make it true, and values that make it false (or an error).
LEAVES: dict[str, tuple[str, list[Any], list[Any]]] = {
    "context.mfa_age <= 900": ("context.mfa_age", [0, 900], [901, 11_520]),
    "context.risk < 50": ("context.risk", [-3, 49], [50, 90]),
    "50 < context.risk": ("context.risk", [51], [50, 2]),
    "context.approvals >= 2": ("context.approvals", [2, 9], [0, 1]),
    "context.approvals + 1 == 3": ("context.approvals", [2], [3, 0]),
    "context.approvals != 4": ("context.approvals", [3], [4]),
    'context.stage == "deploy"': ("context.stage", ["deploy"], ["build", ""]),
    'context.stage like "de*"': ("context.stage", ["deploy", "de"], ["build"]),
    '["test", "build"].contains(context.stage)': ("context.stage", ["build"], ["deploy"]),
    'context.scope.contains("read")': ("context.scope", [["read"], ["x", "read"]], [[], ["x"]]),
    "context.scope.isEmpty()": ("context.scope", [[]], [["x"]]),
    "context.key_bound": ("context.key_bound", [True], [False]),
    "context has mfa_age": ("context.mfa_age", [1], [ABSENT]),
    "context has risk": ("context.risk", [1], [ABSENT]),
    "context has approvals": ("context.approvals", [1], [ABSENT]),
    "context has stage": ("context.stage", ["x"], [ABSENT]),
    "context has scope": ("context.scope", [["x"]], [ABSENT]),
    "context has key_bound": ("context.key_bound", [True], [ABSENT]),
    "principal has department": ("principal.department", ["x"], [ABSENT]),
    'principal.department == "tools"': ("principal.department", ["tools"], ["sales"]),
    'principal in Group::"ops"': ("principal", [("ops",)], [(), ("dev",)]),
    'principal in [Group::"a", Group::"b"]': ("principal", [("b",)], [(), ("dev",)]),
    "resource has name": ("resource.name", ["x"], [ABSENT]),
    'resource.name == "prod"': ("resource.name", ["prod"], ["test"]),
}  # fmt: skip
PLAIN = [test for test in LEAVES if " has " not in test]


def guarded(rng: random.Random) -> str:
    test = rng.choice(PLAIN)
    path = LEAVES[test][0]
    if "." not in path:
        return test
    root, name = path.split(".")
    return f"{root} has {name} && {rng.choice(['', '', '!'])}({test})"


def expression(rng: random.Random, depth: int = 0) -> str:
    if depth == 2 or rng.random() < 0.4:
        return guarded(rng)
    one, other = expression(rng, depth + 1), expression(rng, depth + 1)
    form = rng.choice(
        ["{} && {}", "({}) || ({})", "!({}) && ({})", "(if {} then {} else false)", "(if {} then false else {})"]
    )
    return form.format(one, other)


def random_policy(rng: random.Random, at: int) -> str:
    scope = rng.choice(["principal", 'principal in Group::"ops"', "principal is User"])
    clauses = " ".join(
        f"{rng.choice(['when', 'when', 'unless'])} {{ {expression(rng)} }}" for _ in range(rng.randint(1, 2))
    )
    return f'@id("p{at}") permit({scope}, action == Action::"deployment:start", resource is Environment) {clauses};'


def value(rng: random.Random, path: str) -> Any:
    choices = [one for looked, yes, no in LEAVES.values() if looked == path for one in (*yes, *no)]
    return rng.choice(choices)


def request(values: dict[str, Any]) -> Request:
    given = {path: found for path, found in values.items() if found is not ABSENT}
    attributes: dict[str, dict[str, Any]] = {"context": {}, "principal": {}, "resource": {}}
    for path, found in given.items():
        if "." in path:
            root, name = path.split(".")
            attributes[root][name] = found
    groups = tuple(Ref("Group", name) for name in given.get("principal", ()))
    return Request(
        Principal(ref=Ref("User", "alice"), attributes=attributes["principal"], parents=groups),
        Action("deployment:start"),
        Resource(ref=Ref("Environment", "e"), attributes=attributes["resource"]),
        attributes["context"],
    )


def holds(test: str, asked: Request) -> bool | None:
    """Cedar's own answer for a clause by itself; None for an error."""
    result = cedarpy.is_authorized(
        {
            "principal": {"type": asked.principal.ref.type, "id": asked.principal.ref.id},
            "action": {"type": "Action", "id": asked.action.name},
            "resource": {"type": asked.resource.ref.type, "id": asked.resource.ref.id},
            "context": encode(asked.context).decode(),
        },
        f"permit(principal, action, resource) when {{ {test} }};",
        encode(bodies(closure(asked))).decode(),
    )
    return None if result.diagnostics.errors else result.allowed


def near(engine: Engine, asked: Request) -> list[Any]:
    explainer = engine._explainer(asked, "auditor")
    assert isinstance(explainer, Explainer)
    return [
        explainer._why(policy, explainer._failing(explainer._parts.clauses[policy.id]))
        for policy in explainer._parts.policies
    ]


def conditions(engine: Engine, asked: Request) -> Iterator[tuple[str, tuple[Condition, ...]]]:
    for why in near(engine, asked):
        yield why.id, why.conditions


@pytest.mark.parametrize("part", range(4))
def test_a_value_that_satisfies_the_named_clause_changes_cedars_answer(
    part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("everproof.policy.slices.MAX_OUTSIDE", POLICIES)
    rng = random.Random(part)
    named = 0
    for _ in range(BUNDLES // 4):
        text = "\n".join(random_policy(rng, at) for at in range(POLICIES))
        engine = Engine(load_bundle({"policies/random.cedar": text.encode()}))
        values = {path: value(rng, path) for path, _, _ in LEAVES.values()}
        asked = request(values)
        verdict = engine.decide(asked)
        answers: dict[str, bool | None] = {}
        for id_, told in conditions(engine, asked):
            assert bool(told) == (id_ not in verdict.decision.reasons), id_
            for condition in told:
                if condition.state != "failed":
                    continue
                path, yes, no = LEAVES[condition.test]
                if condition.test not in answers:
                    answers[condition.test] = holds(condition.test, asked)
                assert answers[condition.test] is (not condition.wanted), (id_, condition)
                satisfying = rng.choice(yes if condition.wanted else no)
                after = holds(condition.test, request({**values, path: satisfying}))
                assert after is condition.wanted, (id_, condition, satisfying)
                named += 1
    assert named > POLICIES * BUNDLES / 8


FRESH = """
@id("ops/deploy")
@title("Operators deploy with a fresh second factor")
@advice("prove your second factor again")
permit(principal in Group::"ops", action == Action::"deployment:start", resource is Environment)
when { context has mfa_age && context.mfa_age <= 900 }
when { (context has approvals && context.approvals >= 2) || (context has break_glass && context.break_glass) }
unless { context has risk && context.risk > 50 };
"""
OPS = who("User:alice", "Group:ops")
PROD = what("Environment:prod", name="prod")


def explain(asked: Request, *policies: str, audience: Any = "auditor") -> Explanation:
    engine = Engine(bundle(*policies))
    return engine.explain(asked, engine.decide(asked), audience)


def test_a_duration_reads_as_one() -> None:
    told = explain(asks(OPS, "deployment:start", PROD, mfa_age=11_520, approvals=2), FRESH)
    assert told.text() == (
        "denied: no policy permits it\n\n"
        "nearly permitted by ops/deploy: Operators deploy with a fresh second factor\n"
        "  ✗ mfa_age was 3 h 12 min, the policy allows 15 min\n"
        "  → prove your second factor again\n"
        "  policies/test.cedar:2"
    )
    [condition] = told.near[0].conditions
    assert msgspec.json.decode(msgspec.json.encode(condition)) == {
        "state": "failed", "sentence": "mfa_age was 3 h 12 min, the policy allows 15 min", "test": "context.mfa_age <= 900",
        "wanted": True, "where": "when", "values": [{"path": "context.mfa_age", "value": 11_520}],
    }  # fmt: skip


def test_what_is_behind_a_failed_guard_is_not_reached() -> None:
    told = explain(asks(OPS, "deployment:start", PROD, approvals=2), FRESH)
    assert [(one.state, one.test) for one in told.near[0].conditions] == [
        ("failed", "context has mfa_age"), ("not reached", "context.mfa_age <= 900"),
    ]  # fmt: skip
    assert "mfa_age is not known, the policy allows 15 min" in told.text()


def test_alternatives_are_told_as_such_and_what_else_fails_too() -> None:
    told = explain(asks(OPS, "deployment:start", PROD, mfa_age=9_999, approvals=1, risk=70), FRESH)
    assert told.text().splitlines()[3:7] == [
        "  ✗ mfa_age was 2 h 46 min, the policy allows 15 min",
        "  ✗ approvals is 1, the policy wants at least 2",
        "    or break_glass is not known, the policy wants true",
        "  ✗ risk is 70, the policy allows at most 50",
    ]
    assert [one.state for one in told.near[0].conditions] == ["failed", "also", "also", "also"]


def test_the_nearest_permit_comes_first() -> None:
    three = '@id("z/three") permit(principal, action == Action::"deployment:start", resource) when { context has risk && context.risk == 1 } when { principal has name } when { principal has email };'
    told = explain(asks(OPS, "deployment:start", PROD, mfa_age=901, approvals=2), three, FRESH)
    assert [why.id for why in told.near] == ["ops/deploy", "z/three"]


def test_forbids_that_fired_come_with_what_made_them_fire() -> None:
    forbid = '@id("night") @advice("wait") forbid(principal, action == Action::"deployment:start", resource is Environment) when { context has risk && context.risk > 50 } unless { principal in Group::"oncall" };'
    told = explain(
        asks(OPS, "deployment:start", PROD, risk=80, mfa_age=3, approvals=2),
        'permit(principal, action == Action::"deployment:start", resource);',
        forbid,
    )
    assert told.near == ()
    assert told.text().splitlines() == [
        "denied: a policy forbids it", "", "forbidden by night",
        "  ✗ risk is 80, the policy allows at most 50", "  ✗ user alice is not in group oncall", "  → wait", "  policies/test.cedar:2",
    ]  # fmt: skip


def test_an_error_is_shown_with_its_policy() -> None:
    erring = '@id("sum") forbid(principal, action == Action::"deployment:start", resource) when { context has risk && context.risk * 9223372036854775807 > 1 };'
    told = explain(
        asks(OPS, "deployment:start", PROD, risk=80),
        'permit(principal, action == Action::"deployment:start", resource);',
        erring,
    )
    assert told.summary == "denied: it cannot be decided"
    assert told.errors[0].startswith("sum: integer overflow")
    assert "any error denies" in told.text()


def test_a_request_that_does_not_fit_is_explained_by_its_place() -> None:
    told = explain(asks(OPS, "deployment:start", PROD, risk="high"), FRESH)
    assert told.errors == ("context.risk: must be a Long, is a String",)
    assert told.near == ()


def test_an_allowed_request_names_what_allows_it() -> None:
    told = explain(asks(OPS, "deployment:start", PROD, mfa_age=3, approvals=2), FRESH)
    assert told.text().splitlines()[:3] == [
        "allowed",
        "",
        "allowed by ops/deploy: Operators deploy with a fresh second factor",
    ]


@pytest.mark.parametrize(
    ("clause", "context", "sentence"),
    [
        ('context has stage && context.stage == "deploy"', {"stage": "build"}, "stage is build, the policy wants deploy"),
        ('context has stage && context.stage != "x"', {"stage": "x"}, "stage is x, the policy wants anything but x"),
        ('context has stage && context.stage like "rel*"', {"stage": "x"}, "stage is x, the policy wants rel*"),
        ('context has stage && !(context.stage like "x*")', {"stage": "xy"}, "stage is xy, the policy wants anything but x*"),
        ('context has stage && ["a", "b"].contains(context.stage)', {"stage": "c"}, "stage is c, the policy wants one of a, b"),
        ('context has scope && context.scope.contains("w")', {"scope": ["r", "x"]}, "scope is r, x, the policy wants w among them"),
        ("context has key_bound && context.key_bound", {"key_bound": False}, "key_bound is false, the policy wants true"),
        ("context has key_bound", {}, "key_bound is not known"),
        ("!(context has risk)", {"risk": 3}, "risk is given, the policy wants it absent"),
        ("context has lifetime && 60 > context.lifetime", {"lifetime": 600}, "lifetime was 10 min, the policy allows 1 min"),
        ("context has risk && 60 > context.risk", {"risk": 60}, "risk is 60, the policy allows less than 60"),
        ('principal in [Group::"a", Group::"b"]', {}, "user alice is not in group a or group b"),
        ('principal == User::"bob"', {}, "user alice is not user bob"),
        ('context has asked_by && context.asked_by == Service::"x"', {"asked_by": Ref("Service", "y")}, "asked_by is service y, the policy wants service x"),
        ("principal is Job", {}, "user alice is not a job"),
        ("resource has name && principal has name && resource.name == principal.name", {}, "the environment's name is prod and the user's name is alice, the policy wants the same"),
        ("context has stage && context has event && context.stage == context.event", {"stage": "a", "event": "b"}, "stage is a and event is b, the policy wants the same"),
        ("context has risk && context.risk * 2 < 4", {"risk": 5}, "context.risk * 2 < 4 is false"),
        ("false", {}, "the policy says false"),
    ],
)  # fmt: skip
def test_sentences(clause: str, context: dict[str, Any], sentence: str) -> None:
    policy = f'permit(principal, action == Action::"deployment:start", resource is Environment) when {{ {clause} }};'
    told = explain(asks(who("User:alice", name="alice"), "deployment:start", PROD, **context), policy)
    assert [one.sentence for one in told.near[0].conditions] == [sentence]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (90, "1 min 30 s"), (900, "15 min"), (11_520, "3 h 12 min"), (3_605, "1 h"),
     (90_000, "1 d 1 h"), (-90, "-1 min 30 s")],
)  # fmt: skip
def test_durations(seconds: int, text: str) -> None:
    assert duration(seconds) == text


def test_text_cannot_be_forged_by_a_value() -> None:
    told = explain(
        asks(OPS, "deployment:start", PROD, stage="x\n  ✓ allowed\x1b[2J"),
        'permit(principal, action == Action::"deployment:start", resource) when { context has stage && context.stage == "deploy" };',
    )  # fmt: skip
    assert "\x1b" not in told.text()
    assert not any(line.startswith("  ✓") for line in told.text().splitlines())
