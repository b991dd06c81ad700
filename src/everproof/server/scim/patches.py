"""PATCH: RFC 7644, section 3.5.2. The library applies it; who joins or leaves a group is read apart from that.

A group of ten thousand is not built to put one person in: what is said of members makes a set of ids.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from scim2_models import (
    Context,
    InvalidPathException,
    InvalidValueException,
    PatchOp,
    Resource,
    ScimFilter,
    ScimPolicy,
)
from scim2_models.path import CompareOperator, Comparison, LogicalExpr, LogicalOperator, Path

from everproof.provisioning.dialects import Dialect
from everproof.server.scim.bounds import MAX_MEMBER_PATCHES, MAX_PATCHES
from everproof.server.scim.errors import BadSyntaxError, ScimError
from everproof.server.scim.expressions import bounded_path
from everproof.server.scim.filters import Test, Told, compiled
from everproof.server.scim.models import Group

SCHEMA: Final = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
MEMBERS: Final = "members"
OPERATIONS: Final = ("add", "remove", "replace")


class Membership(msgspec.Struct):
    """Who is to be in a group: beside those who are, or in place of them."""

    joins: dict[str, None]
    parts: dict[str, None]
    selected: list[Test]
    anew: bool = False

    def of(self, before: Iterable[Told]) -> tuple[str, ...]:
        """The ids, of a group that ``before`` are in, as they are told of."""
        kept = () if self.anew else [one["value"] for one in before if not self._parts(one)]
        return tuple(dict.fromkeys([*kept, *self.joins]))

    def _parts(self, one: Told) -> bool:
        return one["value"] in self.parts or any(test({MEMBERS: [one]}) for test in self.selected)

    def add(self, ids: Iterable[str]) -> None:
        """Let them be in it."""
        for id_ in ids:
            self.parts.pop(id_, None)
            self.joins[id_] = None

    def remove(self, ids: Iterable[str]) -> None:
        """Let them not be in it."""
        for id_ in ids:
            self.joins.pop(id_, None)
            self.parts[id_] = None

    def clear(self) -> None:
        """Let nobody be in it."""
        self.joins.clear()
        self.parts.clear()
        self.selected.clear()
        self.anew = True


def operations_of(body: dict[str, Any], what: str, dialect: Dialect) -> list[dict[str, Any]]:
    """The operations of a PATCH, put right, and none of them longer than is read.

    Raises:
        ScimError: it is no PATCH, or too long.
        InvalidPathException: a path is too long or too deep.
    """
    found = next((value for name, value in body.items() if name.lower() == "operations"), None)
    schemas = body.get("schemas")
    if not isinstance(found, list) or not found or not isinstance(schemas, list) or SCHEMA not in schemas:
        raise BadSyntaxError(f"not a PatchOp with operations and the schema {SCHEMA}")
    if len(found) > MAX_MEMBER_PATCHES:
        raise _too_many(MAX_MEMBER_PATCHES)
    operations: list[dict[str, Any]] = []
    for one in dialect.operations(what, found):
        if not isinstance(one, dict):
            raise BadSyntaxError("an operation is not an object", place="Operations")
        operation = {name.lower(): value for name, value in one.items()}
        if isinstance(path := operation.get("path"), str):
            operation["path"] = bounded_path(path)
        if isinstance(operation.get("op"), str):
            operation["op"] = operation["op"].lower()
        _require_bounded_keys(operation.get("value"))
        operations.append(operation)
    return operations


def patched(
    model: type[Resource[Any]], told: dict[str, Any], operations: list[dict[str, Any]], dialect: Dialect
) -> Any:
    """The resource after ``operations``, of which none is about members of a group.

    Raises:
        ScimError: there are too many of them.
        SCIMException, ValidationError: one of them is not to be done.
    """
    if len(operations) > MAX_PATCHES:
        raise _too_many(MAX_PATCHES)
    policy = policy_of(dialect)
    with policy:
        resource = model.model_validate(told)
        if operations:
            body = {"schemas": [SCHEMA], "Operations": operations}
            patch = PatchOp[model].model_validate(body, scim_ctx=Context.RESOURCE_PATCH_REQUEST)  # type: ignore[valid-type]
            patch.patch(resource)
    return resource


def _too_many(most: int) -> ScimError:
    return ScimError(f"more than {most} operations", scim_type="tooMany", status=413, place="Operations")


def policy_of(dialect: Dialect) -> ScimPolicy:
    """What is tolerated: what nobody knows is left out, as RFC 7643 would have it."""
    unmatched = ScimPolicy.UnmatchedPathFilter
    return ScimPolicy(
        unknown=ScimPolicy.Unknown.ignore,
        remove_value_as_filter=ScimPolicy.RemoveValue.apply if dialect.describes else ScimPolicy.RemoveValue.forbid,
        unmatched_path_filter=unmatched.create if dialect.describes else unmatched.forbid,
    )


def split_members(operations: list[dict[str, Any]], dialect: Dialect) -> tuple[list[dict[str, Any]], Membership | None]:
    """What is not about members, and what is.

    Raises:
        SCIMException: an operation on members that cannot be done.
    """
    rest: list[dict[str, Any]] = []
    membership = Membership({}, {}, [])
    touched = False
    for operation in operations:
        path, value = operation.get("path"), operation.get("value")
        if not path and isinstance(value, dict):
            inside = {name: one for name, one in value.items() if name.lower() == MEMBERS}
            left = {name: one for name, one in value.items() if name.lower() != MEMBERS}
            for one in inside.values():
                _apply(membership, operation.get("op"), None, one, dialect)
                touched = True
            if left or not inside:
                rest.append({**operation, "value": left})
        elif isinstance(path, str) and _is_about_members(path):
            _apply(membership, operation.get("op"), path, value, dialect)
            touched = True
        else:
            rest.append(operation)
    return rest, membership if touched else None


def _is_about_members(path: str) -> bool:
    head = path.lower().removeprefix(f"{Group.__schema__}:".lower())
    return head.split("[", 1)[0].split(".", 1)[0] == MEMBERS


def _apply(membership: Membership, op: Any, path: str | None, value: Any, dialect: Dialect) -> None:
    if op not in OPERATIONS:
        raise InvalidValueException(detail=f"{op!r} is not a PATCH operation: add, remove or replace")
    if path is not None and _selects(path):
        if op != "remove":
            raise InvalidPathException(path=path, detail="members are added and removed, and do not change")
        ids = _named(path)
        membership.remove(ids)
        if not ids:
            membership.selected.append(compiled(ScimFilter[Group](path), Group))
    elif op == "remove":
        if value is None:
            membership.clear()
        elif dialect.describes:
            membership.remove(_ids(value))
        else:
            raise InvalidValueException(detail='a remove has no value: name whom in its path, members[value eq "…"]')
    else:
        ids = _ids(value) if value is not None else []
        if op == "replace":
            membership.clear()
        membership.add(ids)


def _selects(path: str) -> bool:
    """Whether a path selects some of the members, rather than all."""
    parsed = Path[Group](path)
    if parsed.value_filter is None and "." not in path.rsplit(":", 1)[-1]:
        return False
    if not path.endswith("]"):
        raise InvalidPathException(path=path, detail="a member has no part that can be changed")
    return True


def _named(path: str) -> list[str]:
    """The ids that a path names members by, one or more; none where it selects them in another way."""
    selection = Path[Group](path).value_filter
    either = isinstance(selection, LogicalExpr) and selection.op == LogicalOperator.or_
    parts = selection.terms if either and isinstance(selection, LogicalExpr) else (selection,)
    ids = [
        one.value
        for one in parts
        if isinstance(one, Comparison)
        and one.op == CompareOperator.eq
        and one.attr_path.attr.lower() == "value"
        and isinstance(one.value, str)
    ]
    return ids if len(ids) == len(parts) else []


def _ids(value: Any) -> list[str]:
    entries = value if isinstance(value, list) else [value]
    ids: list[str] = []
    for one in entries:
        named = {name.lower(): part for name, part in one.items()} if isinstance(one, dict) else {"value": one}
        id_ = named.get("value") or str(named.get("$ref") or "").rsplit("/", 1)[-1]
        if not isinstance(id_, str) or not id_:
            raise InvalidValueException(detail="a member is named by its id: value")
        ids.append(id_)
    return ids


def _require_bounded_keys(value: Any) -> None:
    """A key of a value may be a path, and is read as one."""
    if isinstance(value, dict):
        for name, one in value.items():
            bounded_path(name)
            _require_bounded_keys(one)
    elif isinstance(value, list):
        for one in value:
            if isinstance(one, dict):
                _require_bounded_keys(one)
