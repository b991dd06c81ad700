"""What was signed once binds for ever: a tree that does not begin with it is not signed, nor grown.

A database that is put back to an older state is whole in itself. Only what lies elsewhere can tell: a copy of the last
checkpoint in a file, and what this process itself has signed.
"""

import os
from pathlib import Path

from everproof.kernel.errors import Error, UnavailableError
from everproof.ledger.checkpoint import Checkpoint, open_checkpoint
from everproof.ledger.merkle import Nodes, tree_root
from everproof.ledger.note import MAX_NOTE_BYTES, Verifier
from everproof.ledger.tiles import TileError


class RollbackError(UnavailableError):
    """The database is not one that continues what this log has signed, so it signs and records nothing more."""

    code = "rollback"


def require_continuation(signed: Checkpoint, *, size: int, nodes: Nodes, place: str) -> None:
    """Hold that the tree of ``size`` leaves begins with what was ``signed``. ``place`` is where that was found.

    Raises:
        RollbackError: it does not.
    """
    if signed.size > size:
        raise RollbackError(
            f"the ledger has {size} entries, but has signed for {signed.size}: the database was put back",
            place=place,
            todo="bring back the newer database; entries that were signed for cannot be taken out",
        )
    try:
        root = tree_root(signed.size, nodes)
    except TileError as error:
        raise RollbackError(
            f"the tree cannot be read, so it cannot be shown to continue what was signed: {error}",
            place=place,
            todo=error.todo,
        ) from error
    if root != signed.root:
        raise RollbackError(
            f"the first {signed.size} entries are not the ones that were signed for: the database was changed",
            place=place,
            todo="`everproof ledger verify` names what was changed; bring back the right database",
        )


def read_copy(path: Path, log: Verifier) -> tuple[Checkpoint, bytes] | None:
    """The checkpoint in the copy, with its note; none where there is no file.

    Raises:
        RollbackError: there is a file, but not of this log; on doubt nothing is signed.
    """
    todo = "put the copy back as it was, or any later checkpoint of this log that a verifier has kept"
    try:
        with path.open("rb") as file:
            note = file.read(MAX_NOTE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RollbackError(
            f"the copy of the last checkpoint cannot be read: {error.strerror}", place=str(path), todo=todo
        ) from error
    try:
        checkpoint, _ = open_checkpoint(note, log)
    except Error as error:
        raise RollbackError(
            f"the copy of the last checkpoint is not one of this log: {error.message}", place=str(path), todo=todo
        ) from error
    return checkpoint, note


def missing_copy(path: Path) -> RollbackError:
    """The copy was kept before and is gone."""
    return RollbackError(
        "the copy of the last checkpoint is gone, so a rollback could not be told",
        place=str(path),
        todo="put it back; if it is lost, put the last checkpoint there that you know from elsewhere (GET /checkpoint "
        "gives the one in the database: as good only if you trust that database)",
    )


def write_copy(path: Path, note: bytes) -> None:
    """Replace the copy, durably and as a whole.

    Raises:
        UnavailableError: it cannot be written.
    """
    fresh = path.with_name(path.name + ".new")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - of a descriptor, which Path.open does not take
            file.write(note)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise UnavailableError(
            f"the copy of the checkpoint cannot be written: {error.strerror}",
            place=str(path),
            todo="make the folder writable, or name another in `checkpoint_copy`",
        ) from error
