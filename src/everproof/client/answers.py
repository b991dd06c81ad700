"""What is asked and what is answered, as values: nothing that can be read in two ways is read as a yes."""

import json
from collections.abc import Mapping
from typing import Any, Final, TypeAlias, TypeVar

import msgspec

from everproof.kernel.errors import InputError, RefusedError, UnavailableError

T = TypeVar("T")


class Entity(msgspec.Struct, frozen=True, omit_defaults=True):
    """A subject or a resource by its Cedar type and id; ``properties`` reach policy for a resource alone."""

    type: str
    id: str
    properties: Mapping[str, Any] = {}

    def __str__(self) -> str:
        return f'{self.type}::"{self.id}"'


Named: TypeAlias = Entity | str
"""An entity, or its name: ``User::alice``, ``User::"alice"``."""


class Receipt(msgspec.Struct, frozen=True):
    """The entry of the ledger in which a decision is recorded."""

    id: str
    index: int


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """One answer; true if, and only if, it allows.

    ``reason`` and ``todo`` are for whoever was denied: one sentence, and what to do next. ``would_deny``: the server
    only observes, and says that it would have denied. ``cached``: answered from memory, by the entry of the first time.
    ``cache_seconds`` is how long the server lets it be remembered; 0: not at all.
    """

    allowed: bool
    reason: str = ""
    todo: str = ""
    receipt: Receipt | None = None
    explanation: Mapping[str, Any] = {}
    would_deny: bool = False
    cached: bool = False
    cache_seconds: int = 0

    def __bool__(self) -> bool:
        return self.allowed


class DeniedError(RefusedError):
    """The answer was no. ``decision`` has the explanation."""

    code = "denied"

    def __init__(self, decision: Decision, *, place: str | None = None) -> None:
        super().__init__(decision.reason or "denied", place=place, todo=decision.todo or None)
        self.decision = decision


class Introspection(msgspec.Struct, frozen=True, kw_only=True):
    """What a token is worth now (RFC 7662). Of one that is not good, ``active`` alone is told."""

    active: bool
    scope: str = ""
    client_id: str = ""
    token_type: str = ""
    exp: int = 0
    iat: int = 0
    sub: str = ""
    aud: str = ""
    iss: str = ""
    jti: str = ""
    space: str = ""
    cnf: dict[str, str] = {}
    act: dict[str, Any] = {}

    @property
    def subject(self) -> Entity:
        """Whom the token proves.

        Raises:
            UnavailableError: the server names a kind of principal that this client does not know.
        """
        kind, colon, id_ = self.sub.partition(":")
        type_ = _PRINCIPALS.get(kind, "")
        if not (type_ and colon and id_):
            raise malformed("a token of nobody that is known")
        return Entity(type_, id_)

    @property
    def lineage(self) -> tuple[str, ...]:
        """The credentials that it stands and falls with: its own, and those of its actors."""
        found, act = [self.jti], self.act
        while act:
            found.append(str(act.get("credential")))
            act = act.get("act") or {}
        return tuple(found)


_PRINCIPALS: Final = {kind.lower(): kind for kind in ("User", "Job", "Service", "Machine", "Device")}


class Decided(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An answer on the wire (AuthZEN 1.0, section 6.2)."""

    decision: bool
    context: dict[str, Any] = {}


class DecidedAll(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The answers to a batch (section 7.2)."""

    evaluations: list[Decided]


class Found(msgspec.Struct, frozen=True):
    """One result of a search (section 8); an action has a name, all else a type and an id."""

    type: str = ""
    id: str = ""
    name: str = ""


class Page(msgspec.Struct, frozen=True):
    """Where to go on; empty at the end."""

    next_token: str = ""


class Results(msgspec.Struct, frozen=True):
    """One page of a search."""

    results: list[Found]
    page: Page = Page()


class Issued(msgspec.Struct, frozen=True):
    """A token, from the token endpoint (RFC 6749, section 5.1)."""

    access_token: str
    token_type: str
    expires_in: int
    credential: str = ""

    def __repr__(self) -> str:
        return f"Issued({self.credential})"


def entity(named: Named) -> Entity:
    """The entity that is named.

    Raises:
        InputError: the text is no name of one.
    """
    if isinstance(named, Entity):
        return named
    if named.endswith('"'):
        type_, _, id_ = named[:-1].partition('::"')
    else:
        type_, _, id_ = named.partition("::")
    if not type_ or not id_:
        raise InputError(
            f"{named[:80]!r} names no entity", todo="write TYPE::ID, such as User::alice, or give an Entity"
        )
    return Entity(type_, id_)


def decision_of(told: Decided) -> Decision:
    """The decision in an answer.

    Raises:
        UnavailableError: it is none.
    """
    context = told.context
    receipt = None
    if "id" in context:
        receipt = msgspec.convert({name: context.get(name) for name in ("id", "index")}, Receipt)
    explanation = context.get("explanation", {})
    error = context.get("error", {})
    would_deny = context.get("would_deny", False)
    cache = context.get("cache_seconds", 0)
    if not (isinstance(explanation, dict) and isinstance(error, dict) and type(would_deny) is bool):
        raise malformed("an answer that says two things")
    if told.decision and (error or receipt is None or type(cache) is not int):
        raise malformed("a permission without a receipt")
    if told.decision and not would_deny:
        return Decision(allowed=True, receipt=receipt, cache_seconds=max(0, cache))
    return Decision(
        allowed=told.decision,
        reason=_reason(context) or str(error.get("message", "")) or "denied",
        todo=_todo(explanation),
        receipt=receipt,
        explanation=explanation,
        would_deny=would_deny,
    )


def _reason(context: Mapping[str, Any]) -> str:
    explanation = context.get("explanation")
    if isinstance(explanation, dict) and explanation.get("summary"):
        return str(explanation["summary"])
    for name in ("reason_user", "reason_admin"):
        said = context.get(name)
        if isinstance(said, dict):
            return str(next(iter(said.values()), ""))
    return ""


def _todo(explanation: Mapping[str, Any]) -> str:
    """What the policies that decided advise, the surest first."""
    for why in (*explanation.get("forbidden_by", ()), *explanation.get("near", ())):
        if isinstance(why, dict) and why.get("advice"):
            return str(why["advice"])
    return ""


def read(body: bytes, type_: type[T]) -> T:
    """``body`` as ``type_``, strictly.

    Raises:
        UnavailableError: it is anything else, or an object in it has the same key twice.
    """
    try:
        value = msgspec.json.decode(body, type=type_)
        json.loads(body, object_pairs_hook=_unique)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise malformed("an answer that cannot be read") from error
    return value


def malformed(what: str) -> UnavailableError:
    """An answer that is none: nothing is allowed by it."""
    return UnavailableError(f"the server gave {what}", todo="see what answers at its address, and its version")


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("an object has the same key twice")
