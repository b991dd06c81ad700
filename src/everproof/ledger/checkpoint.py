"""Checkpoints: a log's origin, size and root as a signed note (C2SP tlog-checkpoint)."""

import base64
import re
from collections.abc import Iterable
from typing import Final

import msgspec

from everproof.ledger.merkle import HASH_BYTES
from everproof.ledger.note import NoteError, SignatureError, Signed, Verifier, decode_base64, parse_note, verify_note

_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_MAX_SIZE: Final = (1 << 63) - 1
_LINES: Final = 3


class Checkpoint(msgspec.Struct, frozen=True):
    """The state of a log at one size. Extension lines of others are kept, and mean nothing here."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """What is signed."""
        lines = (self.origin, str(self.size), base64.b64encode(self.root).decode(), *self.extensions)
        return "\n".join(lines) + "\n"


def parse_checkpoint(text: str) -> Checkpoint:
    """The checkpoint that a note's text says.

    Raises:
        NoteError: it is none.
    """
    origin, *rest = text.removesuffix("\n").split("\n")
    if len(rest) < _LINES - 1 or not origin or not all(rest):
        raise NoteError("a checkpoint has at least three lines, none of them empty")
    size, root, *extensions = rest
    if _SIZE.fullmatch(size) is None or int(size) > _MAX_SIZE:
        raise NoteError("the checkpoint's size is not a number", place="line 2")
    decoded = decode_base64(root)
    if len(decoded) != HASH_BYTES:
        raise NoteError(f"the checkpoint's root has not {HASH_BYTES} bytes", place="line 3")
    return Checkpoint(origin, int(size), decoded, tuple(extensions))


def open_checkpoint(
    data: bytes, log: Verifier, witnesses: Iterable[Verifier] = ()
) -> tuple[Checkpoint, tuple[Signed, ...]]:
    """The checkpoint in a signed note of ``log``, and which of ``witnesses`` cosigned it.

    Raises:
        NoteError: not a checkpoint.
        SignatureError: the log did not sign it, or it is of another log, or a signature does not hold.
    """
    note = parse_note(data)
    signed = verify_note(note, (log, *witnesses))
    if all(signature.by != log for signature in signed):
        raise SignatureError(f"the checkpoint is not signed by {log.name}")
    checkpoint = parse_checkpoint(note.text)
    if checkpoint.origin != log.name:
        raise SignatureError(f"the checkpoint is of {checkpoint.origin}, not of {log.name}")
    return checkpoint, tuple(signature for signature in signed if signature.by != log)
