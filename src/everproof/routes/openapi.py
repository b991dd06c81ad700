"""The operations of an OpenAPI document (3.0, 3.1), as JSON: what is not in it is not let through.

A path's parameters are held to their type, ``enum``, ``format: uuid`` and length. Patterns are not run: one that takes
exponential time is a way to stop the server.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from everproof.kernel.errors import InputError
from everproof.policy.errors import BundleError, all_at_once
from everproof.policy.schema import decoded
from everproof.routes.map import Check
from everproof.routes.tree import Template, read_template

VERSION: Final = re.compile(r"3\.[01]\.\d+")
MAX_NAME: Final = 256

_LOCAL: Final = "#/components/parameters/"
_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,18})(?:\.[0-9]{1,18})?")
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """One operation: its id, or else its method and path."""

    name: str
    method: str
    template: Template
    tags: tuple[str, ...]
    checks: Mapping[str, Check]


def read_document(content: bytes, *, place: str, base: str, methods: Sequence[str]) -> list[Described]:
    """The operations of a document; ``base`` stands before each of its paths.

    Raises:
        BundleError: it is none, or what it says cannot be held to; with its place, and in ``further`` the rest.
    """
    try:
        document = json.loads(decoded(place, content), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"not JSON: {error}", place=place) from error
    version = document.get("openapi") if isinstance(document, dict) else None
    if not isinstance(version, str) or VERSION.fullmatch(version) is None:
        raise BundleError("not an OpenAPI document of version 3.0 or 3.1", place=place)
    reader = _Reader(document, place, base, methods)
    reader.read()
    if reader.errors:
        raise all_at_once(reader.errors)
    return reader.found


class _Reader:
    def __init__(self, document: dict[str, Any], place: str, base: str, methods: Sequence[str]) -> None:
        self._document = document
        self._place = place
        self._base = base
        self._methods = methods
        self.found: list[Described] = []
        self.errors: list[BundleError] = []

    def read(self) -> None:
        paths = self._document.get("paths")
        if not isinstance(paths, dict):
            self._wrong("there are no paths", "paths")
            return
        for path, item in paths.items():
            if path.startswith("x-"):
                continue
            at = f"paths.{path}"
            try:
                template = read_template(self._base + path)
            except InputError as error:
                self._wrong(error.message, at)
                continue
            if not isinstance(item, dict) or "$ref" in item:
                self._wrong("the path's operations must stand here", at)
                continue
            self._read_item(path, template, item, at)

    def _read_item(self, path: str, template: Template, item: dict[str, Any], at: str) -> None:
        shared = self._parameters(item.get("parameters", []), at)
        for key, operation in item.items():
            method = key.upper()
            if key != key.lower() or method not in self._methods:
                continue
            here = f"{at}.{key}"
            if not isinstance(operation, dict):
                self._wrong("not an operation", here)
                continue
            name = operation.get("operationId", f"{method} {path}")
            if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
                self._wrong(f"an operationId is a text of at most {MAX_NAME} characters", here)
                continue
            own = self._parameters(operation.get("parameters", []), here)
            tags = operation.get("tags", [])
            self.found.append(
                Described(
                    name=name,
                    method=method,
                    template=template,
                    tags=tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else (),
                    checks={one: check for one, check in {**shared, **own}.items() if one in template.parameters},
                )
            )

    def _parameters(self, given: Any, at: str) -> dict[str, Check]:
        """What the parameters of a path are held to."""
        found: dict[str, Check] = {}
        for one in given if isinstance(given, list) else []:
            parameter = self._resolved(one)
            if not isinstance(parameter, dict) or not isinstance(parameter.get("name"), str):
                self._wrong("a parameter that cannot be read", f"{at}.parameters")
            elif parameter.get("in") == "path":
                schema = parameter.get("schema", {})
                if not isinstance(schema, dict) or "$ref" in schema:
                    self._wrong("a path parameter's schema must stand here", f"{at}.parameters.{parameter['name']}")
                else:
                    found[parameter["name"]] = check_of(schema)
        return found

    def _resolved(self, parameter: Any) -> Any:
        reference = parameter.get("$ref") if isinstance(parameter, dict) else None
        if reference is None:
            return parameter
        if not isinstance(reference, str) or not reference.startswith(_LOCAL):
            return None
        components = self._document.get("components")
        known = components.get("parameters") if isinstance(components, dict) else None
        return known.get(reference.removeprefix(_LOCAL)) if isinstance(known, dict) else None

    def _wrong(self, message: str, at: str) -> None:
        self.errors.append(BundleError(message, place=f"{self._place}: {at}"))


def check_of(schema: Mapping[str, Any]) -> Check:
    """Whether a text is a value of this schema, as far as type, enum, uuid and length go."""
    types = schema.get("type", "string")
    types = tuple(types) if isinstance(types, list) else (types,)
    allowed = schema.get("enum")
    texts = (
        None if not isinstance(allowed, list) else {one if isinstance(one, str) else json.dumps(one) for one in allowed}
    )
    shortest, longest = schema.get("minLength"), schema.get("maxLength")
    is_uuid = schema.get("format") == "uuid"

    def check(value: str) -> bool:
        if texts is not None and value not in texts:
            return False
        if isinstance(shortest, int) and len(value) < shortest:
            return False
        if isinstance(longest, int) and len(value) > longest:
            return False
        if is_uuid and _UUID.fullmatch(value.lower()) is None:
            return False
        return any(_is_of(one, value) for one in types)

    return check


def _is_of(type_: Any, value: str) -> bool:
    match type_:
        case "integer":
            return _INTEGER.fullmatch(value) is not None
        case "number":
            return _NUMBER.fullmatch(value) is not None
        case "boolean":
            return value in {"true", "false"}
        case _:
            return True


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is there twice in one object")
    return found
