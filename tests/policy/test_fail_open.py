# ruff: noqa: E501 - a policy and what comes of it are read best on one line
"""Every way in which Cedar, used carelessly, would answer Allow; each first shown, then shown to be closed."""

import json
from typing import Any

import cedarpy
import pytest

from everproof.kernel.words import Ref
from everproof.policy import Engine
from tests.policy.build import asks, bundle, decide, what, who

ALLOW = 'permit(principal, action == Action::"git:fetch", resource);'
ALICE = who("User:alice")
SHOP = what("Repository:shop")


def test_an_erroring_forbid_does_not_fall_away() -> None:
    forbid = 'forbid(principal, action == Action::"git:fetch", resource) when { context has risk && context.risk * 9223372036854775807 > 1 };'
    request = asks(ALICE, "git:fetch", SHOP, risk=9)
    careless = cedarpy.is_authorized(
        {"principal": 'User::"alice"', "action": 'Action::"git:fetch"', "resource": 'Repository::"shop"', "context": {"risk": 9}},
        f"{ALLOW}\n{forbid}", [],
    )  # fmt: skip
    assert careless.allowed
    verdict = decide(request, ALLOW, forbid)
    assert not verdict.decision.allowed
    assert verdict.decision.reasons == ()
    assert verdict.failures[0].policy == "b"
    assert "overflow" in verdict.reason


def test_an_erroring_permit_denies_beside_one_that_allows() -> None:
    erring = 'permit(principal, action == Action::"git:fetch", resource) when { context has risk && context.risk * 9223372036854775807 > 1 };'
    assert not decide(asks(ALICE, "git:fetch", SHOP, risk=9), ALLOW, erring).decision.allowed


def test_a_forbid_on_a_group_of_actions_fires() -> None:
    """Entities parsed without the schema have no actions in groups, so that such a forbid would be silent."""
    forbid = 'forbid(principal, action in Action::"read", resource);'
    made = bundle(ALLOW, forbid)
    text = "\n".join(policy.text for policy in made.policies)
    careless = cedarpy.is_authorized(
        {"principal": 'User::"alice"', "action": 'Action::"git:fetch"', "resource": 'Repository::"shop"', "context": {}},
        text, cedarpy.Entities.from_json_str("[]"), schema=made.schema.handle,
    )  # fmt: skip
    assert careless.allowed
    verdict = Engine(made).decide(asks(ALICE, "git:fetch", SHOP))
    assert not verdict.decision.allowed
    assert verdict.decision.reasons == ("b",)


def test_a_forbid_on_the_group_of_a_group_of_actions_fires() -> None:
    schema = 'action everything; action some in [everything]; action "x:y" in [some] appliesTo { principal: [User], resource: [Repository], context: Facts };'
    verdict = decide(
        asks(ALICE, "x:y", SHOP), 'permit(principal, action == Action::"x:y", resource);',
        'forbid(principal, action in Action::"everything", resource);', schema__x_cedarschema=schema,
    )  # fmt: skip
    assert verdict.decision.reasons == ("b",)


def test_an_absent_fact_does_not_pass_a_guarded_forbid_of_the_starter() -> None:
    """Had the forbid asked `when { context has commits_unsigned && ... }`, a push nobody looked at would pass."""
    from everproof.policy import starter_bundle

    branch = what("Branch:shop@refs/heads/main", "Repository:shop", "Space:main", name="main")
    alice = who("User:alice", "Group:developers", "Space:main")
    verdict = Engine(starter_bundle()).decide(asks(alice, "git:push", branch))
    assert not verdict.decision.allowed
    assert "git/commits-are-signed" in verdict.decision.reasons


def test_a_forbid_without_a_guard_is_refused_when_it_is_loaded() -> None:
    from everproof.policy import BundleError

    with pytest.raises(BundleError, match="unable to guarantee safety of access to optional attribute `risk`"):
        bundle(ALLOW, 'forbid(principal, action == Action::"git:fetch", resource) when { context.risk > 70 };')


@pytest.mark.parametrize(
    ("context", "place"),
    [
        ({"risk": "high"}, "context.risk: must be a Long, is a String"),
        ({"risk": True}, "context.risk: must be a Long, is a Bool"),
        ({"risk": 1.5}, "context.risk: must be a Long, is a fraction"),
        ({"risk": None}, "context.risk: must be a Long, is a null"),
        ({"risk": 2**63}, "context.risk: is beyond 64 bits"),
        ({"key_bound": "true"}, "context.key_bound: must be a Bool, is a String"),
        ({"key_bound": 1}, "context.key_bound: must be a Bool, is a Long"),
        ({"scope": "all"}, "context.scope: must be a Set<String>, is a String"),
        ({"scope": ["a", 3]}, "context.scope[]: must be a String, is a Long"),
        ({"asked_by": "gateway"}, "context.asked_by: must be a Service, is a String"),
        ({"asked_by": Ref("User", "mallory")}, "context.asked_by: must be a Service, is a User"),
        ({"asked_by": {"__entity": {"type": "User", "id": "m"}}}, "context.asked_by: must be a Service, is a User"),
        ({"risk": {"__extn": {"fn": "decimal", "arg": "1.0"}}}, "context.risk: must be a Long, is a record"),
    ],
)  # fmt: skip
def test_a_fact_of_another_type_denies_with_its_place(context: dict[str, Any], place: str) -> None:
    """Even where no policy looks at it: who sends it does not know what it says."""
    verdict = decide(asks(ALICE, "git:fetch", SHOP, **context), ALLOW)
    assert not verdict.decision.allowed
    assert verdict.decision.errors == (place,)


def test_an_attribute_of_another_type_denies_with_its_place() -> None:
    for request, place in (
        (asks(who("User:a", name=3), "git:fetch", SHOP), "principal.name: must be a String, is a Long"),
        (asks(ALICE, "git:fetch", what("Repository:r", name=["x"])), "resource.name: must be a String, is a Set"),
        (asks(who("User:a", "Repository:r"), "git:fetch", SHOP), "principal.parents: a User cannot be in a Repository"),
        (asks(ALICE, "git:fetch", SHOP, what("Bogus:x")), 'Bogus::"x": there is no type Bogus in the schema'),
    ):
        assert decide(request, ALLOW).decision.errors == (place,)


def test_what_the_schema_does_not_know_reaches_no_policy_but_is_recorded() -> None:
    request = asks(who("User:a", shoe_size=43), "git:fetch", what("Repository:r", colour="red"), weather="fine")
    verdict = decide(request, ALLOW)
    assert verdict.decision.allowed
    assert json.loads(verdict.context) == {"weather": "fine"}
    assert [one["attrs"] for one in json.loads(verdict.entities)] == [{"shoe_size": 43}, {"colour": "red"}]


@pytest.mark.parametrize(
    ("request_", "place"),
    [
        (asks(ALICE, "git:teleport", SHOP), "action: there is no git:teleport in the schema"),
        (asks(ALICE, "read", SHOP), "principal: a User is nobody who can read"),
        (asks(who("Robot:r2"), "git:fetch", SHOP), "principal: a Robot is nobody who can git:fetch"),
        (asks(ALICE, "git:fetch", what("Secret:s")), "resource: git:fetch is not done to a Secret"),
        (asks(ALICE, "git:fetch", what('Repo"; drop:x')), 'resource: git:fetch is not done to a Repo"; drop'),
    ],
)  # fmt: skip
def test_a_request_that_the_schema_does_not_have_is_denied(request_: Any, place: str) -> None:
    verdict = decide(request_, "permit(principal, action, resource);")
    assert not verdict.decision.allowed
    assert verdict.decision.errors == (place,)


@pytest.mark.parametrize("value", [{"f": {1, object()}}, {"f": object()}, {"f": "\ud800"}, {3: "x"}, {"f": 1j}])
def test_what_cannot_be_written_down_is_denied(value: dict[Any, Any]) -> None:
    from everproof.kernel.words import Action
    from everproof.policy import Request

    verdict = decide(Request(ALICE, Action("git:fetch"), SHOP, value), ALLOW)
    assert not verdict.decision.allowed
    assert verdict.context == b"{}"


def test_a_value_nested_beyond_reason_is_denied() -> None:
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    assert not decide(asks(ALICE, "git:fetch", SHOP, scope=deep), ALLOW).decision.allowed


def test_ids_are_no_syntax() -> None:
    """An id with quotes, newlines or Cedar in it is only itself."""
    for odd in ('a" || true //', "a\nb", "\\", '"', "é", 'Group::"administrators"', ""):
        policy = 'permit(principal == User::"alice", action == Action::"git:fetch", resource);'
        assert not decide(asks(who(f"User:{odd}"), "git:fetch", SHOP), policy).decision.allowed
        assert decide(asks(ALICE, "git:fetch", what(f"Repository:{odd}")), policy).decision.allowed


def test_a_principal_that_is_also_the_resource_keeps_its_proven_attributes() -> None:
    """Else a caller would describe itself by describing the resource."""
    policy = 'permit(principal, action == Action::"identity:read", resource is User) when { principal has administrator && principal.administrator };'
    request = asks(ALICE, "identity:read", what("User:alice", administrator=True))
    assert not decide(request, policy).decision.allowed


def test_reasons_are_names_not_positions() -> None:
    verdict = decide(asks(ALICE, "git:fetch", SHOP), f'@id("fetch/all") {ALLOW}')
    assert verdict.decision.reasons == ("fetch/all",)


def test_an_unlinked_template_permits_nothing() -> None:
    template = '@id("role") permit(principal in ?principal, action, resource);'
    verdict = decide(
        asks(who("User:a", "Group:g"), "git:fetch", SHOP),
        template,
        'permit(principal, action == Action::"git:push", resource);',
    )
    assert not verdict.decision.allowed


def test_a_shadow_policy_binds_nobody_and_is_reported() -> None:
    shadows = [
        '@id("s/permit") @shadow("true") permit(principal, action == Action::"git:fetch", resource);',
        '@id("s/forbid") @shadow("true") forbid(principal, action == Action::"git:fetch", resource);',
        '@id("s/errs") @shadow("true") forbid(principal, action == Action::"git:fetch", resource) when { context has risk && context.risk * 9223372036854775807 > 1 };',
        '@id("s/other") @shadow("true") forbid(principal, action == Action::"git:push", resource);',
    ]
    request = asks(ALICE, "git:fetch", SHOP, risk=9)
    for allowed, policies in ((True, [ALLOW, *shadows]), (False, shadows)):
        verdict = decide(request, *policies)
        assert verdict.decision.allowed is allowed
        assert verdict.decision.errors == ()
        assert (verdict.shadow_permits, verdict.shadow_denies) == (("s/permit",), ("s/forbid",))
        assert verdict.shadow == ("s/permit", "s/forbid", "s/errs")
