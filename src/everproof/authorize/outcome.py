"""What `authorize` returns. Only this room can make an `Allowed`, so "decided, recorded, then done" is a type."""

from collections.abc import Callable
from typing import Any, Final, Generic, Literal, TypeAlias, final

from typing_extensions import TypeVar

from everproof.authorize.remedy import NONE, Remedy
from everproof.kernel.words import Action, Decision, Proof, Resource
from everproof.ledger import Receipt
from everproof.policy import Explanation

A_co = TypeVar("A_co", bound=Action, covariant=True)
R_co = TypeVar("R_co", bound=Resource, covariant=True)
T_co = TypeVar("T_co", covariant=True, default=None)

Audience: TypeAlias = Literal["caller", "auditor"]


class _Seal:
    """Known to this room alone: what makes an `Allowed` genuine."""


_SEAL: Final = _Seal()


@final
class Allowed(Generic[A_co, R_co, T_co]):
    """A decision that allows, durably recorded: what a capability's function asks for before it does anything.

    ``receipt`` names its ledger entry and ``outcome`` is what was done within the same commit.
    """

    __slots__ = ("_seal", "action", "decision", "outcome", "proof", "receipt", "resource")

    def __init__(
        self,
        *,
        proof: Proof,
        action: A_co,
        resource: R_co,
        decision: Decision,
        receipt: Receipt,
        outcome: T_co,
        seal: _Seal,
    ) -> None:
        if seal is not _SEAL:
            raise TypeError("an Allowed comes from authorize, and from nowhere else")
        self._seal = seal
        self.proof = proof
        self.action = action
        self.resource = resource
        self.decision = decision
        self.receipt = receipt
        self.outcome = outcome

    def __repr__(self) -> str:
        return f"Allowed({self.proof.principal.ref}, {self.action.name}, {self.resource.ref})"


@final
class Denied:
    """A decision that does not allow, durably recorded, with what would explain it.

    ``reason`` is one sentence. ``lets_pass``: the enforcement point only observes, and the entry says ``would_deny``.
    """

    __slots__ = (
        "_explain", "_find", "_remedy", "action", "decision", "lets_pass", "proof", "reason", "receipt", "resource",
    )  # fmt: skip

    def __init__(
        self,
        *,
        proof: Proof,
        action: Action,
        resource: Resource,
        decision: Decision,
        receipt: Receipt,
        reason: str,
        lets_pass: bool,
        explain: Callable[[Audience], Explanation],
        find: Callable[[], Remedy] | None = None,
    ) -> None:
        self.proof = proof
        self.action = action
        self.resource = resource
        self.decision = decision
        self.receipt = receipt
        self.reason = reason
        self.lets_pass = lets_pass
        self._explain = explain
        self._find = find
        self._remedy: Remedy | None = None

    @property
    def remedy(self) -> Remedy:
        """What would turn it, found when it is first asked for."""
        if self._remedy is None:
            self._remedy = NONE if self._find is None else self._find()
        return self._remedy

    def explanation(self, audience: Audience = "caller") -> Explanation:
        """Why: to the caller, what concerns the caller's own attributes and request; to an auditor, all."""
        return self._explain(audience)

    def __repr__(self) -> str:
        return f"Denied({self.proof.principal.ref}, {self.action.name}, {self.resource.ref}: {self.reason})"


Outcome: TypeAlias = Allowed[Any, Any, Any] | Denied
