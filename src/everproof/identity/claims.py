"""Claims: when a token is valid, and what each claim in it is worth.

Every claim of a verified token falls in one class. *Verified*: checked by the token's own rules or by the binding's
conditions. *Unverifiable*: must be there, and nothing here can check it. *Optional*: may be there, and nobody asked.
*Unchecked*: known to carry nothing to decide on. Anything else is *unknown*, and told: the issuer has changed, or
someone sends what it does not.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from everproof.identity.jose import MAX_INTEGER, JoseError
from everproof.kernel.clock import MAX_SKEW, Clock

REGISTERED: Final = frozenset({"iss", "aud", "exp", "nbf", "iat", "jti"})
"""Checked for every token, whatever a binding says (RFC 7519, section 4.1)."""

TELL_AGAIN: Final = timedelta(hours=1)
"""One unknown claim of one issuer is told once in this time."""
MAX_TOLD: Final = 1000
"""Names that are remembered; beyond it nothing is told, since someone is inventing them."""


MAX_KNOWN: Final = 64
"""Sets of claims that are remembered for one binding."""


class ClaimRules(msgspec.Struct, frozen=True, kw_only=True):
    """What a kind of issuer says in its tokens. ``open``: its claims are its owner's choice, so none is unknown."""

    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    unchecked: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()
    """Families of optional claims that an issuer's owner names, such as ``repo_property_``."""
    open: bool = False

    def knows(self, name: str) -> bool:
        """Whether tokens of this kind of issuer may carry ``name``."""
        known = name in REGISTERED or name in self.required or name in self.optional or name in self.unchecked
        return self.open or known or name.startswith(self.prefixes or ("\0",))


class Classified(msgspec.Struct, frozen=True, omit_defaults=True):
    """The claims of one token by class, as they are recorded beside the decision."""

    verified: tuple[str, ...]
    unverifiable: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


class Classes:
    """Sorts the claims of tokens that one binding fits. Tokens of one issuer carry the same claims again and again."""

    def __init__(self, conditions: Iterable[str], rules: ClaimRules) -> None:
        self._checked = REGISTERED.union(conditions)
        self._rules = rules
        self._known: dict[tuple[str, ...], Classified] = {}

    def sort(self, claims: Iterable[str]) -> Classified:
        """The classes of ``claims``, given that the binding's conditions have been checked."""
        names = tuple(claims)
        found = self._known.get(names)
        if found is None:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            found = self._known[names] = self._sort(names)
        return found

    def _sort(self, names: tuple[str, ...]) -> Classified:
        found: tuple[list[str], ...] = ([], [], [], [], [])
        for name in names:
            if name in self._checked:
                kind = 0
            elif name in self._rules.required:
                kind = 1
            elif name in self._rules.unchecked:
                kind = 3
            else:
                kind = 2 if self._rules.knows(name) else 4
            found[kind].append(name)
        return Classified(*map(tuple, found))


def require_claims(claims: Mapping[str, Any], rules: ClaimRules) -> None:
    """Check that what every token of this kind has is there.

    Raises:
        JoseError: it is not.
    """
    if not rules.required <= claims.keys():
        missing = min(rules.required - claims.keys())
        raise JoseError("a claim that every token of this issuer has is missing", place=f"claims.{missing}")


def require_times(claims: Mapping[str, Any], now: datetime, *, max_age: timedelta) -> tuple[datetime, datetime]:
    """When the token was issued and when it expires: it must be valid now, and no older than ``max_age``.

    Raises:
        JoseError: not yet, no more, too old, or without the times that tell.
    """
    issued, expires = _moment(claims, "iat", now), _moment(claims, "exp", now)
    if "nbf" in claims and _moment(claims, "nbf", now) - now > MAX_SKEW:
        raise JoseError("not valid yet", place="claims.nbf")
    if now - expires >= MAX_SKEW:
        ago = int((now - expires).total_seconds())
        raise JoseError(f"expired {ago} s ago", place="claims.exp", todo="ask the issuer for a new token")
    if issued - now > MAX_SKEW:
        raise JoseError("issued in the future", place="claims.iat", todo="compare the clocks of both machines")
    if now - issued > max_age + MAX_SKEW:
        raise JoseError(f"older than {int(max_age.total_seconds())} s", place="claims.iat")
    if expires <= issued:
        raise JoseError("expires before it was issued", place="claims.exp")
    return issued, expires


def _moment(claims: Mapping[str, Any], name: str, now: datetime) -> datetime:
    value = claims.get(name)
    if type(value) is not int or not 0 <= value <= MAX_INTEGER:
        raise JoseError("must be a time in whole seconds", place=f"claims.{name}")
    try:
        return datetime.fromtimestamp(value, now.tzinfo)
    except (ValueError, OverflowError, OSError) as error:
        raise JoseError("a time beyond the calendar", place=f"claims.{name}") from error


def plain(value: Any) -> Any:
    """A claim's value in what policy and ledger know: no nulls, no floats, no integers that are not safe."""
    if isinstance(value, dict):
        return {
            name: one if type(one) is str else plain(one)  # nearly all are, and calls cost
            for name, one in value.items()
            if one is not None and name.isascii()
        }
    if isinstance(value, list):
        return [plain(one) for one in value if one is not None]
    if isinstance(value, float) or (type(value) is int and abs(value) > MAX_INTEGER):
        return repr(value)
    return value


Told = Callable[[str, str], None]
"""Takes an issuer and the name of a claim that it was not known to send."""


class UnknownClaims:
    """Tells of unknown claims, each seldom."""

    def __init__(self, clock: Clock, tell: Told | None = None) -> None:
        self._clock = clock
        self.tell = tell
        self._told: dict[tuple[str, str], datetime] = {}

    def seen(self, issuer: str, names: tuple[str, ...]) -> None:
        """Tell of each of ``names`` that was not told lately."""
        if self.tell is None:
            return
        now = self._clock.now()
        for name in names:
            last = self._told.get((issuer, name))
            if (last is None and len(self._told) < MAX_TOLD) or (last is not None and now - last >= TELL_AGAIN):
                self._told[issuer, name] = now
                self.tell(issuer, name)
