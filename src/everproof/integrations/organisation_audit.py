"""Whether an organisation at a platform lets anybody in without sign-on and a second factor.

A check says what it saw. What the token may not see is never taken for good: it is *unseen*, with what would let it.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Final, Literal, TypeAlias

import msgspec

from everproof.integrations.rest import RefusalError, UnseenError

State: TypeAlias = Literal["good", "bad", "look", "unseen"]
"""``look``: nothing is wrong by itself, and a person should know of it."""

_CANNOT: Final = frozenset({401, 403, 404, 422})


class Seen(msgspec.Struct, frozen=True):
    """What a check saw: a sentence, and whom or what it is about."""

    state: State
    said: str
    who: tuple[str, ...] = ()


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What a check came to. ``todo``: what to do about it, or what would let it be seen."""

    check: str
    title: str
    state: State
    said: str
    who: tuple[str, ...] = ()
    todo: str = ""


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """All findings about one organisation."""

    platform: str
    organisation: str
    id: str
    at: datetime
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether everything was seen, and none of it is bad."""
        return all(one.state in {"good", "look"} for one in self.findings)


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One question: ``needs`` is what a token must have for it, ``todo`` what to do where the answer is bad."""

    name: str
    title: str
    needs: str
    todo: str
    look: Callable[[], Awaitable[Seen]]


async def findings(checks: Iterable[Check]) -> tuple[Finding, ...]:
    """What the checks come to, one after the other.

    Raises:
        Error: the platform cannot be asked, or its limit is reached: then nothing can be said.
    """
    return tuple([await _finding(check) for check in checks])


def about(who: Sequence[str], *, none: str, some: str, state: State = "bad") -> Seen:
    """Good where there is nobody; else ``some``, with how many."""
    return Seen(state, f"{len(who)} {some}", tuple(who)) if who else Seen("good", none)


async def _finding(check: Check) -> Finding:
    try:
        seen = await check.look()
    except (UnseenError, RefusalError) as error:
        if error.answered not in _CANNOT:
            raise
        seen = Seen("unseen", f"could not look: the platform answered {error.answered}")
    todo = {"bad": check.todo, "look": check.todo, "unseen": f"needs {check.needs}"}.get(seen.state, "")
    return Finding(check=check.name, title=check.title, state=seen.state, said=seen.said, who=seen.who, todo=todo)
