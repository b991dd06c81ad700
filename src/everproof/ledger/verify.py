"""Recomputing the whole ledger: every body, every leaf, every tile, every checkpoint; what was changed, and where."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row

from everproof.kernel.clock import milliseconds
from everproof.kernel.errors import Error
from everproof.keys import ErasedError
from everproof.ledger import store
from everproof.ledger.checkpoint import Checkpoint, open_checkpoint
from everproof.ledger.commitment import COMMITMENT_BYTES, DOMAIN, commit
from everproof.ledger.edge import Edge
from everproof.ledger.merkle import HASH_BYTES, Peaks, leaf_hash
from everproof.ledger.note import Verifier
from everproof.ledger.rollback import read_copy
from everproof.ledger.tiles import TILE_WIDTH, TileName, split_hashes
from everproof.ledger.view import Opener, decode_entry
from everproof.storage import Storage

MAX_PROBLEMS: Final = 100
"""More would not tell more: with the wrong root key, every entry is one."""

Progress = Callable[[int, int], None]
"""Called with how many entries are done, and of how many."""


class Problem(msgspec.Struct, frozen=True):
    """One thing that is not as it was recorded. ``index`` is the entry's, where it is about one."""

    what: str
    place: str
    index: int | None = None


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. ``erased`` bodies cannot be read any more, by intent; their commitments were verified."""

    size: int
    root: bytes
    opened: int
    erased: int
    checkpoints: int
    problems: tuple[Problem, ...]
    more_problems: int = 0

    @property
    def holds(self) -> bool:
        """Whether everything is as it was recorded."""
        return not self.problems


def verify_ledger(
    storage: Storage,
    keyring: Opener,
    log: Verifier,
    *,
    copy: Path | None = None,
    progress: Progress = lambda _done, _size: None,
) -> Verification:
    """Verify the whole ledger in one consistent read, also beside a running server; some 12 s a million entries."""
    with storage.reading() as connection:
        return _Verifying(connection, keyring, log, copy).run(progress)


class _Verifying:
    """One verification. Entries tell what the leaves are, leaves what the tree is, the tree what was signed."""

    def __init__(self, connection: Connection, keyring: Opener, log: Verifier, copy: Path | None) -> None:
        self._connection = connection
        self._keyring = keyring
        self._log = log
        self._size, self._origin = store.read_head(connection)
        self._problems: list[Problem] = []
        self._more = self._opened = self._erased = 0
        self._peaks = Peaks()
        self._sound_until = 0
        self._tiles = set(store.tile_names(connection))
        self._signed = sorted(self._read_signed(copy), key=lambda signed: signed[0].size, reverse=True)
        self._checkpoints = len(self._signed)

    def run(self, progress: Progress) -> Verification:
        if self._origin not in ("", self._log.name):
            self._problem(f"the log is named {self._origin}, not {self._log.name}", "ledger_head")
        edge = Edge()
        self._compare_signed()
        for first in range(0, self._size, TILE_WIDTH):
            leaves = self._leaves(first, min(self._size, first + TILE_WIDTH))
            for leaf in leaves:
                self._peaks.add(leaf)
                self._compare_signed()
            for tile in edge.extend(leaves):
                if tile.level and len(tile.hashes) == TILE_WIDTH * HASH_BYTES:
                    self._compare_tile(tile)
            progress(edge.size, self._size)
        for tile in edge.growing():
            if tile.level:
                self._compare_tile(tile)
        self._report_surplus()
        return Verification(
            size=self._size,
            root=self._peaks.root(),
            opened=self._opened,
            erased=self._erased,
            checkpoints=self._checkpoints,
            problems=tuple(self._problems),
            more_problems=self._more,
        )

    def _problem(self, what: str, place: str, index: int | None = None) -> None:
        if len(self._problems) < MAX_PROBLEMS:
            self._problems.append(Problem(what, place, index))
        else:
            self._more += 1

    def _read_signed(self, copy: Path | None) -> Iterator[tuple[Checkpoint, str]]:
        """What was signed, in the database and in the copy."""
        for row in store.read_checkpoints(self._connection):
            place = f"checkpoint {row.size}"
            try:
                checkpoint, _ = open_checkpoint(row.note, self._log)
            except Error as error:
                self._problem(f"the checkpoint was changed: {error.message}", place)
                continue
            if checkpoint.size != row.size:
                self._problem("the checkpoint was put in another's place", place)
            yield checkpoint, place
        if copy is not None:
            try:
                copied = read_copy(copy, self._log)
            except Error as error:
                self._problem(error.message, str(copy))
                return
            if copied is not None:
                yield copied[0], str(copy)
            elif store.was_copied(self._connection):
                self._problem("the copy of the last checkpoint is gone", str(copy))

    def _compare_signed(self) -> None:
        """Compare the tree so far with what was signed for its size. What was signed is sorted, the smallest last."""
        while self._signed and self._signed[-1][0].size == self._peaks.size:
            checkpoint, place = self._signed.pop()
            if checkpoint.root == self._peaks.root():
                self._sound_until = checkpoint.size
            else:
                self._problem(
                    f"the first {checkpoint.size} entries are not those that were signed for: one was changed"
                    f" from entry {self._sound_until} on",
                    place,
                )

    def _leaves(self, first: int, end: int) -> list[bytes]:
        """The leaf hashes of entries ``first`` to ``end``, which share a tile. Where entry and tree differ, the tree's.

        So one changed entry is reported as itself, and not also as every node and checkpoint above it.
        """
        rows = {row.idx: row for row in store.read_entries(self._connection, first, end - first) if row.idx < end}
        stored = split_hashes(self._take_tile(0, first // TILE_WIDTH, end - first))
        leaves = []
        for index in range(first, end):
            in_tree = stored[index - first] if index - first < len(stored) else None
            row = rows.get(index)
            if row is None:
                self._problem("the entry is missing", f"entry {index}", index)
                leaf = bytes(HASH_BYTES) if in_tree is None else in_tree
            else:
                leaf = leaf_hash(row.commitment)
                told = self._check_entry(row)
                if in_tree not in (leaf, None):
                    if not told:
                        self._problem(
                            "the entry's commitment is not the leaf that the tree has for it", f"entry {index}", index
                        )
                    leaf = in_tree
            leaves.append(leaf)
        return leaves

    def _check_entry(self, row: Row[Any]) -> bool:
        """Report what was changed in an entry's row; whether anything was."""
        what = self._changed(row)
        if what is not None:
            self._problem(what, f"entry {row.idx}", row.idx)
        return what is not None

    def _changed(self, row: Row[Any]) -> str | None:
        try:
            opening = self._keyring.open(row.key_id, row.body, context=row.commitment)
        except ErasedError:
            self._erased += 1
            return None if len(row.commitment) == COMMITMENT_BYTES else "the entry's commitment was changed"
        except Error:
            return "the entry's body or commitment was changed: it does not open"
        if commit(DOMAIN + opening) != row.commitment:
            return "the entry's commitment is not that of its body"
        try:
            entry = decode_entry(opening)
        except msgspec.DecodeError:
            return "the entry's body cannot be read"
        self._opened += 1
        if (entry.id, entry.kind, milliseconds(entry.at)) != (row.id, row.kind, row.at):
            return "the entry's id, kind or time beside its body was changed"
        return None

    def _take_tile(self, level: int, n: int, width: int) -> bytes:
        """The stored tile, which should have ``width`` hashes; what is missing or differs in size is reported."""
        self._tiles.discard((level, n))
        stored = store.read_tile(self._connection, level, n) or b""
        if len(stored) != width * HASH_BYTES:
            self._problem(
                f"the tile has {len(stored)} bytes, not {width} hashes" if stored else "the tile is missing",
                TileName(level, n, width).path(),
            )
        return stored[: len(stored) - len(stored) % HASH_BYTES]

    def _compare_tile(self, tile: store.TileRow) -> None:
        """Compare a tile above the leaves with what the tile below makes it."""
        width = len(tile.hashes) // HASH_BYTES
        stored = split_hashes(self._take_tile(tile.level, tile.n, width))
        covers = TILE_WIDTH**tile.level
        for at, (computed, kept) in enumerate(zip(split_hashes(tile.hashes), stored, strict=False)):
            if computed != kept:
                first = (tile.n * TILE_WIDTH + at) * covers
                self._problem(
                    f"the tree was changed above or at entries {first} to {first + covers - 1}",
                    TileName(tile.level, tile.n, width).path(),
                )

    def _report_surplus(self) -> None:
        """Report what there should not be."""
        for level, n in sorted(self._tiles):
            self._problem("the tree has a tile too many", f"tile {n} of level {level}")
        for row in store.read_entries(self._connection, self._size, MAX_PROBLEMS):
            self._problem("the entry is beyond the end of the log", f"entry {row.idx}", row.idx)
        for checkpoint, place in self._signed:
            self._problem(
                f"{checkpoint.size} entries were signed for, and there are {self._size}: the database was put back",
                place,
            )
