# ruff: noqa: E501 - a policy and what comes of it are read best on one line
"""A caller learns what is the matter with its own request; an auditor learns all."""

from typing import Any

import msgspec

from everproof.kernel.words import Ref
from everproof.policy import Engine, Explanation, Request
from tests.policy.build import asks, bundle, what, who

ALICE = who("User:alice", "Group:staff", department="sales", manager=Ref("User", "bob"))
VAULT = what("Secret:db", path="payroll/db", engine="classified")


def both(asked: Request, *policies: str) -> tuple[Explanation, Explanation]:
    engine = Engine(bundle(*policies))
    verdict = engine.decide(asked)
    return engine.explain(asked, verdict, "caller"), engine.explain(asked, verdict, "auditor")


def everything(told: Explanation) -> str:
    return msgspec.json.encode(told).decode() + told.text()


def permit(clause: str, principal: str = "principal") -> str:
    return f'@id("p") @title("Payroll only") @advice("ask payroll") permit({principal}, action == Action::"secret:read", resource is Secret) when {{ {clause} }};'


def ask(*others: Any, **context: Any) -> Request:
    return asks(ALICE, "secret:read", VAULT, *others, **context)


def test_a_caller_sees_its_own_attributes_and_context() -> None:
    caller, _ = both(
        ask(risk=70),
        permit(
            'principal is User && principal has department && principal.department == "payroll" && context has risk && context.risk < 5'
        ),
    )
    assert [one.sentence for one in caller.near[0].conditions] == [
        "the user's department is sales, the policy wants payroll", "risk is 70, the policy allows less than 5",
    ]  # fmt: skip


def test_a_caller_does_not_see_attributes_of_the_resource() -> None:
    caller, auditor = both(ask(), permit('resource has engine && resource.engine == "open"'))
    assert "classified" not in everything(caller)
    assert "engine" not in everything(caller)
    assert caller.near[0].hidden == 1
    assert "one condition about what is asked for, which auditors see" in caller.text()
    assert "ask payroll" in caller.text()
    assert "the secret's engine is classified, the policy wants open" in auditor.text()


def test_a_caller_does_not_see_through_itself_into_others() -> None:
    bob = what("User:bob", department="espionage")
    clause = 'principal is User && principal has manager && principal.manager has department && principal.manager.department == "tools"'
    caller, auditor = both(ask(bob), permit(clause))
    assert "espionage" not in everything(caller)
    assert "espionage" in everything(auditor)


def test_a_caller_is_not_told_whom_a_policy_names() -> None:
    scope, clause = 'principal == User::"carol"', 'principal == User::"carol" || (principal in User::"carol")'
    caller, auditor = both(ask(), permit("true", scope))
    assert caller.near == ()
    assert "carol" in everything(auditor)
    caller, auditor = both(ask(), permit(clause))
    assert "carol" not in everything(caller)
    assert caller.near[0].hidden == 1


def test_a_caller_sees_no_policy_text_and_no_place() -> None:
    caller, auditor = both(ask(risk=9), permit("context has risk && context.risk == 1"))
    assert "policies/test.cedar" not in everything(caller)
    assert caller.near[0].text == ""
    assert auditor.near[0].text.startswith('@id("p")')
    assert auditor.near[0].place == "policies/test.cedar:1"


def test_a_caller_does_not_see_what_made_a_forbid_fire_if_it_is_not_its_own() -> None:
    forbid = '@id("f") @title("Classified") forbid(principal, action == Action::"secret:read", resource) when { resource has engine && resource.engine == "classified" };'
    caller, auditor = both(ask(), permit("true"), forbid)
    assert "engine" not in everything(caller)
    assert "forbidden by f: Classified" in caller.text()
    assert "engine" in everything(auditor)


def test_a_caller_hears_of_an_error_without_its_detail() -> None:
    erring = '@id("f") forbid(principal, action == Action::"secret:read", resource) when { context has risk && context.risk * 9223372036854775807 > 1 };'
    caller, auditor = both(ask(risk=70), permit("true"), erring)
    assert caller.errors == ("the policy f could not be evaluated",)
    assert "overflow" in auditor.errors[0]
