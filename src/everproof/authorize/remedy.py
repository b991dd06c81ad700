"""What would turn a denial: a factor that is fresher, an access that is granted for a while, or both.

Nothing about it stands in a policy beside the policy itself. The engine is asked again as if the fact were another, so
whatever a policy wants of these facts, however it says so, is what the remedy names.
"""

from typing import Any, Final

import msgspec

from everproof.kernel.words import Attributes, Ref
from everproof.policy import Engine, Request

PERSON: Final = "User"

WITH_USER_VERIFIED: Final[Attributes] = {"passkey": True, "security-key": False}
METHODS: Final = ("passkey", "security-key", "totp", "recovery-code", "provider")
"""How a session can be shown a factor, the strongest first."""
SIGN_IN: Final = "sign-in"
"""The method of who has to sign in anew: what is too old is the authentication itself."""

OLDEST: Final = 7 * 24 * 3600
"""Seconds. A factor that may be older may be of any age: no session lasts longer."""

OF_FACTORS: Final = frozenset({"mfa_age", "mfa_method", "mfa_user_verified", "factors_shown", "auth_age"})
OF_GRANTS: Final = frozenset({"granted", "grant_id", "grant_expires_in", "approvals", "approvers"})
_GRANTED: Final[Attributes] = {
    "granted": True, "grant_id": "cred_that_is_requested", "grant_expires_in": 3600, "approvals": 9,
    "approvers": [f"approver {number}" for number in range(1, 10)],
}  # fmt: skip


class StepUp(msgspec.Struct, frozen=True):
    """A factor to be shown in the session: one of ``methods``, at most so many seconds ago; None: however long ago."""

    max_age_seconds: int | None
    methods: tuple[str, ...]


class AccessRequestHint(msgspec.Struct, frozen=True):
    """The access to be asked for."""

    action: str
    resource: Ref


class Remedy(msgspec.Struct, frozen=True):
    """What would have it allowed. Where both are there, both are needed; where neither is, nothing helps."""

    step_up: StepUp | None = None
    request: AccessRequestHint | None = None

    def __bool__(self) -> bool:
        return self.step_up is not None or self.request is not None


NONE: Final = Remedy()


def find_remedy(engine: Engine, asked: Request, *, in_session: bool) -> Remedy:
    """What would turn the denial of ``asked``. A factor helps those alone who are in a session."""
    kind = (asked.action.name, asked.principal.ref.type, asked.resource.ref.type)
    looked_at = engine.looked_at(kind)
    factors = in_session and not OF_FACTORS.isdisjoint(looked_at)
    grants = not OF_GRANTS.isdisjoint(looked_at)
    if asked.principal.ref.type != PERSON or not (factors or grants):
        return NONE
    question = _Question(engine, asked)
    if factors and (step_up := question.step_up()) is not None:
        return Remedy(step_up=step_up)
    if not grants:
        return NONE
    wanted = AccessRequestHint(asked.action.name, asked.resource.ref)
    granted = question.also(_GRANTED)
    if granted.allows():
        return Remedy(request=wanted)
    if factors and (step_up := granted.step_up()) is not None:
        return Remedy(step_up, wanted)
    return NONE


class _Question:
    """A question with other facts than there are."""

    def __init__(self, engine: Engine, asked: Request) -> None:
        self._engine = engine
        self._asked = asked

    def also(self, facts: Attributes) -> "_Question":
        return _Question(self._engine, self._with(facts))

    def allows(self, facts: Attributes | None = None) -> bool:
        asked = self._asked if facts is None else self._with(facts)
        return self._engine.decide(asked).decision.allowed

    def step_up(self) -> StepUp | None:
        """The factors that would do, and how long ago the strongest of them may have been shown."""
        methods = tuple(method for method in METHODS if self.allows(self._shown(method, 0)))
        if methods:
            return StepUp(self._oldest(lambda age: self._shown(methods[0], age)), methods)
        # Signing in anew shows a factor too, if the provider or the passkey does.
        signed = [{**self._shown(method, 0), "auth_age": 0} for method in METHODS]
        if any(self.allows(facts) for facts in ({"auth_age": 0}, *signed)):
            return StepUp(0, (SIGN_IN,))
        return None

    def _oldest(self, shown: Any) -> int | None:
        if self.allows(shown(OLDEST)):
            return None
        good, bad = 0, OLDEST
        while bad - good > 1:
            age = (good + bad) // 2
            if self.allows(shown(age)):
                good = age
            else:
                bad = age
        return good

    def _shown(self, method: str, age: int) -> dict[str, Any]:
        before = self._asked.context.get("factors_shown", ())
        facts: dict[str, Any] = {
            "mfa_age": age, "mfa_method": method, "factors_shown": sorted({*before, method}), "mfa_user_verified": None,
        }  # fmt: skip
        if method in WITH_USER_VERIFIED:
            facts["mfa_user_verified"] = WITH_USER_VERIFIED[method]
        return facts

    def _with(self, facts: Attributes) -> Request:
        """The request with ``facts``; one that is None is absent."""
        context = {name: value for name, value in {**self._asked.context, **facts}.items() if value is not None}
        return msgspec.structs.replace(self._asked, context=context)
