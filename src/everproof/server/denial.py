"""A denial as this server's own endpoints say it: 403, with what policy said and which entry records it."""

from typing import Any, TypeVar

import msgspec

from everproof.authorize import Allowed, Denied
from everproof.kernel.errors import RefusedError
from everproof.kernel.words import Action, Resource

A = TypeVar("A", bound=Action)
R = TypeVar("R", bound=Resource)
T = TypeVar("T")


class DeniedError(RefusedError):
    """Policy said no. ``extra`` carries the explanation as data and the receipt."""

    code = "denied"

    def __init__(self, denied: Denied) -> None:
        super().__init__(words(denied), place=f"{denied.action.name} on {denied.resource.ref}")
        self.extra: dict[str, Any] = {
            "reason": denied.reason,
            "explanation": explained(denied),
            "receipt": msgspec.to_builtins(denied.receipt),
        }


def words(denied: Denied) -> str:
    """Why, for a person. Where policy allows, it was what was to be done in the same commit that refused."""
    return denied.reason if denied.decision.allowed else denied.explanation("caller").text() or denied.reason


def explained(denied: Denied) -> dict[str, Any]:
    """Why, as data; empty where it was not policy that refused."""
    if denied.decision.allowed:
        return {}
    found: dict[str, Any] = msgspec.to_builtins(denied.explanation("caller"))
    return found


def allowed(outcome: Allowed[A, R, T] | Denied) -> Allowed[A, R, T]:
    """The permission.

    Raises:
        DeniedError: there is none.
    """
    if isinstance(outcome, Denied):
        raise DeniedError(outcome)
    return outcome
