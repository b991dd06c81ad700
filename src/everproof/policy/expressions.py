"""Expressions in the engine's JSON form: written as Cedar, taken apart, and what they look at."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from everproof.policy.balance import Est

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_INFIX: Final = {
    "||": 1, "&&": 2, "==": 3, "!=": 3, "<": 3, "<=": 3, ">": 3, ">=": 3, "in": 3, "+": 4, "-": 4, "*": 5,
}  # fmt: skip
_RELATION: Final = 3
_UNARY: Final = 6
_MEMBER: Final = 7
_METHODS: Final = frozenset({"contains", "containsAll", "containsAny", "getTag", "hasTag"})
_FUNCTIONS: Final = frozenset({"ip", "decimal", "datetime", "duration"})


def written(node: Est) -> str:
    """The expression as Cedar, with no more parentheses than it needs."""
    return _write(node)[0]


def _write(node: Est) -> tuple[str, int]:
    """The text and how tightly it holds together."""
    [(operator, inner)] = node.items()
    if operator in _INFIX:
        return _infix(operator, inner)
    write = _WRITERS.get(operator)
    return write(inner) if write is not None else (_composed(operator, inner), _MEMBER)


def _if(inner: Est) -> tuple[str, int]:
    test, yes, no = (_write(inner[part])[0] for part in ("if", "then", "else"))
    return f"if {test} then {yes} else {no}", 0


def _related(inner: Est, rest: str) -> tuple[str, int]:
    return f"{_held(inner['left'], _RELATION + 1)} {rest}", _RELATION


def _is(inner: Est) -> tuple[str, int]:
    within = f" in {_held(inner['in'], _RELATION + 1)}" if "in" in inner else ""
    return _related(inner, f"is {inner['entity_type']}{within}")


def _value(inner: Any) -> tuple[str, int]:
    return literal(inner), _UNARY if type(inner) is int and inner < 0 else _MEMBER


_WRITERS: Final[dict[str, Callable[[Any], tuple[str, int]]]] = {
    "Value": _value,
    "Var": lambda inner: (inner, _MEMBER),
    ".": lambda inner: (_attribute(inner), _MEMBER),
    "!": lambda inner: (f"!{_held(inner['arg'], _UNARY)}", _UNARY),
    "neg": lambda inner: (f"-{_held(inner['arg'], _UNARY)}", _UNARY),
    "has": lambda inner: _related(inner, f"has {_key(inner['attr'])}"),
    "like": lambda inner: _related(inner, f"like {pattern(inner['pattern'])}"),
    "is": _is,
    "if-then-else": _if,
}


def _infix(operator: str, inner: Est) -> tuple[str, int]:
    strength = _INFIX[operator]
    # Relations do not chain, and the others associate to the left.
    left = _held(inner["left"], strength + (strength == _RELATION))
    return f"{left} {operator} {_held(inner['right'], strength + 1)}", strength


def _attribute(inner: Est) -> str:
    name = inner["attr"]
    left = _held(inner["left"], _MEMBER)
    return f"{left}.{name}" if _NAME.fullmatch(name) else f"{left}[{json.dumps(name)}]"


def _composed(operator: str, inner: Any) -> str:
    if operator == "Set":
        return f"[{', '.join(_write(one)[0] for one in inner)}]"
    if operator == "Record":
        return "{" + ", ".join(f"{_key(name)}: {_write(one)[0]}" for name, one in inner.items()) + "}"
    if operator in _METHODS:
        return f"{_held(inner['left'], _MEMBER)}.{operator}({_write(inner['right'])[0]})"
    if operator == "isEmpty":
        return f"{_held(inner['arg'], _MEMBER)}.isEmpty()"
    if operator in _FUNCTIONS:
        return f"{operator}({', '.join(_write(one)[0] for one in inner)})"
    receiver, *arguments = inner
    return f"{_held(receiver, _MEMBER)}.{operator}({', '.join(_write(one)[0] for one in arguments)})"


def _held(node: Est, strength: int) -> str:
    text, own = _write(node)
    return text if own >= strength else f"({text})"


def _key(name: str) -> str:
    return name if _NAME.fullmatch(name) else json.dumps(name)


def literal(value: Any) -> str:
    """A literal as Cedar."""
    if isinstance(value, dict) and "__entity" in value:
        return f"{value['__entity']['type']}::{json.dumps(value['__entity']['id'], ensure_ascii=False)}"
    return json.dumps(value, ensure_ascii=False)


def pattern(parts: list[Any]) -> str:
    """The pattern of a ``like``, as Cedar."""
    made = []
    for part in parts:
        if part == "Wildcard":
            made.append("*")
        else:
            made.append(json.dumps(part["Literal"], ensure_ascii=False)[1:-1].replace("*", "\\*"))
    return f'"{"".join(made)}"'


class Path(msgspec.Struct, frozen=True):
    """What an expression looks at: a variable, and attributes from there."""

    root: str
    attributes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ".".join((self.root, *self.attributes))


def path_of(node: Est) -> Path | None:
    """The path that ``node`` is, or None if it is something else."""
    names: list[str] = []
    while "." in node:
        names.append(node["."]["attr"])
        node = node["."]["left"]
    return Path(node["Var"], tuple(reversed(names))) if "Var" in node else None


def paths(node: Any) -> Iterator[Path]:
    """The paths that an expression looks at, the longest of each; ``has`` looks at what it asks for."""
    if isinstance(node, list):
        for one in node:
            yield from paths(one)
        return
    if not isinstance(node, dict):
        return
    path = path_of(node)
    if path is not None:
        yield path
        return
    for operator, inner in node.items():
        if operator == "has" and (left := path_of(inner["left"])) is not None:
            yield Path(left.root, (*left.attributes, inner["attr"]))
        elif operator == "Record":
            yield from paths(list(inner.values()))
        elif operator != "Value":
            yield from paths(list(inner.values()) if isinstance(inner, dict) else inner)


def entities_in(node: Any) -> Iterator[tuple[str, str]]:
    """The type and id of every entity that an expression names."""
    if isinstance(node, list):
        for one in node:
            yield from entities_in(one)
    elif isinstance(node, dict):
        if "__entity" in node:
            yield node["__entity"]["type"], node["__entity"]["id"]
        else:
            for inner in node.values():
                yield from entities_in(inner)
