"""The values that a policy saw: what a path leads to in one request, through entities that attributes name."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from everproof.kernel.words import Ref
from everproof.policy.expressions import Path
from everproof.policy.request import Request, closure
from everproof.policy.types import entity_type


class _Absent:
    """The value of what is not there: not even a null."""

    def __repr__(self) -> str:
        return "absent"


ABSENT: Final = _Absent()


class Seen(msgspec.Struct, frozen=True):
    """What a path leads to. ``foreign``: it leads through another entity than the one it begins at."""

    path: Path
    value: Any
    foreign: bool = False

    @property
    def absent(self) -> bool:
        """Whether there is nothing at the end of the path."""
        return self.value is ABSENT


class Sight:
    """One request, looked at by paths."""

    def __init__(self, request: Request) -> None:
        self._entities = {one.ref: one for one in closure(request)}
        self._roots: dict[str, Any] = {
            "principal": request.principal.ref,
            "resource": request.resource.ref,
            "action": Ref("Action", request.action.name),
            "context": request.context,
        }

    def ref(self, root: str) -> Ref:
        """The entity that a variable stands for."""
        found = self._roots[root]
        assert isinstance(found, Ref)
        return found

    def see(self, path: Path) -> Seen:
        """What is at the end of ``path``."""
        at: Any = self._roots[path.root]
        foreign = False
        for depth, name in enumerate(path.attributes):
            ref = as_ref(at)
            if ref is not None:
                foreign = foreign or depth > 0
                entity = self._entities.get(ref)
                at = entity.attributes if entity is not None else {}
            if not isinstance(at, Mapping) or name not in at:
                return Seen(path, ABSENT, foreign)
            at = at[name]
        return Seen(path, at, foreign)


def as_ref(value: Any) -> Ref | None:
    """The entity that ``value`` names, or None if it is another kind of value."""
    if isinstance(value, Ref):
        return value
    if entity_type(value) is None:
        return None
    inner = value.get("__entity", value)
    return Ref(inner["type"], inner["id"])
