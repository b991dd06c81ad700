"""Entities as people write them in TOML: ``Group::"builders"``."""

import re
from collections.abc import Mapping
from typing import Any, Final

from everproof.kernel.words import Ref
from everproof.policy.types import EntityType, Record, SetOf, Type

_ENTITY: Final = re.compile(r'([A-Za-z_][A-Za-z0-9_]*(?:::[A-Za-z_][A-Za-z0-9_]*)*)::"([^"\\]*)"')


def read_ref(text: str) -> Ref | None:
    """The entity that ``text`` names, or None if it names none."""
    match = _ENTITY.fullmatch(text)
    return Ref(match[1], match[2]) if match else None


def with_refs(value: Any, type_: Type) -> Any:
    """``value`` with texts as entities wherever ``type_`` has an entity."""
    if isinstance(type_, EntityType) and isinstance(value, str):
        return read_ref(value) or value
    if isinstance(type_, SetOf) and isinstance(value, list):
        return [with_refs(one, type_.of) for one in value]
    if isinstance(type_, Record) and isinstance(value, Mapping):
        known = type_.attributes
        return {name: with_refs(one, known[name].type) if name in known else one for name, one in value.items()}
    return value
