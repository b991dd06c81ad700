"""Policies that are pinned to one value of an attribute, such as ``principal.repository_id == "74"``.

For every other value such a policy is simply false, if nothing before that comparison can err: a strictly validated
policy looks at no attribute that may be absent, so what can err is arithmetic, an extension's function and an attribute
of an entity that is not there. Nothing of that kind may stand before it.
"""

from typing import Final

import msgspec

from everproof.policy.balance import Est, conjuncts
from everproof.policy.bundle import Policy
from everproof.policy.request import Request
from everproof.policy.scopes import walk

_HARMLESS: Final = frozenset({
    "Value", "Var", ".", "has", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "!", "in", "is", "like", "contains",
    "containsAll", "containsAny", "isEmpty", "Set", "if-then-else",
})  # fmt: skip
_ROOTS: Final = frozenset({"principal", "resource", "context"})


class Pin(msgspec.Struct, frozen=True, order=True):
    """An attribute of the principal, the resource or the context that is compared with a text."""

    root: str
    attribute: str

    def value(self, request: Request) -> object:
        """What the request has there."""
        if self.root == "context":
            return request.context.get(self.attribute)
        # Whoever is both counts as the principal, as in the closure.
        own = self.root == "principal" or request.principal.ref == request.resource.ref
        return (request.principal if own else request.resource).attributes.get(self.attribute)


def pin_of(policy: Policy) -> tuple[Pin, str] | None:
    """What the policy is pinned to, and the text; None if it is not."""
    for condition in policy.est["conditions"]:
        if condition["kind"] == "unless":
            if not _is_harmless(condition["body"]):
                return None
            continue
        for one in conjuncts(condition["body"]):
            found = _pinned(one)
            if found is not None:
                return found
            if not _is_harmless(one):
                return None
    return None


def _pinned(node: Est) -> tuple[Pin, str] | None:
    if "==" not in node:
        return None
    sides = node["=="]
    for here, there in (("left", "right"), ("right", "left")):
        inner, value = sides[here].get("."), sides[there].get("Value")
        if inner is not None and isinstance(value, str) and inner["left"].get("Var") in _ROOTS:
            return Pin(inner["left"]["Var"], inner["attr"]), value
    return None


def _is_harmless(node: Est) -> bool:
    for one in walk(node):
        if not one.keys() <= _HARMLESS:
            return False
        if "." in one and "Var" not in one["."]["left"]:
            return False
    return True
