"""What is on record of a step: which command ran in which stage, by whose credential, and how it ended."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal, TypeAlias, get_args

import msgspec

from everproof.kernel.words import Ref

Stage: TypeAlias = Literal["build", "test", "publish", "deploy"]
STAGES: Final[tuple[str, ...]] = get_args(Stage)

LIFETIMES: Final[Mapping[str, timedelta]] = {
    "build": timedelta(minutes=30),
    "test": timedelta(minutes=30),
    "publish": timedelta(minutes=10),
    "deploy": timedelta(minutes=10),
}
"""The longest that a stage's credential lives before policy is asked again: what can do more is asked about oftener."""

Cause: TypeAlias = Literal["", "revoked", "expired", "unreachable", "timeout", "interrupted"]
"""Why a command was killed; empty where it ended by itself."""

Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
Word = Annotated[str, msgspec.Meta(max_length=4096)]


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A command. ``digest`` is SHA-256 over its words, each ended by a NUL byte.

    Arguments may hold secrets, so they themselves are told only where somebody asked for it.
    """

    program: Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
    digest: Digest
    arguments: Annotated[tuple[Word, ...], msgspec.Meta(max_length=256)] | None = None


class Result(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a command ended: with an exit status (0 to 255), or by a signal, after so many milliseconds."""

    exit_status: Annotated[int, msgspec.Meta(ge=0, le=255)] | None = None
    signal: Annotated[int, msgspec.Meta(ge=1, le=128)] | None = None
    milliseconds: Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)] = 0
    killed: Cause = ""
    survivors: Annotated[int, msgspec.Meta(ge=0, le=2**31)] = 0
    """Processes that the command had left behind, and that were ended with it."""


class Run(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step. ``credentials`` are those of its stage, the newest last; ``holder`` is the key of whoever began it.

    A run without ``ended`` whose ``expires`` is past was lost: nobody has told how it ended.
    """

    id: str
    stage: Stage
    principal: Ref
    resource: Ref
    program: str
    digest: str
    credentials: tuple[str, ...]
    holder: str
    key: str
    started: datetime
    expires: datetime
    ended: datetime | None = None
    result: Result | None = None
