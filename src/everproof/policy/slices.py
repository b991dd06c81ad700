"""Slices: of all policies those that one kind of request (action, principal type, resource type) can match at all.

The scope of a policy is evaluated first and cannot err, so a slice gives the decision, the reasons and the errors of the
whole; and it is evaluated in a fraction of the time. A slice also knows which attributes its policies read: no other
attribute can change what they say, so no other is handed over.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeAlias

import msgspec
from cedarpy import PolicySet

from everproof.policy.bundle import Policy
from everproof.policy.schema import Schema
from everproof.policy.schema_text import ActionType

Est: TypeAlias = dict[str, Any]
"""A policy or an expression in the engine's JSON form."""

CONTEXT: Final[Est] = {"Var": "context"}


def policy_set(policies: Iterable[tuple[str, Est]]) -> Any:
    """The engine's handle for policies by id."""
    whole = {"staticPolicies": dict(policies), "templates": {}, "templateLinks": []}
    return PolicySet.from_json_str(msgspec.json.encode(whole).decode())


def matching(
    policies: Iterable[Policy], schema: Schema, action: ActionType, principal: str, resource: str
) -> tuple[Policy, ...]:
    """The policies whose scope can match such requests."""
    groups = schema.groups(action.name)
    of_principal = _may_match(schema, principal)
    of_resource = _may_match(schema, resource)
    return tuple(
        policy
        for policy in policies
        if _action_matches(policy.est["action"], groups)
        and of_principal(policy.est["principal"])
        and of_resource(policy.est["resource"])
    )


def _action_matches(scope: Est, groups: frozenset[str]) -> bool:
    if scope["op"] == "All":
        return True
    wanted = scope["entities"] if "entities" in scope else [scope["entity"]]
    names = {uid["id"] for uid in map(entity_of, wanted) if uid["type"] == "Action"}
    return not names.isdisjoint(groups)


def _may_match(schema: Schema, type_: str) -> Callable[[Est], bool]:
    reach = schema.reach(type_)

    def may_match(scope: Est) -> bool:
        operator = scope["op"]
        if operator == "All":
            return True
        if operator == "==":
            return bool(entity_of(scope["entity"])["type"] == type_)
        if operator == "in":
            return entity_of(scope["entity"])["type"] in reach
        within = scope.get("in")
        fits = within is None or entity_of(within["entity"])["type"] in reach
        return fits and scope["entity_type"] == type_

    return may_match


def entity_of(uid: Est) -> dict[str, str]:
    """The type and id of an entity, in whichever of the two forms it is written."""
    found: dict[str, str] = uid.get("__entity", uid)
    return found


def reads(policies: Iterable[Policy], context: Iterable[str]) -> frozenset[str]:
    """The names of all attributes that the policies look at; where one takes the context as a whole, all of it."""
    names: set[str] = set()
    for policy in policies:
        for condition in policy.est["conditions"]:
            for node in walk(condition["body"]):
                if node == CONTEXT:
                    names.update(context)
                    break
                for operator in (".", "has"):
                    if operator in node:
                        names.add(node[operator]["attr"])
    return frozenset(names)


def walk(node: Any) -> Iterator[Est]:
    """Every expression in ``node``, except the context where only an attribute of it is looked at."""
    if isinstance(node, list):
        for one in node:
            yield from walk(one)
    elif isinstance(node, dict):
        yield node
        for operator, inner in node.items():
            if operator in {".", "has"} and inner["left"] == CONTEXT:
                continue
            if operator == "Record":  # its keys are any text, operators among it
                yield from walk(list(inner.values()))
            elif operator not in {"Value", "Var"}:
                yield from walk(list(inner.values()) if isinstance(inner, dict) else inner)
