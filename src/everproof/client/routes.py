"""Which request is which action on which resource: a table, read from the top; what is not in it is refused."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from everproof.client.answers import Entity, Named
from everproof.kernel.errors import InputError

ROUTE: Final = "Route"
"""The one type of resource that has a method and a path."""

_PART: Final = re.compile(r"\{([a-z_][a-z0-9_]*)\}")
_TRICKS: Final = re.compile(r"//|\\|%|[\x00-\x1f\x7f]|(^|/)\.{1,2}(/|$)|;")
"""What two readers of a path read in two ways: it is in no path that is let through."""
_ENCODED_TRICKS: Final = re.compile(rb"%(?:2[ef]|5c|00|25|3b)", re.IGNORECASE)


class UnclearPathError(InputError):
    """A path that the service and this table might read in two ways."""

    code = "unclear-path"


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a request is; ``public``: whoever sends it need not be anybody."""

    action: str = ""
    resource: Named = ""
    context: Mapping[str, Any] = {}
    public: bool = False


Mapper: TypeAlias = Callable[[str, str], Found | None]
"""Takes a method and a decoded path; gives None for what is to be refused."""


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a table.

    ``path`` may have parts such as ``{id}``, each one segment, which may stand in ``resource`` again:
    ``Rule(method="GET", path="/orders/{id}", action="api:call", resource="Route::orders/{id}")``.
    """

    method: str
    path: str
    action: str = ""
    resource: str = ""
    public: bool = False


def table(rules: Iterable[Rule]) -> Mapper:
    """The mapper of a table.

    Raises:
        InputError: a rule says nothing, or names a part that its path has not.
    """
    compiled = [(rule, _pattern(rule)) for rule in rules]

    def find(method: str, path: str) -> Found | None:
        for rule, pattern in compiled:
            if rule.method not in {method, "*"} and not (rule.method == "GET" and method == "HEAD"):
                continue
            match = pattern.fullmatch(path)
            if match is None:
                continue
            if rule.public:
                return Found(public=True)
            asked = {"method": method, "path": path}
            type_, _, id_ = rule.resource.partition("::")
            resource = Entity(type_, _filled(id_, match), asked if type_ == ROUTE else {})
            return Found(action=rule.action, resource=resource, context=asked)
        return None

    return find


def _filled(id_: str, match: re.Match[str]) -> str:
    return _PART.sub(lambda part: match[part[1]], id_)


def require_plain(path: str, raw: bytes = b"") -> None:
    """Hold that a decoded path, and what it was decoded from, is read by everybody as the same.

    Raises:
        UnclearPathError: it is not.
    """
    if not path.startswith("/") or _TRICKS.search(path) or _ENCODED_TRICKS.search(raw):
        raise UnclearPathError(
            "a path that can be read in two ways", todo="send it without dots, doubled slashes and escapes"
        )


def _pattern(rule: Rule) -> re.Pattern[str]:
    if not rule.public and not (rule.action and rule.resource.partition("::")[2]):
        raise InputError(f"the rule for {rule.method} {rule.path} has no action, or no resource TYPE::ID")
    if not rule.path.startswith("/") or not rule.method:
        raise InputError(f"the rule for {rule.method} {rule.path} is for no request")
    parts = _PART.split(rule.path)
    names = parts[1::2]
    if missing := set(_PART.findall(rule.resource)) - set(names):
        raise InputError(f"the rule for {rule.path} has no part {min(missing)}")
    return re.compile("".join(f"(?P<{one}>[^/]+)" if at % 2 else re.escape(one) for at, one in enumerate(parts)))
