"""Whom to trust about a log (C2SP tlog-policy): which logs, which witnesses, and how many must have cosigned."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from everproof.kernel.errors import InputError, RefusedError
from everproof.ledger.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint
from everproof.ledger.note import COSIGNATURE_V1, ED25519, NoteError, SignatureError, Signed, Verifier, parse_note
from everproof.ledger.note import parse_vkey as parse_key

MAX_POLICY_BYTES: Final = 1 << 16
MAX_NAMES: Final = 256
"""Witnesses and groups; the format asks for 32 of each at least."""

NO_QUORUM: Final = b"none"

_CONTROL: Final = re.compile(rb"[^\t\n\x20-\x7e\x80-\xff]")
_NUMBER: Final = re.compile(rb"[1-9][0-9]{0,3}")
_LOG_WORDS: Final = range(1, 3)
_WITNESS_WORDS: Final = range(2, 4)
_GROUP_WORDS: Final = range(3, MAX_NAMES + 3)


class QuorumError(RefusedError):
    """A checkpoint was not cosigned by as many witnesses as the policy asks for."""

    code = "no-quorum"


class Witness(msgspec.Struct, frozen=True):
    """A witness: its name in the policy, its key, and where it can be asked (a prefix, without a slash at its end)."""

    name: str
    verifier: Verifier
    url: str = ""


class Group(msgspec.Struct, frozen=True):
    """A group counts as a witness where ``threshold`` of its members do."""

    name: bytes
    threshold: int
    members: tuple[bytes, ...]


class TlogPolicy(msgspec.Struct, frozen=True):
    """A policy that was read. Groups stand in it after what they name, so one pass decides."""

    logs: tuple[Verifier, ...]
    witnesses: dict[bytes, Witness]
    groups: tuple[Group, ...]
    quorum: bytes

    def is_met_by(self, cosigners: Iterable[Verifier]) -> bool:
        """Whether these, whose cosignatures were verified, are enough."""
        if self.quorum == NO_QUORUM:
            return True
        keys = {cosigner.key for cosigner in cosigners}
        counted = {name for name, witness in self.witnesses.items() if witness.verifier.key in keys}
        for group in self.groups:
            if sum(member in counted for member in group.members) >= group.threshold:
                counted.add(group.name)
        return self.quorum in counted

    def verifiers(self) -> tuple[Verifier, ...]:
        """The keys of the witnesses."""
        return tuple(witness.verifier for witness in self.witnesses.values())

    def require_quorum(self, cosigned: Iterable[Signed]) -> None:
        """Hold that the quorum cosigned.

        Raises:
            QuorumError: it did not; who did.
        """
        keys = {signed.by.key for signed in cosigned}
        if not self.is_met_by(signed for signed in self.verifiers() if signed.key in keys):
            names = [witness.name for witness in self.witnesses.values() if witness.verifier.key in keys]
            raise QuorumError(
                f"cosigned by {', '.join(names) or 'no witness'}, which is not the quorum",
                place=f"quorum {_shown(self.quorum)}",
                todo="ask the log for a later checkpoint; without a quorum it may be one that nobody else was shown",
            )

    def open_checkpoint(self, data: bytes, logs: Iterable[Verifier] = ()) -> tuple[Checkpoint, tuple[Signed, ...]]:
        """The checkpoint in a note of one of ``logs``, else of the policy's own, with the quorum's cosignatures.

        Raises:
            NoteError: it is none.
            SignatureError: it is of no log that is trusted here, or a signature does not hold.
            QuorumError: too few witnesses cosigned it.
        """
        origin = parse_checkpoint(parse_note(data).text).origin
        named = [log for log in (tuple(logs) or self.logs) if log.name == origin]
        if not named:
            raise SignatureError(f"the log {origin} is not one that is trusted", todo="add its `log` line, or its key")
        failure: SignatureError | None = None
        for log in named:
            try:
                checkpoint, cosigned = open_checkpoint(data, log, self.verifiers())
            except SignatureError as error:
                failure = error
                continue
            self.require_quorum(cosigned)
            return checkpoint, cosigned
        assert failure is not None
        raise failure


def parse_policy(data: bytes) -> TlogPolicy:
    """The policy that a file says.

    Raises:
        InputError: it is none; with the line.
    """
    if len(data) > MAX_POLICY_BYTES:
        raise InputError(f"a policy has at most {MAX_POLICY_BYTES} bytes")
    if (found := _CONTROL.search(data)) is not None:
        line = data.count(b"\n", 0, found.start()) + 1
        raise InputError("the policy has a control character", place=f"line {line}")
    reading = _Reading()
    for number, words in _lines(data):
        try:
            reading.take(words)
        except (NoteError, InputError) as error:
            raise InputError(error.message, place=f"line {number}", todo=error.todo) from error
    return reading.policy()


def _lines(data: bytes) -> Iterator[tuple[int, list[bytes]]]:
    for number, line in enumerate(data.split(b"\n"), 1):
        words = [word for word in re.split(rb"[ \t]+", line) if word]
        if words and not words[0].startswith(b"#"):
            yield number, words


class _Reading:
    def __init__(self) -> None:
        self._logs: list[Verifier] = []
        self._witnesses: dict[bytes, Witness] = {}
        self._groups: list[Group] = []
        self._names: set[bytes] = set()
        self._members: set[bytes] = set()
        self._quorum: bytes | None = None

    def take(self, words: list[bytes]) -> None:
        kind, *rest = words
        if kind == b"log" and len(rest) in _LOG_WORDS:
            self._log(*rest)
        elif kind == b"witness" and len(rest) in _WITNESS_WORDS:
            self._witness(*rest)
        elif kind == b"group" and len(rest) in _GROUP_WORDS:
            self._group(rest[0], rest[1], tuple(rest[2:]))
        elif kind == b"quorum" and len(rest) == 1:
            self._set_quorum(rest[0])
        else:
            raise InputError("not a line of a policy", todo="log, witness, group or quorum, with its words")

    def policy(self) -> TlogPolicy:
        if self._quorum is None:
            raise InputError("the policy has no quorum", todo="end it with a line `quorum NAME`, or `quorum none`")
        return TlogPolicy(tuple(self._logs), self._witnesses, tuple(self._groups), self._quorum)

    def _log(self, vkey: bytes, _url: bytes = b"") -> None:
        log = _key(vkey, ED25519, "a log's")
        if any(log.key == other.key for other in self._logs):
            raise InputError("the key of this log is there twice")
        self._logs.append(log)

    def _witness(self, name: bytes, vkey: bytes, url: bytes = b"") -> None:
        self._take_name(name)
        witness = Witness(_shown(name), _key(vkey, COSIGNATURE_V1, "a witness's"), _shown(url).rstrip("/"))
        if any(witness.verifier.key == other.verifier.key for other in self._witnesses.values()):
            raise InputError("the key of this witness is there twice: one key counts once")
        self._witnesses[name] = witness

    def _group(self, name: bytes, threshold: bytes, members: tuple[bytes, ...]) -> None:
        for member in members:
            if member not in self._names:
                raise InputError(f"{_shown(member)} is not named on a line before")
            if member in self._members:
                raise InputError(f"{_shown(member)} is a member already: each counts in one way only")
            self._members.add(member)
        self._take_name(name)
        if threshold in {b"all", b"any"}:
            needed = len(members) if threshold == b"all" else 1
        elif _NUMBER.fullmatch(threshold) and int(threshold) <= len(members):
            needed = int(threshold)
        else:
            raise InputError(f"not how many of {len(members)} are needed", todo="write all, any, or a number")
        self._groups.append(Group(name, needed, members))

    def _set_quorum(self, name: bytes) -> None:
        if self._quorum is not None:
            raise InputError("a policy has one quorum")
        if name != NO_QUORUM and name not in self._names:
            raise InputError(f"{_shown(name)} is not named on a line before")
        self._quorum = name

    def _take_name(self, name: bytes) -> None:
        if name == NO_QUORUM or name in self._names:
            raise InputError(f"{_shown(name)} is a name already")
        if len(self._names) >= MAX_NAMES:
            raise InputError(f"more than {MAX_NAMES} witnesses and groups")
        self._names.add(name)


def _key(vkey: bytes, kind: int, whose: str) -> Verifier:
    verifier = parse_key(vkey.decode(errors="replace"))
    if verifier.kind != kind:
        raise InputError(f"not {whose} key: the first byte of its key says another use")
    return verifier


def _shown(name: bytes) -> str:
    return name.decode(errors="replace")
