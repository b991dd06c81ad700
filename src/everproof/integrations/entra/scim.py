"""How Microsoft Entra ID departs from SCIM, by Microsoft's pages on its provisioning service and its known issues.

- Operations are called ``Add``, ``Replace`` and ``Remove``; truth values come as the text ``"True"`` and ``"False"``.
- ``emails[type eq "work"].value`` is replaced or added where there is none yet: the value that it describes is meant.
- A filter compares a truth value with text: ``roles[primary eq "True"].value``.
- A manager is set by the path of the whole attribute and an id as plain text.
- One replacement without a path has paths as its members, with filters and schemas in them.
- Members are removed by a path without a filter and a value that lists them.
- Single-valued attributes come as a list of one.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from everproof.provisioning.dialects import TRUTHS, Dialect, as_booleans, truth

ENTERPRISE: Final = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
MANAGER: Final = f"{ENTERPRISE}:manager"
MAX_MEMBERS: Final = 200
"""Of a value that has paths as its members: each becomes an operation."""

_QUOTED_TRUTH: Final = re.compile(r'\b(primary|active) (eq|ne) "(true|false)"', re.IGNORECASE)
_SINGLE: Final = frozenset({"displayname", "externalid", "username", "title", "active", "usertype", "nickname"})


def _resource(_what: str, body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = as_booleans(body, TRUTHS)
    enterprise = found.get(ENTERPRISE)
    if isinstance(enterprise, dict) and isinstance(enterprise.get("manager"), str):
        found = {**found, ENTERPRISE: {**enterprise, "manager": {"value": enterprise["manager"]}}}
    return found


def _operations(what: str, operations: list[Any]) -> list[Any]:
    return [found for one in operations for found in (_split(what, one) if isinstance(one, dict) else (one,))]


def _split(what: str, operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One operation, or one for each member of a value that has paths as its members."""
    named = {name.lower(): value for name, value in operation.items()}
    value = named.get("value")
    if named.get("path") or not isinstance(value, dict) or what == "Group" or len(value) > MAX_MEMBERS:
        yield _operation(named)
        return
    rest = {name: one for name, one in value.items() if not _is_path(name)}
    if rest:
        yield _operation({**named, "value": rest})
    for name, one in value.items():
        if _is_path(name):
            yield _operation({**named, "path": name, "value": one})


def _is_path(name: str) -> bool:
    return "[" in name or "." in name.rsplit(":", 1)[-1] or (":" in name and name != ENTERPRISE)


def _operation(named: dict[str, Any]) -> dict[str, Any]:
    path, value = named.get("path"), named.get("value")
    if isinstance(path, str):
        path = _filter(path)
        last = path.rsplit(":", 1)[-1].rsplit(".", 1)[-1].lower()
        if last in _SINGLE and isinstance(value, list) and len(value) == 1:
            value = value[0].get("value", value[0]) if isinstance(value[0], dict) else value[0]
        if last in TRUTHS:
            value = truth(value)
        if path.lower() == MANAGER.lower() and isinstance(value, str):
            path, value = f"{path}.value", value or None
    found = {**named, "path": path} if path is not None else dict(named)
    if "value" in named:
        found["value"] = as_booleans(value, TRUTHS)
    if str(named.get("op", "")).lower() == "remove" and value in (None, "", []):
        found.pop("value", None)
    return found


def _filter(text: str) -> str:
    return _QUOTED_TRUTH.sub(lambda match: f"{match[1]} {match[2]} {match[3].lower()}", text)


DIALECT: Final = Dialect(name="entra", resource=_resource, operations=_operations, filter=_filter, describes=True)
