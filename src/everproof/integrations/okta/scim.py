"""How Okta departs from SCIM: what its documentation of SCIM 2.0 and its group push say it sends.

- ``active`` may come as text, as may ``primary``.
- A group is renamed by a replacement without a path whose value repeats the group's ``id``, which nobody can change.
- A whole resource repeats what only we say (``groups``, ``meta``): the standard has it ignored, and so it is.
"""

from typing import Any, Final

from everproof.provisioning.dialects import TRUTHS, Dialect, as_booleans, truth

_READ_ONLY: Final = frozenset({"id", "meta", "schemas", "groups"})


def _resource(_what: str, body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = as_booleans(body, TRUTHS)
    return found


def _operations(what: str, operations: list[Any]) -> list[Any]:
    return [_operation(what, one) if isinstance(one, dict) else one for one in operations]


def _operation(what: str, operation: dict[str, Any]) -> dict[str, Any]:
    named = {name.lower(): name for name in operation}
    value = operation.get(named.get("value", ""))
    path = operation.get(named.get("path", ""))
    if isinstance(path, str) and path.rsplit(".", 1)[-1].lower() in TRUTHS:
        value = truth(value)
    if not path and isinstance(value, dict):
        read_only = _READ_ONLY if what == "Group" else _READ_ONLY - {"groups"}
        value = {name: one for name, one in value.items() if name.lower() not in read_only}
    return {**operation, named["value"]: as_booleans(value, TRUTHS)} if "value" in named else operation


DIALECT: Final = Dialect(name="okta", resource=_resource, operations=_operations)
