"""Route maps: which request to a service behind a gateway is which action on which resource. Pure."""

from everproof.routes.files import load_routes
from everproof.routes.map import Match, RouteMap, Service
from everproof.routes.paths import AmbiguousPathError, Target, read_target
from everproof.routes.tree import AmbiguousRouteError, NoRouteError

__all__ = [
    "AmbiguousPathError",
    "AmbiguousRouteError",
    "Match",
    "NoRouteError",
    "RouteMap",
    "Service",
    "Target",
    "load_routes",
    "read_target",
]
