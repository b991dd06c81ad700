"""Handing policies to the engine in its JSON form, which it reads only to a certain depth.

A chain of ``&&`` is as deep as it is long. Written as a balanced tree it has the same parts in the same order, so that
it evaluates the same: both operators associate.
"""

from collections.abc import Iterable
from typing import Any, TypeAlias

import msgspec
from cedarpy import PolicySet

Est: TypeAlias = dict[str, Any]
"""A policy or an expression in the engine's JSON form."""


def policy_set(policies: Iterable[tuple[str, Est]]) -> Any:
    """The engine's handle for policies by id.

    Raises:
        ValueError: one of them is too deep.
    """
    whole = {"staticPolicies": dict(policies), "templates": {}, "templateLinks": []}
    return PolicySet.from_json_str(msgspec.json.encode(whole).decode())


def conjuncts(node: Est, operator: str = "&&") -> list[Est]:
    """The parts of a chain of ``&&`` (or of ``||``), in the order in which they are evaluated."""
    found: list[Est] = []
    todo = [node]
    while todo:
        one = todo.pop()
        if operator in one:
            todo += [one[operator]["right"], one[operator]["left"]]
        else:
            found.append(one)
    return found


def balanced(node: Any) -> Any:
    """The expression with its chains as balanced trees."""
    if isinstance(node, list):
        return [balanced(one) for one in node]
    if not isinstance(node, dict) or "Value" in node:
        return node
    for operator in ("&&", "||"):
        if node.keys() == {operator}:
            return _tree([balanced(one) for one in conjuncts(node, operator)], operator)
    return {name: balanced(inner) for name, inner in node.items()}


def _tree(parts: list[Est], operator: str) -> Est:
    if len(parts) == 1:
        return parts[0]
    middle = (len(parts) + 1) // 2
    return {operator: {"left": _tree(parts[:middle], operator), "right": _tree(parts[middle:], operator)}}
