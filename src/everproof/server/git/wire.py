"""What hooks and the SSH command ask by the unix socket, and what they are answered. Bytes are base64 in JSON."""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from everproof.evidence import ObjectType

MAX_REFS: Final = 1_000
MAX_OBJECTS: Final = 10_000
"""Five thousand commits, and as many tags: see everproof.cli.git.guard, which counts before it sends."""
MAX_BODY: Final = 32 * 1024 * 1024
"""Bytes: 16 MiB of commits in base64, and their names."""

Oid = Annotated[str, Meta(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})$")]
PublicKey = Annotated[bytes, Meta(min_length=16, max_length=4096)]


class KeyQuestion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """sshd: may this key log in as ``user``? ``key`` is the public key in SSH's wire form (RFC 4253, section 6.6)."""

    user: Annotated[str, Meta(max_length=64)]
    key: PublicKey


class KeyAnswer(msgspec.Struct, frozen=True):
    """Whether the key is on record at all. What it may do is asked once it says what it wants."""

    known: bool


class SessionQuestion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`git serve`: the holder of this key, whom sshd let in, wants this of this repository."""

    key: PublicKey
    service: Literal["upload-pack", "receive-pack"]
    repository: Annotated[str, Meta(max_length=256)]


class SessionAnswer(msgspec.Struct, frozen=True):
    """Whether it may, what to tell the person, and the folder that git is to be started for."""

    allowed: bool
    lines: tuple[str, ...] = ()
    path: str = ""


class SentUpdate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One ref update as git has it.

    ``commits`` are those that are new to the ref; ``known`` says that the repository has the new tip already;
    ``fast_forward`` that the old tip is an ancestor of the new one, where there are both; ``alias`` is the ref that a
    symbolic one stands for.
    """

    ref: Annotated[str, Meta(max_length=1024)]
    old: Oid
    new: Oid
    commits: Annotated[tuple[Oid, ...], Meta(max_length=MAX_OBJECTS)] = ()
    known: bool = False
    fast_forward: bool = False
    alias: Annotated[str, Meta(max_length=1024)] = ""


class SentObject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An object as git has it in quarantine; the bytes of commits and tags alone."""

    oid: Oid
    type: ObjectType
    raw: bytes = b""


class Push(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The pre-receive hook: this is what is pushed into the repository in this folder."""

    repository: Annotated[str, Meta(max_length=4096)]
    updates: Annotated[tuple[SentUpdate, ...], Meta(min_length=1, max_length=MAX_REFS)]
    objects: Annotated[tuple[SentObject, ...], Meta(max_length=MAX_OBJECTS)] = ()
    certificate: bytes | None = None


class PushAnswer(msgspec.Struct, frozen=True):
    """Whether git may take the push, all of it or nothing, and what the pusher's terminal shows."""

    allowed: bool
    lines: tuple[str, ...]
