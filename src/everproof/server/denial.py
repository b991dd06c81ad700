"""A denial as this server's own endpoints say it: 403, with what policy said and which entry records it."""

from typing import Any, TypeVar

import msgspec

from everproof.access import request_command, request_page
from everproof.authorize import Allowed, Denied, StepUp
from everproof.authorize.remedy import SIGN_IN
from everproof.kernel.errors import RefusedError, UnauthenticatedError
from everproof.kernel.words import Action, Resource
from everproof.policy.phrases import duration

A = TypeVar("A", bound=Action)
R = TypeVar("R", bound=Resource)
T = TypeVar("T")


class DeniedError(RefusedError):
    """Policy said no. ``extra`` carries the explanation as data and the receipt, and what would help."""

    code = "denied"

    def __init__(self, denied: Denied) -> None:
        super().__init__(words(denied), place=f"{denied.action.name} on {denied.resource.ref}")
        self.extra: dict[str, Any] = {
            "reason": denied.reason,
            "explanation": explained(denied),
            "receipt": msgspec.to_builtins(denied.receipt),
            **helps(denied),
        }


class StepUpError(DeniedError):
    """Policy said: not before a factor was shown. The challenge is that of RFC 9470."""

    code = "insufficient_user_authentication"
    status = UnauthenticatedError.status

    def __init__(self, denied: Denied, step_up: StepUp) -> None:
        super().__init__(denied)
        self.headers = {"www-authenticate": challenge(step_up)}


def denial(denied: Denied) -> DeniedError:
    """The error that says so: a challenge where a factor is all that is wanted, and else a refusal."""
    step_up, request = denied.remedy.step_up, denied.remedy.request
    return DeniedError(denied) if step_up is None or request is not None else StepUpError(denied, step_up)


def challenge(step_up: StepUp) -> str:
    """What RFC 9470, section 3, asks a client for."""
    age = "" if step_up.max_age_seconds is None else f", max_age={step_up.max_age_seconds}"
    wanted = "a sign-in" if step_up.methods == (SIGN_IN,) else "a second factor"
    return (
        'DPoP algs="ES256 EdDSA", error="insufficient_user_authentication", '
        f'error_description="{wanted} that is more recent is wanted"{age}'
    )


def helps(denied: Denied) -> dict[str, Any]:
    """What would help, as data: ``step_up`` in which session and where, ``request`` as a command and as a page."""
    remedy, found = denied.remedy, {}
    if (step_up := remedy.step_up) is not None:
        session = denied.proof.claims.get("session", "")
        found["step_up"] = {
            "max_age_seconds": step_up.max_age_seconds,
            "methods": list(step_up.methods),
            "session": session,
            "page": f"/step-up?session={session}",
        }
    if (wanted := remedy.request) is not None:
        found["request"] = {
            "action": wanted.action,
            "resource": {"type": wanted.resource.type, "id": wanted.resource.id},
            "command": request_command(wanted.action, wanted.resource),
            "page": request_page(wanted.action, wanted.resource),
        }
    return found


def words(denied: Denied) -> str:
    """Why, for a person, and what to do next.

    Where policy allows, what was to be done in the same commit refused: a certificate that was used before, a
    credential just revoked.
    """
    if denied.decision.allowed:
        return denied.reason
    return "\n".join([denied.explanation("caller").text() or denied.reason, *advice(denied)])


def advice(denied: Denied) -> list[str]:
    """What to do next, a line for each step."""
    remedy, found = denied.remedy, []
    if (step_up := remedy.step_up) is not None:
        if step_up.methods == (SIGN_IN,):
            found.append("→ sign in anew: everproof login")
        else:
            age = step_up.max_age_seconds
            within = "" if age is None else f", then try again within {duration(age)}"
            found.append(f"→ show a second factor ({', '.join(step_up.methods)}): everproof step-up{within}")
    if (wanted := remedy.request) is not None:
        found.append(f"→ ask for it: {request_command(wanted.action, wanted.resource)}")
    return found


def explained(denied: Denied) -> dict[str, Any]:
    """Why, as data; empty where it was not policy that refused."""
    if denied.decision.allowed:
        return {}
    found: dict[str, Any] = msgspec.to_builtins(denied.explanation("caller"))
    return found


def allowed(outcome: Allowed[A, R, T] | Denied) -> Allowed[A, R, T]:
    """The permission.

    Raises:
        DeniedError: there is none; a `StepUpError` where a factor is all that is wanted.
    """
    if isinstance(outcome, Denied):
        raise denial(outcome)
    return outcome
