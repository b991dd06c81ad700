"""Being a witness (C2SP tlog-witness): cosign what continues what was cosigned before, and nothing else.

What was cosigned is durable before the cosignature leaves, and is changed only from the very state that the proof began
at. So of two requests at the same moment one is done, and the other is told how far the log is.
"""

import asyncio
import re
from collections.abc import Iterable
from typing import Final

import msgspec
import structlog
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from everproof.kernel.clock import milliseconds
from everproof.kernel.errors import ConflictError, InputError, NotFoundError
from everproof.ledger import witness_store as store
from everproof.ledger.checkpoint import Checkpoint, parse_checkpoint
from everproof.ledger.merkle import EMPTY_ROOT, HASH_BYTES, ProofError, verify_consistency
from everproof.ledger.note import (
    ED25519,
    Cosigner,
    Note,
    NoteError,
    Verifier,
    decode_base64,
    parse_note,
    parse_vkey,
    verify_note,
)
from everproof.storage import Storage, Transaction

MAX_HASHES: Final = 63
MAX_REQUEST_BYTES: Final = 64 * 1024
"""A proof of 63 hashes has 3 kB; the rest is room for others' signatures."""

_OLD: Final = re.compile(r"old (0|[1-9][0-9]{0,18})")
_KEY_LABEL: Final = b"everproof/witness/v1\n"
_MILLISECONDS: Final = 1000

_log: Final = structlog.get_logger("everproof.witness")


class UnknownOriginError(NotFoundError):
    """The checkpoint is of a log that is not witnessed here."""

    code = "unknown-origin"


class KnownSizeError(ConflictError):
    """The log was last cosigned at another size, or with another root of the same size. ``size`` is where it is."""

    code = "known-size"

    def __init__(self, size: int, message: str = "the log was last cosigned at another size") -> None:
        super().__init__(message, todo=f"prove what was added since size {size}")
        self.size = size


class Submission(msgspec.Struct, frozen=True):
    """A request as it was read; nothing of it is trusted."""

    old: int
    proof: tuple[bytes, ...]
    note: Note
    checkpoint: Checkpoint


class WitnessService:
    """Cosigns the checkpoints of the ``logs`` that it knows, under a name."""

    def __init__(self, storage: Storage, cosigner: Cosigner, logs: Iterable[Verifier]) -> None:
        self._storage = storage
        self._cosigner = cosigner
        self._logs: dict[str, list[Verifier]] = {}
        for log in logs:
            if log.kind != ED25519 or len(log.name) > store.MAX_ORIGIN:
                raise InputError("not the public key of a log", place=f"witness.logs: {log.name}")
            self._logs.setdefault(log.name, []).append(log)

    @property
    def vkey(self) -> str:
        """The public key that who trusts this witness needs."""
        return str(self._cosigner.verifier)

    async def add_checkpoint(self, body: bytes) -> bytes:
        """The cosignature line of the checkpoint in a request.

        Raises:
            InputError: not a request.
            UnknownOriginError: of a log that is not witnessed here.
            SignatureError: the log did not sign it.
            KnownSizeError: the log is not where the request begins.
            ProofError: it is not shown to continue what was cosigned.
        """
        asked = parse_submission(body)
        verifiers = self._logs.get(asked.checkpoint.origin)
        if verifiers is None:
            raise UnknownOriginError("this witness does not know the log", place=asked.checkpoint.origin)
        verify_note(asked.note, verifiers)
        if asked.old > asked.checkpoint.size:
            raise InputError("the old size is beyond the checkpoint's", place="line 1")
        now = self._storage.clock.issuing_time()
        known, at = await asyncio.to_thread(self._require_continuation, asked)
        # Only what is proven reaches the writer: whoever replays old checkpoints costs the others nothing.
        if known != asked.checkpoint:
            at = await self._storage.write(lambda tx: self._advance(tx, asked, known.root))
        seconds = max(milliseconds(now), at) // _MILLISECONDS
        return self._cosigner.cosign(asked.note.text, timestamp=seconds).line().encode()

    def _require_continuation(self, asked: Submission) -> tuple[Checkpoint, int]:
        """The checkpoint cosigned last, which what is asked continues, and when it was."""
        checkpoint = asked.checkpoint
        with self._storage.reading() as connection:
            row = store.read_log(connection, checkpoint.origin)
        known = Checkpoint(checkpoint.origin, 0, EMPTY_ROOT) if row is None else _checkpoint(row.note)
        if known.size != asked.old:
            raise KnownSizeError(known.size)
        if known.size == checkpoint.size and row is not None and known.root != checkpoint.root:
            self._tell(asked, known)
            raise KnownSizeError(known.size, "another tree of this size was cosigned: the log has forked")
        try:
            _require_proof(known, asked)
        except ProofError:
            self._tell(asked, known)
            raise
        return known, 0 if row is None else row.at

    def _advance(self, tx: Transaction, asked: Submission, root: bytes) -> int:
        checkpoint, at = asked.checkpoint, milliseconds(tx.now)
        values = {"size": checkpoint.size, "root": checkpoint.root, "at": at, "note": asked.note.encode()}
        if not store.advance_log(tx.connection, checkpoint.origin, expected=asked.old, root=root, values=values):
            row = store.read_log(tx.connection, checkpoint.origin)
            raise KnownSizeError(0 if row is None else row.size)
        return at

    def _tell(self, asked: Submission, known: Checkpoint) -> None:
        """The signature is the log's own, so what it signed may be what convicts it."""
        note = asked.note.encode().decode()
        _log.error("a log does not continue what was cosigned", origin=known.origin, cosigned=known.size, note=note)


def parse_submission(body: bytes) -> Submission:
    """The parts of a request to add a checkpoint.

    Raises:
        InputError: it is none in every detail.
    """
    head, gap, rest = body.partition(b"\n\n")
    try:
        old, *lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise InputError("the proof is not ASCII", place="line 1") from error
    match = _OLD.fullmatch(old)
    if match is None or not gap:
        raise InputError("a request begins with `old SIZE`, a proof, and an empty line", place="line 1")
    if len(lines) > MAX_HASHES:
        raise InputError(f"a proof has at most {MAX_HASHES} hashes")
    proof = tuple(decode_base64(line) for line in lines)
    if any(len(one) != HASH_BYTES for one in proof):
        raise InputError(f"a hash has {HASH_BYTES} bytes")
    note = parse_note(rest)
    return Submission(int(match[1]), proof, note, parse_checkpoint(note.text))


def witness_key(private: Ed25519PrivateKey, name: str) -> Ed25519PrivateKey:
    """The key of the witness ``name``, made from the log's own: a cosignature is never by a key that signs else."""
    derive = HKDF(hashes.SHA256(), 32, salt=None, info=_KEY_LABEL + name.encode())
    return Ed25519PrivateKey.from_private_bytes(derive.derive(private.private_bytes_raw()))


def make_witness(storage: Storage, private: Ed25519PrivateKey, name: str, logs: Iterable[str]) -> WitnessService:
    """The witness ``name`` of the logs with these vkeys.

    Raises:
        InputError: a key or a name is none.
    """
    try:
        verifiers = [parse_vkey(log) for log in logs]
        return WitnessService(storage, Cosigner(name, witness_key(private, name)), verifiers)
    except NoteError as error:
        raise InputError(error.message, place="witness", todo=error.todo) from error


def _require_proof(known: Checkpoint, asked: Submission) -> None:
    checkpoint = asked.checkpoint
    if asked.old == 0:
        if asked.proof:
            raise ProofError("nothing is to be proven of the empty tree")
        if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
            raise ProofError("the empty tree has another root")
        return
    verify_consistency(asked.old, checkpoint.size, known.root, checkpoint.root, asked.proof)


def _checkpoint(note: bytes) -> Checkpoint:
    return parse_checkpoint(parse_note(note).text)
