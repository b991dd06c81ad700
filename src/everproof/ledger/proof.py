"""Proofs in one file, which a stranger verifies offline with the log's public key alone (C2SP tlog-proof).

The format leaves room for ``extra`` bytes. Here they tie the entry to its leaf: they are the 32-byte commitment, or,
where the entry is disclosed, the opening whose SHA-256 the commitment is. Either way nothing of it is trusted: the leaf
is computed from it, and the tree must hold that leaf.
"""

import base64
import re
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from everproof.ledger.checkpoint import Checkpoint, open_checkpoint
from everproof.ledger.commitment import COMMITMENT_BYTES, commit, entry_of
from everproof.ledger.merkle import HASH_BYTES, ProofError, leaf_hash, verify_inclusion
from everproof.ledger.note import NoteError, Signed, Verifier, decode_base64

HEADER: Final = "c2sp.org/tlog-proof@v1"
MAX_PROOF_BYTES: Final = 1 << 24
"""Above any entry; below what would trouble a verifier."""

MAX_HASHES: Final = 63

_INDEX: Final = re.compile(r"index (0|[1-9][0-9]{0,18})")


class Proof(msgspec.Struct, frozen=True):
    """The parts of a proof, unverified."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    def encode(self) -> bytes:
        """The proof's bytes, for a file named ``.tlog-proof``."""
        extra = [] if self.extra is None else [f"extra {_base64(self.extra)}"]
        lines = [HEADER, *extra, f"index {self.index}", *map(_base64, self.hashes)]
        return "\n".join(lines).encode() + b"\n\n" + self.checkpoint


class Proven(msgspec.Struct, frozen=True):
    """What a proof shows: at ``index`` the log has this commitment; where disclosed, of this entry (canonical JSON)."""

    index: int
    checkpoint: Checkpoint
    commitment: bytes
    entry: bytes | None
    witnesses: tuple[Signed, ...] = ()


def parse_proof(data: bytes) -> Proof:
    """The parts of a proof.

    Raises:
        ProofError: not a proof in every detail.
    """
    if len(data) > MAX_PROOF_BYTES:
        raise ProofError("the proof is larger than any honest one")
    head, gap, checkpoint = data.partition(b"\n\n")
    try:
        header, *lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise ProofError("not a proof: its head is not ASCII") from error
    if header != HEADER or not gap:
        raise ProofError(f"not a proof: it does not begin with {HEADER}", place="line 1")
    try:
        extra = decode_base64(lines.pop(0).removeprefix("extra ")) if lines and lines[0].startswith("extra ") else None
        hashes = tuple(decode_base64(line) for line in lines[1:])
    except NoteError as error:
        raise ProofError(error.message) from error
    match = _INDEX.fullmatch(lines[0]) if lines else None
    if match is None:
        raise ProofError("the proof has no index")
    if len(hashes) > MAX_HASHES or any(len(value) != HASH_BYTES for value in hashes):
        raise ProofError(f"the proof has a hash that has not {HASH_BYTES} bytes, or more than {MAX_HASHES}")
    return Proof(int(match[1]), hashes, checkpoint, extra)


def verify_proof(data: bytes, log: Verifier, witnesses: Iterable[Verifier] = (), *, quorum: int = 0) -> Proven:
    """What a proof shows to who trusts the key of ``log``, and wants ``quorum`` of ``witnesses`` to have seen it.

    Raises:
        ProofError: not a proof, or it does not lead from its entry to its checkpoint.
        NoteError: its checkpoint is none.
        SignatureError: the log did not sign the checkpoint, or it is of another log.
    """
    proven = verify_proof_by(data, lambda note: open_checkpoint(note, log, witnesses))
    if len({signature.by.key for signature in proven.witnesses}) < quorum:
        raise ProofError(f"{len(proven.witnesses)} of the witnesses cosigned the checkpoint, not {quorum}")
    return proven


def verify_proof_by(data: bytes, open_note: Callable[[bytes], tuple[Checkpoint, tuple[Signed, ...]]]) -> Proven:
    """What a proof shows to who trusts a checkpoint that ``open_note`` lets through, such as a policy's.

    Raises:
        ProofError: not a proof, or it does not lead from its entry to its checkpoint.
        Error: whatever ``open_note`` raises.
    """
    proof = parse_proof(data)
    if proof.extra is None:
        raise ProofError("the proof does not say what it is a proof of")
    disclosed = len(proof.extra) != COMMITMENT_BYTES
    entry = entry_of(proof.extra) if disclosed else None
    commitment = commit(proof.extra) if disclosed else proof.extra
    checkpoint, cosigned = open_note(proof.checkpoint)
    verify_inclusion(proof.index, checkpoint.size, leaf_hash(commitment), proof.hashes, checkpoint.root)
    return Proven(proof.index, checkpoint, commitment, entry, cosigned)


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
