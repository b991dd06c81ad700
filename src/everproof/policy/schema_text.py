"""Reading the engine's own rendering of a schema: common types resolved, names absolute.

The engine has already accepted the schema; its rendering has one form, so this reader needs to know no other.
"""

import ast
import re
from typing import Final

import msgspec

from everproof.policy.types import EMPTY, Attribute, EntityType, Extension, Record, SetOf, Simple, Type

_TOKEN: Final = re.compile(
    r'\s*(?:("(?:[^"\\]|\\.)*")|([A-Za-z_][A-Za-z0-9_]*(?:::[A-Za-z_][A-Za-z0-9_]*)*)|(::|.))', re.DOTALL
)
_SIMPLE: Final = {"String", "Long", "Bool"}
_EXTENSIONS: Final = {"ipaddr", "decimal", "datetime", "duration"}


class Entity(msgspec.Struct, frozen=True):
    """An entity type: of what types its parents may be, and its attributes. ``ids`` are all there are of an enum."""

    name: str
    parents: frozenset[str]
    attributes: Record
    tags: Type | None = None
    ids: tuple[str, ...] = ()


class ActionType(msgspec.Struct, frozen=True):
    """An action: the groups it is in directly, and to what it applies; a group applies to nothing."""

    name: str
    type: str
    parents: tuple[tuple[str, str], ...]
    principals: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    context: Record = EMPTY


class SchemaTypes(msgspec.Struct, frozen=True):
    """All declarations of a schema."""

    entities: dict[str, Entity]
    actions: dict[tuple[str, str], ActionType]
    common: dict[str, Type]


class _Raw(msgspec.Struct):
    """Declarations whose type names are not resolved yet; each remembers its namespace."""

    common: dict[str, tuple[str, "_RawType"]] = {}
    entities: list[tuple[str, str, list[str], "_RawType", "_RawType | None", tuple[str, ...]]] = []
    actions: list[tuple[str, str, list[tuple[str, str]], dict[str, "_RawType"]]] = []


_RawType = str | list["_RawType"] | dict[str, tuple["_RawType", bool]]
"""A name; a list of one: the element of a set; a dict: a record."""


class _Reader:
    def __init__(self, text: str) -> None:
        text = re.sub(r"(?m)^\s*//.*$", "", text)
        self._tokens = [match.group().strip() for match in _TOKEN.finditer(text) if match.group().strip()]
        self._at = 0
        self.raw = _Raw({}, [], [])

    def peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def take(self, wanted: str | None = None) -> str:
        token = self.peek()
        assert wanted is None or token == wanted, (token, wanted)
        self._at += 1
        return token

    def takes(self, wanted: str) -> bool:
        if self.peek() == wanted:
            self._at += 1
            return True
        return False

    def read(self, namespace: str = "") -> None:
        while self.peek() and self.peek() != "}":
            while self.takes("@"):
                self.take()
                if self.takes("("):
                    self.take()
                    self.take(")")
            word = self.take()
            if word == "namespace":
                name = self.take()
                self.take("{")
                self.read(name)
                self.take("}")
                self.takes(";")
            elif word == "type":
                name = self.take()
                self.take("=")
                self.raw.common[_absolute(name, namespace)] = (namespace, self._type())
                self.take(";")
            elif word == "entity":
                self._entity(namespace)
            else:
                assert word == "action", word
                self._action(namespace)

    def _entity(self, namespace: str) -> None:
        names = self._names()
        parents: list[str] = []
        attributes: _RawType = {}
        tags: _RawType | None = None
        ids: tuple[str, ...] = ()
        if self.takes("enum"):
            ids = tuple(map(_unquoted, self._list()))
        if self.takes("in"):
            parents = self._list()
        if self.takes("=") or self.peek() == "{":
            attributes = self._type()
        if self.takes("tags"):
            tags = self._type()
        self.take(";")
        for name in names:
            self.raw.entities.append((_absolute(name, namespace), namespace, parents, attributes, tags, ids))

    def _action(self, namespace: str) -> None:
        names = [_unquoted(name) for name in self._names()]
        parents: list[tuple[str, str]] = []
        applies: dict[str, _RawType] = {}
        if self.takes("in"):
            parents = self._action_refs(namespace)
        if self.takes("appliesTo"):
            self.take("{")
            while not self.takes("}"):
                part = self.take()
                self.take(":")
                applies[part] = self._type() if part == "context" else self._list()  # type: ignore[assignment]
                self.takes(",")
        self.take(";")
        for name in names:
            self.raw.actions.append((name, namespace, parents, applies))

    def _action_refs(self, namespace: str) -> list[tuple[str, str]]:
        refs = []
        several = self.takes("[")
        while True:
            first = self.take()
            if self.takes("::"):
                refs.append((first, _unquoted(self.take())))
            else:
                refs.append((_absolute("Action", namespace), _unquoted(first)))
            if not (several and self.takes(",") and self.peek() != "]"):
                break
        if several:
            self.take("]")
        return refs

    def _names(self) -> list[str]:
        names = [self.take()]
        while self.takes(","):
            names.append(self.take())
        return names

    def _list(self) -> list[str]:
        if not self.takes("["):
            return [self.take()]
        names: list[str] = []
        while not self.takes("]"):
            names.append(self.take())
            self.takes(",")
        return names

    def _type(self) -> _RawType:
        if self.takes("{"):
            record: dict[str, tuple[_RawType, bool]] = {}
            while not self.takes("}"):
                name = _unquoted(self.take())
                required = not self.takes("?")
                self.take(":")
                record[name] = (self._type(), required)
                self.takes(",")
            return record
        name = self.take()
        if name == "Set":
            self.take("<")
            inner = self._type()
            self.take(">")
            return [inner]
        return name


class _Resolver:
    def __init__(self, raw: _Raw) -> None:
        self._raw = raw
        self._entities = {name for name, *_ in raw.entities}

    def entity(self, name: str, namespace: str) -> str:
        inner = _absolute(name, namespace)
        return inner if inner in self._entities else name

    def type(self, raw: _RawType, namespace: str) -> Type:
        if isinstance(raw, dict):
            return Record({name: Attribute(self.type(of, namespace), must) for name, (of, must) in raw.items()})
        if isinstance(raw, list):
            return SetOf(self.type(raw[0], namespace))
        plain = raw.removeprefix("__cedar::")
        for name in (_absolute(raw, namespace), raw):
            if name in self._raw.common:
                home, found = self._raw.common[name]
                return self.type(found, home)
            if name in self._entities:
                return EntityType(name)
        if plain in _SIMPLE:
            return Simple(plain)
        assert plain in _EXTENSIONS, plain
        return Extension(plain)

    def record(self, raw: _RawType, namespace: str) -> Record:
        found = self.type(raw, namespace)
        assert isinstance(found, Record)
        return found


def read_types(rendered: str) -> SchemaTypes:
    """The declarations of a schema that the engine has accepted and rendered."""
    reader = _Reader(rendered)
    reader.read()
    raw = reader.raw
    resolve = _Resolver(raw)
    entities = {
        name: Entity(
            name,
            frozenset(resolve.entity(parent, home) for parent in parents),
            resolve.record(attributes, home),
            None if tags is None else resolve.type(tags, home),
            ids,
        )
        for name, home, parents, attributes, tags, ids in raw.entities
    }
    actions = {}
    for name, home, action_parents, applies in raw.actions:
        type_ = _absolute("Action", home)
        actions[type_, name] = ActionType(
            name,
            type_,
            tuple(action_parents),
            tuple(resolve.entity(one, home) for one in applies.get("principal", ())),  # type: ignore[arg-type]
            tuple(resolve.entity(one, home) for one in applies.get("resource", ())),  # type: ignore[arg-type]
            resolve.record(applies.get("context", {}), home),
        )
    return SchemaTypes(
        entities, actions, {name: resolve.type(found, home) for name, (home, found) in raw.common.items()}
    )


def _absolute(name: str, namespace: str) -> str:
    return f"{namespace}::{name}" if namespace and "::" not in name else name


def _unquoted(token: str) -> str:
    if not token.startswith('"'):
        return token
    found = ast.literal_eval(re.sub(r"\\u\{([0-9a-fA-F]+)\}", lambda match: f"\\U{int(match[1], 16):08x}", token))
    assert isinstance(found, str)
    return found
