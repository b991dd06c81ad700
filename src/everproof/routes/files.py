"""Route maps as code: ``routes/NAME.toml`` in a bundle, one for each service behind a gateway.

    origins = ["https://wiki.example"]

    [[route]]
    path = "/projects/{project}/pages/{page...}"
    methods = ["GET", "HEAD"]
    action = "project:read"                 # else api:call
    resource = 'Project::"{project}"'       # else a Route, with service, method, host, path and operation
    attributes = { name = "{project}" }

With ``openapi = "api.json"``, a document beside it, each of its operations is a route; a table ``[operation.ID]`` gives
one its action and resource. Whatever is not in the map is refused.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec

from everproof.kernel.errors import InputError
from everproof.kernel.toml import parse_toml
from everproof.kernel.words import MAIN_SPACE, Action, Ref
from everproof.policy.errors import BundleError, all_at_once
from everproof.policy.references import read_ref
from everproof.policy.schema import Schema, decoded
from everproof.policy.source import Text
from everproof.policy.types import Simple
from everproof.routes.map import ROUTE, Check, Filled, Operation, RouteMap, Service, host_of, slots
from everproof.routes.openapi import read_document
from everproof.routes.tree import Template, Tree, read_template

FOLDER: Final = "routes/"
SUFFIX: Final = ".toml"
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY")
"""CONNECT and TRACE are not among them: no service behind a gateway has an honest use for either."""
NO_ROUTE: Final = "none"
"""The name of what fits no route."""

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,54}")
_HOST: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[1-9][0-9]{0,4})?|\[[0-9a-f:.]+\](?::[1-9][0-9]{0,4})?")
_TEXT = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]


class _Meaning(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"in_": "in"}):
    action: _TEXT = "api:call"
    resource: _TEXT | None = None
    attributes: dict[str, str] = {}
    in_: tuple[_TEXT, ...] | None = None


class _Route(_Meaning, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"in_": "in"}):
    path: _TEXT
    methods: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    name: _TEXT | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    origins: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    openapi: _TEXT | None = None
    base: str = ""
    route: tuple[_Route, ...] = ()
    operation: dict[str, _Meaning] = {}


def load_routes(files: Mapping[str, bytes], schema: Schema) -> RouteMap:
    """The route maps among a bundle's files, held against its schema.

    Raises:
        BundleError: a map cannot be read, or speaks of what is not there; with its place, and in ``further`` the rest.
    """
    errors: list[BundleError] = []
    services: list[Service] = []
    hosts: dict[str, str] = {}
    for path in sorted(files):
        if not path.startswith(FOLDER) or not path.endswith(SUFFIX):
            continue
        reader = _Reader(Text(path, decoded(path, files[path])), schema, files, errors)
        service = reader.service(hosts)
        if service is not None:
            services.append(service)
    if errors:
        raise all_at_once(errors)
    return RouteMap(tuple(services))


class _Reader:
    """Reads one file, and gathers what is wrong with it."""

    def __init__(self, text: Text, schema: Schema, files: Mapping[str, bytes], errors: list[BundleError]) -> None:
        self._text = text
        self._schema = schema
        self._files = files
        self._errors = errors
        self._name = text.path.removeprefix(FOLDER).removesuffix(SUFFIX)

    def service(self, hosts: dict[str, str]) -> Service | None:
        """The service of the file; None where it is nothing but wrong."""
        try:
            file = parse_toml(self._text.text, _File, place=self._text.path)
        except InputError as error:
            self._errors.append(BundleError(error.message, place=error.place))
            return None
        if _NAME.fullmatch(self._name) is None:
            self._wrong("the file's name is the service's: lower-case letters, digits and -, at most 55", "")
        for origin in file.origins:
            self._check_origin(origin, hosts)
        tree: Tree[dict[str, Operation]] = Tree()
        known: dict[str, dict[str, Operation]] = {}
        for route in file.route:
            self._add_route(route, tree, known)
        self._add_document(file, tree, known)
        if not known:
            self._wrong("there is no route, so every request would be refused", "")
        names = [operation.name for operations in known.values() for operation in operations.values()]
        for name in sorted({name for name in names if names.count(name) > 1}):
            used = [path for path, there in known.items() if any(one.name == name for one in there.values())]
            if len(used) > 1:
                self._wrong(f"{' and '.join(used)} are both called {name!r}", name)
        return Service(self._name, file.origins, tree)

    def _check_origin(self, origin: str, hosts: dict[str, str]) -> None:
        parts = urlsplit(origin)
        host = host_of(origin)
        if parts.scheme not in {"https", "http"} or _HOST.fullmatch(host) is None or ".." in host:
            self._wrong(
                f"{origin!r} is no origin: a scheme and a host in lower case, such as https://wiki.example", origin
            )
        elif host.endswith({"https": ":443", "http": ":80"}[parts.scheme]):
            self._wrong("a scheme's own port is left out, as callers do", origin)
        elif host in hosts:
            self._wrong(f"{host} stands in {hosts[host]} already", origin)
        else:
            hosts[host] = self._text.path

    def _add_route(
        self, route: _Route, tree: Tree[dict[str, Operation]], known: dict[str, dict[str, Operation]]
    ) -> None:
        try:
            template = read_template(route.path)
        except InputError as error:
            self._wrong(error.message, route.path)
            return
        name = route.name or template.text.removeprefix("/") or "root"
        operation = self._operation(name, route, template, near=route.path)
        for method in route.methods:
            if method not in METHODS:
                self._wrong(f"{method!r} is no method of these: {', '.join(METHODS)}", route.path)
            else:
                self._place(template, method, operation, tree, known, near=route.path)

    def _add_document(
        self, file: _File, tree: Tree[dict[str, Operation]], known: dict[str, dict[str, Operation]]
    ) -> None:
        if file.openapi is None:
            if file.operation or file.base:
                self._wrong("only routes of an OpenAPI document have operations and a base", "operation")
            return
        place = FOLDER + file.openapi
        content = self._files.get(place)
        if content is None:
            self._wrong(f"there is no {place} in the bundle", file.openapi)
            return
        try:
            found = read_document(content, place=place, base=file.base, methods=METHODS)
        except BundleError as error:
            self._errors += [error, *error.further]
            return
        for one in found:
            meaning = file.operation.get(one.name, _Meaning())
            operation = self._operation(
                one.name, meaning, one.template, near=one.name, tags=one.tags, checks=tuple(one.checks.items())
            )
            self._place(one.template, one.method, operation, tree, known, near=file.openapi)
        for name in file.operation.keys() - {one.name for one in found}:
            self._wrong(f"{place} has no operation {name!r}{_meant(name, [one.name for one in found])}", name)

    def _place(
        self,
        template: Template,
        method: str,
        operation: Operation,
        tree: Tree[dict[str, Operation]],
        known: dict[str, dict[str, Operation]],
        *,
        near: str,
    ) -> None:
        operations = known.get(template.text)
        if operations is None:
            operations = {}
            try:
                tree.add(template, operations)
            except InputError as error:
                self._wrong(error.message, near)
                return
            known[template.text] = operations
        if method in operations:
            self._wrong(f"{method} {template.text} is there twice", near)
        operations[method] = operation

    def _operation(
        self,
        name: str,
        meaning: _Meaning,
        template: Template,
        *,
        near: str,
        tags: tuple[str, ...] = (),
        checks: tuple[tuple[str, Check], ...] = (),
    ) -> Operation:
        if name == NO_ROUTE:
            self._wrong(f"{NO_ROUTE!r} is what fits no route is called", near)
        # What no document says is a literal: the name of a route has braces of its template in it.
        ref, id_ = Ref(ROUTE, ""), Filled(f"{self._name}/{name}")
        if meaning.resource is not None:
            read = read_ref(meaning.resource)
            if read is None:
                self._wrong(f'{meaning.resource!r} names no entity; one looks like Project::"{{project}}"', near)
            else:
                ref, id_ = read, self._filled(read.id, template, near)
        self._check_kind(meaning.action, ref.type, near)
        attributes = tuple((one, self._filled(text, template, near)) for one, text in meaning.attributes.items())
        self._check_attributes(ref.type, meaning.attributes, near)
        return Operation(
            name=name,
            action=Action(meaning.action),
            type=ref.type,
            id=id_,
            attributes=attributes,
            parents=self._parents(ref.type, meaning.in_, near),
            tags=tags,
            checks=checks,
        )

    def _filled(self, text: str, template: Template, near: str) -> Filled:
        names = slots(text)
        for name in names:
            if name not in template.parameters:
                self._wrong(f"{template.text} has no parameter {name!r}{_meant(name, template.parameters)}", near)
                return Filled("")
        between = re.split(r"\{[^{}]*\}", text)[1:-1]
        rests = [name for name in names[:-1] if name == template.rest]
        if rests or any("/" not in one for one in between):
            # {a}-{b} would be the same for x-y and z as for x and y-z.
            self._wrong(f"in {text!r} nobody could tell where one parameter ends: put / between them", near)
        return Filled(text, names)

    def _check_kind(self, action: str, type_: str, near: str) -> None:
        declared = self._schema.action(action)
        if declared is None:
            actions = [name for _, name in self._schema.types.actions]
            self._wrong(f"there is no action {action} in the schema{_meant(action, actions)}", near)
        elif type_ not in declared.resources:
            self._wrong(
                f"{action} is not done to a {type_}, but to {' or '.join(declared.resources) or 'nothing'}", near
            )

    def _check_attributes(self, type_: str, attributes: Mapping[str, str], near: str) -> None:
        entity = self._schema.entity(type_)
        known = entity.attributes.attributes if entity is not None else {}
        for name in attributes:
            if name not in known:
                self._wrong(f"a {type_} has no attribute {name} in the schema{_meant(name, known)}", near)
            elif known[name].type != Simple("String"):
                self._wrong(f"the attribute {name} of a {type_} is no String, as all of a path is", near)
        missing = [name for name, one in known.items() if one.required and name not in attributes]
        if missing and type_ != ROUTE:
            self._wrong(f"a {type_} must have the attribute {min(missing)}", near)

    def _parents(self, type_: str, named: tuple[str, ...] | None, near: str) -> tuple[Ref, ...]:
        entity = self._schema.entity(type_)
        allowed = entity.parents if entity is not None else frozenset()
        if named is None:
            return (MAIN_SPACE,) if MAIN_SPACE.type in allowed else ()
        found = []
        for text in named:
            ref = read_ref(text)
            if ref is None or ref.type not in allowed:
                self._wrong(f"{text} is nothing that a {type_} may be in", near)
            else:
                found.append(ref)
        return tuple(found)

    def _wrong(self, message: str, near: str) -> None:
        offset = self._text.text.find(f'"{near}"') + 1 if near else 0
        self._errors.append(self._text.error(message, offset or max(self._text.text.find(near), 0)))


def _meant(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), 1, 0.7)
    return f"; did you mean {close[0]}?" if close else ""
