"""What would turn a denial is found by asking the engine, whatever way a policy says what it wants."""

import pytest

from everproof.authorize import AccessRequestHint, Remedy, StepUp
from everproof.authorize.remedy import METHODS, find_remedy
from everproof.kernel.words import MAIN_SPACE, NOTHING, Action, Attributes, Principal, Ref, Resource
from everproof.policy import Engine, Request, load_bundle

SECRET = Ref("Secret", "prod/db")
ALICE = Ref("User", "alice")
HINT = AccessRequestHint("secret:read", SECRET)
STALE: Attributes = {"mfa_age": 7_000, "mfa_method": "totp", "auth_age": 7_000}

FRESH = "permit: context has mfa_age && context.mfa_age < 300"
STRONG = (
    'permit: context has mfa_age && context.mfa_age <= 900 && context has mfa_method && context.mfa_method == "passkey"'
)
VERIFIED = (
    "permit: context has mfa_user_verified && context.mfa_user_verified && context has mfa_age && context.mfa_age < 60"
)
GRANTED = "permit: context has granted && context.granted"
TWO_APPROVERS = "permit: context has approvals && context.approvals >= 2"
FACTOR_TOO = "forbid: !(context has mfa_age && context.mfa_age < 60)"
ONCE_A_CODE = 'permit: context has factors_shown && context.factors_shown.contains("totp")'
RECENT_LOGIN = "permit: context has auth_age && context.auth_age < 600"


def remedy(policies: list[str], context: Attributes = NOTHING, *, who: Ref = ALICE, in_session: bool = True) -> Remedy:
    """What would turn the denial that ``policies`` come to, each an effect and its condition."""
    text = ""
    for number, policy in enumerate(policies):
        effect, condition = policy.split(": ", 1)
        text += f'@id("p{number}") {effect}(principal, action, resource) when {{ {condition} }};\n'
    engine = Engine(load_bundle({"policies/x.cedar": text.encode()}))
    resource = Resource(ref=SECRET, parents=(MAIN_SPACE,))
    asked = Request(Principal(ref=who), Action("secret:read"), resource, context)
    assert not engine.decide(asked).decision.allowed
    return find_remedy(engine, asked, in_session=in_session)


@pytest.mark.parametrize(
    ("policies", "found"),
    [
        ([FRESH], Remedy(StepUp(299, METHODS))),
        ([STRONG], Remedy(StepUp(900, ("passkey",)))),
        ([GRANTED], Remedy(request=HINT)),
        ([TWO_APPROVERS], Remedy(request=HINT)),
        ([GRANTED, FACTOR_TOO], Remedy(StepUp(59, METHODS), HINT)),
        ([ONCE_A_CODE], Remedy(StepUp(None, ("totp",)))),
        ([RECENT_LOGIN], Remedy(StepUp(0, ("sign-in",)))),
        ([FRESH, GRANTED], Remedy(StepUp(299, METHODS))),
        ([FRESH, "forbid: true"], Remedy()),
        (['permit: principal in Group::"others"'], Remedy()),
    ],
)
def test_the_remedy_is_what_policy_would_take(policies: list[str], found: Remedy) -> None:
    assert remedy(policies, STALE) == found


def test_a_factor_helps_those_alone_who_are_in_a_session() -> None:
    assert remedy([FRESH], in_session=False) == Remedy()
    assert remedy([GRANTED, FACTOR_TOO], in_session=False) == Remedy()
    assert remedy([GRANTED], in_session=False) == Remedy(request=HINT)


def test_machines_are_offered_nothing_that_only_people_can_do() -> None:
    assert remedy([FRESH, GRANTED], who=Ref("Service", "shop")) == Remedy()


def test_a_factor_that_asks_for_no_pin_is_not_taken_for_one_that_did() -> None:
    before = {"mfa_age": 9_000, "mfa_method": "passkey", "mfa_user_verified": True}
    assert remedy([VERIFIED], before) == Remedy(StepUp(59, ("passkey",)))
