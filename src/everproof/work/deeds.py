"""What an effect is: a verb that can be applied, verified and undone, and one use of it as it stands on record."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec

from everproof.kernel.words import NOTHING, Attributes, Effect, Ref
from everproof.work.records import ATTEMPTS, LIMIT, PARALLEL

Stage: TypeAlias = Literal["proposed", "approved", "applied", "verified", "undoing", "undone", "failed", "cancelled"]
"""``failed``: a step was tried as often as it may be; it can be retried or undone. ``cancelled``: never applied."""

BOUND: Final = 10
"""Things that an effect may touch before a person has to look at it, where its verb does not say otherwise."""

MAX_PEOPLE: Final = 20
"""More than these never approve anything in time."""


class Plan(msgspec.Struct, frozen=True):
    """What an effect would do, said before it is done: how many things it touches, and what would undo it.

    ``undoes`` is empty where nothing can: then a person has to approve it, however small it is.
    """

    does: str
    touches: int
    undoes: str = ""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt at one step of an effect. ``key`` and ``fence`` are a `Task`'s: to hand to whatever is outside.

    ``outcome`` is what applying gave, None where it has not been applied or that was not heard.
    """

    effect: str
    subject: Ref
    arguments: Attributes
    outcome: Any
    key: str
    fence: int
    attempt: int


class Deed(msgspec.Struct, frozen=True, kw_only=True):
    """A verb of effects. Each of its functions may be called again after it has succeeded, and must bear that.

    ``apply`` gives what ``verify`` and ``undo`` may need to know, as JSON. ``verify`` says whether it holds; until it
    does it is asked again. ``undo`` may be asked for what was applied only in part, or was not at all. ``action`` is
    what policy is asked about whoever wants it applied or undone. Above ``bound`` things, and where nothing undoes it,
    ``people`` have to approve.
    """

    name: str
    action: str
    plan: Callable[[Effect], Plan]
    apply: Callable[[Step], Awaitable[Any]]
    verify: Callable[[Step], Awaitable[bool]] | None = None
    undo: Callable[[Step], Awaitable[None]] | None = None
    bound: int = BOUND
    people: int = 1
    parallel: int = PARALLEL
    attempts: int = ATTEMPTS
    limit: timedelta = LIMIT


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the organisation says of a verb: how many people approve what touches more than ``above`` things."""

    people: Annotated[int, msgspec.Meta(ge=1, le=MAX_PEOPLE)]
    above: Annotated[int, msgspec.Meta(ge=0)] = 0


class EffectRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An effect as it stands, without its arguments. ``job`` is that of its present step."""

    id: str
    key: str
    verb: str
    subject: Ref
    stage: Stage
    job: str | None
    does: str
    touches: int
    undoes: str
    needs: int
    approved_by: tuple[Ref, ...] = ()
    by: Ref
    created: datetime
    changed: datetime
    error: str = ""


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept sealed of an effect."""

    arguments: Attributes = NOTHING
    outcome: Any = None
