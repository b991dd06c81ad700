"""What conditions ask that the key of a slice can answer.

Such as ``principal.repository_id == "74"``, ``context has asked_by``, ``context.asked_by in Group::"gateways"``. A
policy of which one such test fails is simply false, if nothing before that test can err: a strictly validated policy
looks at no attribute that may be absent, so what can err is arithmetic, an extension's function and an attribute of an
entity that is not there. Nothing of that kind may stand before it.
"""

from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from everproof.kernel.words import Ref
from everproof.policy.balance import Est
from everproof.policy.bundle import Policy
from everproof.policy.request import Request, ancestry
from everproof.policy.scopes import entity_of, walk
from everproof.policy.sight import as_ref

_HARMLESS: Final = frozenset({
    "Value", "Var", ".", "has", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "!", "in", "is", "like", "contains",
    "containsAll", "containsAny", "isEmpty", "Set", "if-then-else",
})  # fmt: skip
_ROOTS: Final = frozenset({"principal", "resource", "context"})

Answer = str | bool | frozenset[Ref] | None


class Pin(msgspec.Struct, frozen=True, order=True):
    """What is asked of an attribute: which text it is, whether it is there, or which entities it is or is in."""

    ask: Literal["text", "presence", "within"]
    root: str
    attribute: str

    def answer(self, request: Request, among: frozenset[str | Ref]) -> Answer:
        """Of the texts or entities ``among`` which policies tell apart, what is there. Presence is not asked here."""
        if self.ask == "within":
            ref = as_ref(request.context.get(self.attribute))
            return None if ref is None else among & ancestry(ref, request)  # type: ignore[return-value] # of entities
        value = self._value(request)
        return value if type(value) is str and value in among else None

    def _value(self, request: Request) -> object:
        if self.root == "context":
            return request.context.get(self.attribute)
        # Whoever is both counts as the principal, as in the closure.
        own = self.root == "principal" or request.principal.ref == request.resource.ref
        return (request.principal if own else request.resource).attributes.get(self.attribute)


class Test(msgspec.Struct, frozen=True):
    """A pin, what it is compared with, and how that must come out."""

    pin: Pin
    value: str | Ref | None
    wanted: bool

    def fails(self, answer: Answer) -> bool:
        """Whether with ``answer`` the policy is false for certain."""
        if self.pin.ask == "text":
            return answer != self.value
        if self.pin.ask == "presence":
            return answer is not self.wanted
        return isinstance(answer, frozenset) and (self.value in answer) is not self.wanted


def tests_of(policy: Policy) -> tuple[Test, ...]:
    """What is certain to be asked before anything that can err."""
    found = []
    for node, wanted in _asked(policy):
        test = _test(node, wanted=wanted)
        if test is not None:
            found.append(test)
        elif not _is_harmless(node):
            break
    return tuple(found)


def _asked(policy: Policy) -> Iterator[tuple[Est, bool]]:
    """What must all come out as said, in the order in which it is evaluated."""
    todo = [(one["body"], one["kind"] == "when") for one in reversed(policy.est["conditions"])]
    while todo:
        node, wanted = todo.pop()
        chain = node.get("&&" if wanted else "||")
        if chain is not None:
            todo += [(chain["right"], wanted), (chain["left"], wanted)]
        elif "!" in node:
            todo.append((node["!"]["arg"], not wanted))
        else:
            yield node, wanted


def _test(node: Est, *, wanted: bool) -> Test | None:
    if "==" in node and wanted:
        sides = node["=="]
        for here, there in (("left", "right"), ("right", "left")):
            inner, value = sides[here].get("."), sides[there].get("Value")
            if inner is not None and isinstance(value, str) and inner["left"].get("Var") in _ROOTS:
                return Test(Pin("text", inner["left"]["Var"], inner["attr"]), value, wanted=True)
    elif "has" in node and node["has"]["left"].get("Var") == "context":
        return Test(Pin("presence", "context", node["has"]["attr"]), None, wanted)
    elif "in" in node:
        inner, entity = node["in"]["left"].get("."), entity_of(node["in"]["right"].get("Value"))
        if inner is not None and inner["left"].get("Var") == "context" and entity is not None:
            return Test(Pin("within", "context", inner["attr"]), entity, wanted)
    return None


def _is_harmless(node: Est) -> bool:
    for one in walk(node):
        if not one.keys() <= _HARMLESS:
            return False
        if "." in one and "Var" not in one["."]["left"]:
            return False
    return True
