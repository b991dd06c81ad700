"""What a policy's scope says about the requests that it can match, in the engine's JSON form."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from everproof.kernel.words import Ref
from everproof.policy.balance import Est
from everproof.policy.bundle import Policy
from everproof.policy.schema import Schema
from everproof.policy.schema_text import ActionType

CONTEXT: Final[Est] = {"Var": "context"}
ANYTHING: Final[Est] = {"op": "All"}


def matching(
    policies: Iterable[Policy], schema: Schema, action: ActionType, principal: str, resource: str
) -> tuple[Policy, ...]:
    """The policies whose scope can match requests of these types."""
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
    names = {ref.id for ref in map(_ref, wanted) if ref.type == "Action"}
    return not names.isdisjoint(groups)


def _may_match(schema: Schema, type_: str) -> Callable[[Est], bool]:
    reach = schema.reach(type_)

    def may_match(scope: Est) -> bool:
        if scope["op"] == "is" and scope["entity_type"] != type_:
            return False
        named = named_entity(scope)
        if named is None:
            return True
        return named.type == type_ if scope["op"] == "==" else named.type in reach

    return may_match


def named_entity(scope: Est) -> Ref | None:
    """The one entity that the principal or resource must be or be in, if the scope names one."""
    inner = scope.get("in", scope)
    return _ref(inner["entity"]) if "entity" in inner else None


def settled(est: Est) -> Est:
    """The policy without its scope, for requests that are known to match it."""
    return {**est, "principal": ANYTHING, "action": ANYTHING, "resource": ANYTHING}


def entity_of(value: Any) -> Ref | None:
    """The entity that a literal names, or None if it is another literal."""
    return _ref(value) if isinstance(value, dict) and "__entity" in value else None


def _ref(uid: Est) -> Ref:
    inner = uid.get("__entity", uid)
    return Ref(inner["type"], inner["id"])


def reads(policy: Policy, context: Iterable[str]) -> frozenset[str]:
    """The names of all attributes that a policy looks at; where it takes the context as a whole, all of it."""
    names: set[str] = set()
    for condition in policy.est["conditions"]:
        for node in walk(condition["body"]):
            if node == CONTEXT:
                names.update(context)
            for operator in (".", "has"):
                if operator in node:
                    names.add(node[operator]["attr"])
    return frozenset(names)


_OWN: Final = frozenset({
    "Value", "Var", ".", "has", "==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "neg", "&&", "||", "!", "is", "like",
    "contains", "containsAll", "containsAny", "isEmpty", "Set", "Record", "if-then-else", "ip", "decimal", "datetime",
    "duration", "isIpv4", "isIpv6", "isLoopback", "isMulticast", "isInRange", "lessThan", "lessThanOrEqual",
    "greaterThan", "greaterThanOrEqual", "offset", "durationSince", "toDate", "toTime",
})  # fmt: skip


def looks_around(policies: Iterable[Policy]) -> bool:
    """Whether a condition may look at more than the attributes of principal, resource and context.

    At what they are in, or into an entity that a literal names. An operator that is not known here might.
    """
    for policy in policies:
        for condition in policy.est["conditions"]:
            for node in walk(condition["body"]):
                if not node.keys() <= _OWN or ("is" in node and "in" in node["is"]):
                    return True
                for operator in (".", "has"):
                    if operator in node and "Value" in node[operator]["left"]:
                        return True
    return False


def asks_who(policies: Iterable[Policy]) -> bool:
    """Whether a condition may look at who the principal or what the resource is, beyond its type and attributes."""
    return any(_names_itself(condition["body"]) for policy in policies for condition in policy.est["conditions"])


def _names_itself(node: Any) -> bool:
    if isinstance(node, list):
        return any(map(_names_itself, node))
    if not isinstance(node, dict) or "Value" in node:
        return False
    if "Var" in node:
        return node != CONTEXT
    for operator in (".", "has", "is"):
        if operator in node and "Var" in node[operator]["left"]:
            return False
    # The keys of a record are any text, operators among it.
    return any(_names_itself(list(inner.values()) if isinstance(inner, dict) else inner) for inner in node.values())


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
