"""What may be requested: `.everproof/access.toml` of the ruling bundle. Who may approve is for policy to say.

    on_call = ['Group::"on-call"']

    [[rule]]
    actions = ["deployment:*"]
    resources = ['Environment::"production"', 'Environment::"eu-*"']
    requesters = ["developers"]     # groups; empty: everyone
    people = 2                      # how many approve
    owners = ['Group::"release"', 'User::"ada"']
    longest = "4h"
    answer_within = "1d"
    reason = true
    notify = ['Channel::"ops"']
    automatic = false

The first rule that fits counts. Without the file, one administrator approves anything, for four hours at most.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from everproof.identity.names import group_id
from everproof.identity.records import ADMINISTRATORS
from everproof.kernel.errors import InputError
from everproof.kernel.toml import parse_toml
from everproof.kernel.words import Principal, Ref
from everproof.policy import Bundle

FILE_NAME: Final = "access.toml"
MAX_PEOPLE: Final = 16
LONGEST: Final = timedelta(days=7)
"""However long a rule would have it: what is needed for longer is no exception any more."""
SHORTEST: Final = timedelta(minutes=1)

_SPAN: Final = re.compile(r"([1-9][0-9]{0,5})(d|h|min|s)")
_SECONDS: Final = {"d": 86_400, "h": 3_600, "min": 60, "s": 1}
_REF: Final = re.compile(r'([A-Za-z_][A-Za-z0-9_]*)::"([^"\\]+)"')
_ACTION: Final = re.compile(r"\*|[a-z][a-z-]*:(\*|[a-z][a-z-]*)")

Names = Annotated[tuple[str, ...], Meta(max_length=100)]


class _Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    actions: Annotated[tuple[str, ...], Meta(min_length=1, max_length=100)]
    resources: Annotated[tuple[str, ...], Meta(min_length=1, max_length=100)]
    requesters: Names = ()
    people: Annotated[int, Meta(ge=1, le=MAX_PEOPLE)] = 1
    owners: Names = ()
    longest: str = "4h"
    answer_within: str = "1d"
    reason: bool = True
    notify: Names = ()
    automatic: bool = False


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    on_call: Names = ()
    rule: tuple[_Rule, ...] = ()


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What may be requested by whom, how many approve it, for how long at most; and who hears of it.

    ``owners`` are handed to policy, which says who approves. ``automatic``: policy may be asked to grant it at once.
    """

    actions: tuple[str, ...] = ("*",)
    resources: tuple[tuple[str, str], ...] = ()
    requesters: frozenset[Ref] = frozenset()
    people: int = 1
    owners: tuple[Ref, ...] = ()
    longest: timedelta = timedelta(hours=4)
    answer_within: timedelta = timedelta(days=1)
    reason: bool = True
    notify: tuple[Ref, ...] = (Ref("Group", ADMINISTRATORS),)
    automatic: bool = False

    def fits(self, principal: Principal, action: str, resource: Ref) -> bool:
        """Whether it says something about this request."""
        if self.requesters and self.requesters.isdisjoint(principal.parents):
            return False
        if not any(_is_like(action, one) for one in self.actions):
            return False
        return not self.resources or any(
            type_ == resource.type and _is_like(resource.id, pattern) for type_, pattern in self.resources
        )


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of one bundle, which ``digest`` names; ``on_call`` are the groups of those who are."""

    digest: str
    rules: tuple[Rule, ...]
    on_call: frozenset[Ref] = frozenset()

    def rule(self, principal: Principal, action: str, resource: Ref) -> Rule | None:
        """The first rule that fits."""
        return next((one for one in self.rules if one.fits(principal, action, resource)), None)


def access_rules(bundle: Bundle) -> Rules:
    """The rules of ``bundle``.

    Raises:
        InputError: ``access.toml`` cannot be read, or names an action or type that there is not; with its place.
    """
    if FILE_NAME not in bundle.files:
        return Rules(digest=bundle.digest, rules=(Rule(),))
    try:
        text = bundle.files[FILE_NAME].decode()
    except UnicodeDecodeError as error:
        raise InputError("not UTF-8", place=FILE_NAME) from error
    file = parse_toml(text, _File, place=FILE_NAME)
    on_call = frozenset(_ref(one, ("Group",), place=f"{FILE_NAME}: on_call") for one in file.on_call)
    rules = tuple(_rule(bundle, one, place=f"{FILE_NAME}: rule[{number}]") for number, one in enumerate(file.rule))
    return Rules(digest=bundle.digest, rules=rules, on_call=on_call)


def span(text: str, *, place: str) -> timedelta:
    """A span of time such as ``4h``.

    Raises:
        InputError: it is none.
    """
    match = _SPAN.fullmatch(text)
    if match is None:
        raise InputError(f"{text[:40]!r} is no span of time", place=place, todo="write it as 1d, 4h, 90min or 45s")
    return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])


def _is_like(text: str, pattern: str) -> bool:
    """Whether ``text`` is ``pattern``, in which a star stands for anything; found without going back."""
    first, *rest = pattern.split("*")
    if not rest:
        return text == pattern
    if not text.startswith(first):
        return False
    at = len(first)
    for part in rest[:-1]:
        found = text.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(text) - len(rest[-1]) >= at and text.endswith(rest[-1])


def _rule(bundle: Bundle, rule: _Rule, *, place: str) -> Rule:
    known = bundle.schema.types
    names = {name for _, name in known.actions}
    for one in rule.actions:
        if _ACTION.fullmatch(one) is None or not any(_is_like(name, one) for name in names):
            raise InputError(f"{one[:80]!r} names no action of the schema", place=f"{place}.actions")
    resources = []
    for one in rule.resources:
        found = _ref(one, known.entities, place=f"{place}.resources")
        resources.append((found.type, found.id))
    longest, answer = (_within(getattr(rule, name), place=f"{place}.{name}") for name in ("longest", "answer_within"))
    owners = tuple(_ref(one, ("User", "Group"), place=f"{place}.owners") for one in rule.owners)
    notify = tuple(_ref(one, ("User", "Group", "Channel"), place=f"{place}.notify") for one in rule.notify)
    return Rule(
        actions=rule.actions,
        resources=tuple(resources),
        requesters=frozenset(Ref("Group", group_id(one, place=f"{place}.requesters")) for one in rule.requesters),
        people=rule.people,
        owners=owners,
        longest=longest,
        answer_within=answer,
        reason=rule.reason,
        notify=notify or owners or (Ref("Group", ADMINISTRATORS),),
        automatic=rule.automatic,
    )


def _within(text: str, *, place: str) -> timedelta:
    found = span(text, place=place)
    if not SHORTEST <= found <= LONGEST:
        raise InputError(f"{text} is not between a minute and seven days", place=place)
    return found


def _ref(text: str, types: Iterable[str] | Mapping[str, object], *, place: str) -> Ref:
    match = _REF.fullmatch(text)
    if match is None or match[1] not in types:
        allowed = ", ".join(types) if isinstance(types, tuple) else "a type of the schema"
        raise InputError(f"{text[:80]!r} names nothing here", place=place, todo=f'write Type::"id", of {allowed}')
    return Ref(match[1], match[2])
