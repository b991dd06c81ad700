"""Asking witnesses to cosign a checkpoint of ours (C2SP tlog-witness), and what their answers mean.

A witness that cannot be asked, is slow or talks nonsense is passed over: the quorum says how many may be. One that
knows more of this log than this log itself is the sign that the database was put back, or that two logs are shown.
"""

import asyncio
import base64
import re
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

import msgspec

from everproof.kernel.clock import MAX_SKEW, Clock
from everproof.kernel.errors import Error, InputError
from everproof.ledger.checkpoint import Checkpoint
from everproof.ledger.note import Note, Signature, Verifier, parse_note, verify_note
from everproof.ledger.rollback import RollbackError
from everproof.ledger.tlog_policy import MAX_POLICY_BYTES, TlogPolicy, Witness, parse_policy

TIMEOUT_SECONDS: Final = 1.0
"""For one question to one witness; they are all asked at once."""
MAX_ANSWER_BYTES: Final = 16 * 1024
ATTEMPTS: Final = 3
"""At most: what we think it knows, what it says it knows, and once more where another server was faster."""
ADD: Final = "/add-checkpoint"
MEDIA: Final = "text/plain; charset=utf-8"

_SIZE: Final = re.compile(rb"(0|[1-9][0-9]{0,18})\n")
_OK, _CONFLICT, _UNPROVEN = 200, 409, 422

Prove: TypeAlias = Callable[[int], Sequence[bytes]]
"""The proof that the checkpoint continues the log's first so many entries."""
Length: TypeAlias = Callable[[], int]
"""How many entries the log has now."""


class Answered(Protocol):
    """What came back from a witness."""

    @property
    def status(self) -> int: ...  # noqa: D102 - HTTP's
    @property
    def media(self) -> str: ...  # noqa: D102 - the content type, in lower case
    @property
    def body(self) -> bytes: ...  # noqa: D102


class Post(Protocol):
    """Sends a body to an address; raises `Error` where no answer comes in `TIMEOUT_SECONDS`."""

    def __call__(self, url: str, body: bytes, *, media: str) -> Coroutine[Any, Any, Answered]: ...  # noqa: D102


class SplitViewError(RollbackError):
    """A witness has cosigned what this log does not continue: it was put back, or somebody is shown another log."""

    code = "split-view"


class _PassedOverError(Error):
    """This witness's answer is no cosignature."""


class Cosigned(msgspec.Struct, frozen=True):
    """The checkpoint with its cosignatures, whether they are enough, and what kept the others from it."""

    note: bytes
    enough: bool
    missing: tuple[str, ...]


class Witnesses:
    """The witnesses of a policy. Its ``log`` lines mean nothing here."""

    def __init__(self, policy: TlogPolicy, post: Post, clock: Clock) -> None:
        """Take the witnesses that have an address.

        Raises:
            InputError: even if all of them cosigned, it would not be the quorum.
        """
        self._policy = policy
        self._post = post
        self._clock = clock
        self._asked = [witness for witness in policy.witnesses.values() if witness.url]
        self._known: dict[str, int] = {}
        if not policy.is_met_by(witness.verifier for witness in self._asked):
            raise InputError(
                "the quorum cannot be reached by the witnesses that have an address",
                place="witness_policy",
                todo="give each its submission prefix: witness NAME VKEY URL",
            )

    @property
    def policy(self) -> TlogPolicy:
        """What is asked of a checkpoint."""
        return self._policy

    async def cosign(self, checkpoint: Checkpoint, note: bytes, *, prove: Prove, length: Length) -> Cosigned:
        """Ask them all about ``checkpoint``, which ``note`` has signed and which is durable here.

        Raises:
            SplitViewError: one of them has seen a log that ours does not continue.
        """
        question = _Question(checkpoint, note, prove, length)
        answers = await asyncio.gather(*(self._ask(one, question) for one in self._asked), return_exceptions=True)
        held: list[tuple[Verifier, Signature]] = []
        missing: list[str] = []
        for witness, answer in zip(self._asked, answers, strict=True):
            if isinstance(answer, SplitViewError):
                raise answer
            if isinstance(answer, Error):
                missing.append(f"{witness.name}: {answer.message}")
            elif isinstance(answer, BaseException):
                raise answer
            else:
                held.append((witness.verifier, answer))
        lines = "".join(signature.line() for _, signature in held)
        enough = self._policy.is_met_by(verifier for verifier, _ in held)
        return Cosigned(note + lines.encode(), enough, tuple(missing))

    async def _ask(self, witness: Witness, question: "_Question") -> Signature:
        size = question.checkpoint.size
        old = min(self._known.get(witness.name, 0), size)
        for _ in range(ATTEMPTS):
            answer = await self._post(witness.url + ADD, await asyncio.to_thread(question.body, old), media=MEDIA)
            if answer.status == _OK:
                signature = self._cosignature(witness.verifier, question, answer.body)
                self._known[witness.name] = size
                return signature
            if answer.status == _UNPROVEN and old:  # an old size that is not 0 is always what it has told us
                raise _split(witness, f"has cosigned another tree of {old} entries than ours")
            known = _known_size(answer)
            if known == old == size != 0:
                raise _split(witness, f"has cosigned another tree of {size} entries than ours")
            if known == old:
                raise _PassedOverError("it contradicts itself about the size that it knows")
            if known > size:
                if known > await asyncio.to_thread(question.length):
                    raise _split(witness, f"has cosigned {known} entries, more than we have")
                raise _PassedOverError("it knows a later checkpoint, of another of our servers")
            self._known[witness.name] = old = known
        raise _PassedOverError("what it knows changes while it is asked")

    def _cosignature(self, witness: Verifier, question: "_Question", body: bytes) -> Signature:
        """The one signature of the answer that is the witness's; those of unknown keys are passed over."""
        try:
            whole = parse_note(question.note + body)
            own = [one for one in whole.signatures if (one.name, one.key_id) == (witness.name, witness.id)]
            if whole.text != question.text or not own:
                raise _PassedOverError("its answer is not its cosignature")
            [signed] = verify_note(Note(question.text, (own[0],)), [witness])
        except Error as error:
            raise _PassedOverError(error.message) from error
        latest = (self._clock.now() + MAX_SKEW).timestamp()
        if signed.timestamp is None or signed.timestamp > latest:
            raise _PassedOverError("its cosignature is of the future")
        return own[0]


class _Question:
    """One checkpoint as every witness is asked about it."""

    def __init__(self, checkpoint: Checkpoint, note: bytes, prove: Prove, length: Length) -> None:
        self.checkpoint = checkpoint
        self.note = note
        self.text = checkpoint.text()
        self.length = length
        self._prove = prove

    def body(self, old: int) -> bytes:
        proof = self._prove(old) if 0 < old < self.checkpoint.size else ()
        lines = [f"old {old}", *(base64.b64encode(one).decode() for one in proof)]
        return "\n".join(lines).encode() + b"\n\n" + self.note


def read_policy(path: Path) -> TlogPolicy:
    """The policy in a file.

    Raises:
        InputError: it cannot be read, or is none; with the place.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_POLICY_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", place=str(path)) from error
    try:
        return parse_policy(data)
    except InputError as error:
        place = f"{path}, {error.place}" if error.place else str(path)
        raise InputError(error.message, place=place, todo=error.todo) from error


def _known_size(answer: Answered) -> int:
    if answer.status != _CONFLICT or answer.media != "text/x.tlog.size":
        raise _PassedOverError(f"it answered {answer.status}")
    match = _SIZE.fullmatch(answer.body)
    if match is None:
        raise _PassedOverError("it answered a conflict, and no size")
    return int(match[1])


def _split(witness: Witness, what: str) -> SplitViewError:
    return SplitViewError(
        f"the witness {witness.name} {what}: the database was put back, or two logs go by this name",
        place=witness.url,
        todo="bring back the newer database, or ask the witness; only if it is wrong, take it out of witness_policy",
    )
