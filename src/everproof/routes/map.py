"""The map of all services behind gateways: from a host, a method and a path to an action on a resource."""

import re
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from everproof.kernel.errors import RefusedError
from everproof.kernel.words import MAIN_SPACE, Action, Ref, Resource
from everproof.routes.paths import AmbiguousPathError, Target, read_target
from everproof.routes.tree import AmbiguousRouteError, NoRouteError, Tree

API_CALL: Final = Action("api:call")
ROUTE: Final = "Route"

MAX_KEPT: Final = 4096
MAX_KEPT_TARGET: Final = 256
"""Requests that are remembered with what they are, some 6 MB at most; the same ones come again and again."""

_SLOT: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_.-]{0,63})\}")

Check = Callable[[str], bool]
"""Whether a parameter's value is one that the route's document allows."""


class Filled(msgspec.Struct, frozen=True):
    """A text with places for a path's parameters."""

    text: str
    slots: tuple[str, ...] = ()

    def fill(self, values: Mapping[str, str]) -> str:
        """The text with ``values`` in their places."""
        return _SLOT.sub(lambda match: values[match[1]], self.text) if self.slots else self.text


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """What one method of one path is: an action on a resource, whose id and attributes may come from the path.

    ``type`` is the resource's. Of a ``Route`` more is said than stands here: see `Service.find`.
    """

    name: str
    action: Action
    type: str
    id: Filled
    attributes: tuple[tuple[str, Filled], ...] = ()
    parents: tuple[Ref, ...] = (MAIN_SPACE,)
    tags: tuple[str, ...] = ()
    checks: tuple[tuple[str, Check], ...] = ()


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """What a request is, or with ``refusal`` why it is nothing that anyone may be allowed to do."""

    service: "Service"
    name: str
    action: Action
    resource: Resource
    refusal: RefusedError | None = None

    @property
    def is_ambiguous(self) -> bool:
        """Whether nobody can tell what the request is: then it is refused even where its service only observes."""
        return isinstance(self.refusal, AmbiguousPathError | AmbiguousRouteError)


class Service:
    """One service and its routes. ``origins`` are how callers name it, each with its scheme."""

    def __init__(self, name: str, origins: tuple[str, ...], tree: Tree[dict[str, Operation]]) -> None:
        self.name = name
        self.origins = origins
        self._tree = tree
        self._found: dict[tuple[str, str, str], Match] = {}

    @property
    def audience(self) -> str:
        """Whom assertions for it are for."""
        return self.origins[0]

    def find(self, method: str, target: str, host: str) -> Match:
        """What a request is to this service. What fits no route is an `api:call` on a Route named ``none``."""
        found = self._found.get((method, target, host))
        if found is None:
            found = self._find(method, target, host)
            if found.refusal is None and len(target) <= MAX_KEPT_TARGET:
                if len(self._found) >= MAX_KEPT:
                    self._found.clear()
                self._found[method, target, host] = found
        return found

    def _find(self, method: str, target: str, host: str) -> Match:
        values: dict[str, str] = {}
        read = Target("", ())
        try:
            read = read_target(target)
            template, operations = self._tree.find(read.segments)
            operation = operations.get(method)
            if operation is None:
                allowed = " or ".join(sorted(operations))
                raise NoRouteError(f"{template.text} is for {allowed}", place="method")
            values = template.values(read.segments)
            for parameter, check in operation.checks:
                if not check(values[parameter]):
                    raise NoRouteError(f"{template.text} has no such {parameter}", place="path")
        except RefusedError as error:
            return self._refused(method, read.path, host, error)
        attributes: dict[str, str | list[str]] = {name: text.fill(values) for name, text in operation.attributes}
        if operation.type == ROUTE:
            attributes = self._about(method, read.path, host) | {"operation": operation.name} | attributes
            if operation.tags:
                attributes["tags"] = list(operation.tags)
        return Match(
            service=self,
            name=operation.name,
            action=operation.action,
            resource=Resource(
                ref=Ref(operation.type, operation.id.fill(values)), attributes=attributes, parents=operation.parents
            ),
        )

    def _refused(self, method: str, path: str, host: str, error: RefusedError) -> Match:
        about = Resource(
            ref=Ref(ROUTE, f"{self.name}/none"), attributes=self._about(method, path, host), parents=(MAIN_SPACE,)
        )
        return Match(service=self, name="none", action=API_CALL, resource=about, refusal=error)

    def _about(self, method: str, path: str, host: str) -> dict[str, str | list[str]]:
        return {"service": self.name, "method": method, "host": host, **({"path": path} if path else {})}


class RouteMap:
    """Every service, by the hosts that callers name it by."""

    def __init__(self, services: tuple[Service, ...] = ()) -> None:
        self.services = services
        self._hosts = {host_of(origin): (service, origin) for service in services for origin in service.origins}

    def service(self, host: str) -> tuple[Service, str] | None:
        """The service that is called ``host``, port and all where it has one, and its origin; by no other spelling."""
        return self._hosts.get(host)


def host_of(origin: str) -> str:
    """The host of an origin, with its port where it has one."""
    return origin.partition("://")[2]


def slots(text: str) -> tuple[str, ...]:
    """The parameters that ``text`` has places for."""
    return tuple(_SLOT.findall(text))
