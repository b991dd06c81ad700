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
        explanation = denied.explanation("caller")
        super().__init__(explanation.text() or denied.reason, place=f"{denied.action.name} on {denied.resource.ref}")
        self.extra: dict[str, Any] = {
            "reason": denied.reason,
            "explanation": msgspec.to_builtins(explanation),
            "receipt": msgspec.to_builtins(denied.receipt),
        }


def allowed(outcome: Allowed[A, R, T] | Denied) -> Allowed[A, R, T]:
    """The permission.

    Raises:
        DeniedError: there is none.
    """
    if isinstance(outcome, Denied):
        raise DeniedError(outcome)
    return outcome
