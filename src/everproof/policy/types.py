"""The types of the schema, and whether a value is of one."""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import msgspec

from everproof.kernel.words import Ref

LONGEST: Final = 2**63 - 1
"""Cedar's Long has 64 bits."""


class Simple(msgspec.Struct, frozen=True):
    """String, Long or Bool."""

    name: str

    def __str__(self) -> str:
        return self.name


class Extension(msgspec.Struct, frozen=True):
    """A type with a form of its own in text: ipaddr, decimal, datetime, duration."""

    name: str

    def __str__(self) -> str:
        return self.name


class EntityType(msgspec.Struct, frozen=True):
    """The name of an entity of this type."""

    name: str

    def __str__(self) -> str:
        return self.name


class SetOf(msgspec.Struct, frozen=True):
    """A set of values of one type."""

    of: "Type"

    def __str__(self) -> str:
        return f"Set<{self.of}>"


class Attribute(msgspec.Struct, frozen=True):
    """The type of an attribute, and whether it must be there."""

    type: "Type"
    required: bool


class Record(msgspec.Struct, frozen=True):
    """Attributes by name."""

    attributes: Mapping[str, Attribute]

    def __str__(self) -> str:
        return "{" + ", ".join(declared(name, attribute) for name, attribute in self.attributes.items()) + "}"


Type: TypeAlias = Simple | Extension | EntityType | SetOf | Record

EMPTY: Final = Record({})

_PLAIN: Final = {"String": str, "Bool": bool, "Long": int}
_CLASSES: Final[dict[str, type]] = {"String": str, "Bool": bool}
_NO_CLASS: Final = object()


def declared(name: str, attribute: Attribute) -> str:
    """An attribute as schema text."""
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}"{"" if attribute.required else "?"}: {attribute.type}'


class MisfitError(Exception):
    """A value that is not of its type; the message begins with its place and never quotes it: it may be anything."""


class Shape:
    """A record as requests are held against it: what is declared is checked, and of that the part that is read kept."""

    def __init__(self, record: Record, reads: frozenset[str] | None = None) -> None:
        self._types = {name: attribute.type for name, attribute in record.attributes.items()}
        self._required = frozenset(name for name, attribute in record.attributes.items() if attribute.required)
        # One comparison settles most values: nothing of class str or bool is not a String or a Bool.
        self._plain = {
            name: _CLASSES.get(type_.name) for name, type_ in self._types.items() if isinstance(type_, Simple)
        }
        self._records = {name: Shape(type_) for name, type_ in self._types.items() if isinstance(type_, Record)}
        self._reads = frozenset(self._types) if reads is None else reads

    def fit(self, values: Mapping[str, Any], place: str) -> dict[str, Any]:
        """The part of ``values`` that is declared and read.

        Raises:
            MisfitError: a declared attribute has a value of another type, or a required one is missing; of several the
                first by name, so that a request that was written down and read again has the same error.
        """
        try:
            return self._fit(values, place)
        except MisfitError:
            return self._fit({name: values[name] for name in sorted(values)}, place)

    def _fit(self, values: Mapping[str, Any], place: str) -> dict[str, Any]:
        kept = {}
        plain, reads = self._plain, self._reads
        for name, value in values.items():
            if plain.get(name, _NO_CLASS) is type(value):
                if name in reads:
                    kept[name] = value
            elif (inner := self._records.get(name)) is not None and isinstance(value, Mapping):
                found = inner.fit(value, f"{place}.{name}")
                if name in reads:
                    kept[name] = found
            elif (type_ := self._types.get(name)) is not None:
                found = fitted(value, type_, f"{place}.{name}")
                if name in reads:
                    kept[name] = found
        if not self._required <= values.keys():
            raise MisfitError(f"{place}.{min(self._required - values.keys())}: is missing")
        return kept


def fitted(value: Any, type_: Type, place: str) -> Any:
    """``value`` as one of ``type_``, without what its records have beside what is declared.

    Raises:
        MisfitError: it is not one.
    """
    if isinstance(type_, Simple):
        return _fitted_simple(value, type_, place)
    if isinstance(type_, SetOf):
        if not isinstance(value, list | tuple | set | frozenset):
            raise MisfitError(f"{place}: must be a {type_}, is a {_name(value)}")
        return [fitted(one, type_.of, f"{place}[]") for one in value]
    if isinstance(type_, Record):
        if not isinstance(value, Mapping):
            raise MisfitError(f"{place}: must be a record, is a {_name(value)}")
        return Shape(type_).fit(value, place)
    if isinstance(type_, EntityType):
        given = entity_type(value)
        if given != type_.name:
            raise MisfitError(f"{place}: must be a {type_}, is a {given or _name(value)}")
        return value
    if not isinstance(value, str):
        raise MisfitError(f"{place}: must be a {type_}, is a {_name(value)}")
    return value


def _fitted_simple(value: Any, type_: Simple, place: str) -> Any:
    if type(value) is not _PLAIN[type_.name]:
        raise MisfitError(f"{place}: must be a {type_}, is a {_name(value)}")
    if type(value) is int and not -LONGEST - 1 <= value <= LONGEST:
        raise MisfitError(f"{place}: is beyond 64 bits")
    return value


def entity_type(value: Any) -> str | None:
    """The type of the entity that ``value`` names, in one of the forms that are understood."""
    if isinstance(value, Ref):
        return value.type
    if isinstance(value, dict):
        inner = value.get("__entity", value)
        if isinstance(inner, dict) and inner.keys() == {"type", "id"} and isinstance(inner["id"], str):
            return inner["type"] if isinstance(inner["type"], str) else None
    return None


def names_entity(type_: Type) -> bool:
    """Whether a value of this type may name an entity."""
    if isinstance(type_, SetOf):
        return names_entity(type_.of)
    if isinstance(type_, Record):
        return any(names_entity(attribute.type) for attribute in type_.attributes.values())
    return isinstance(type_, EntityType)


def _name(value: Any) -> str:
    # As it is called when it has been written down and read again, so that replay has the same error.
    names = {bool: "Bool", int: "Long", str: "String", dict: "record", Ref: "record", float: "fraction"}
    names |= dict.fromkeys((list, tuple, set, frozenset), "Set")
    return "null" if value is None else names.get(type(value), type(value).__name__)
