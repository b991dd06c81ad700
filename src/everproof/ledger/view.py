"""The ledger as it can be read, also beside a running server: entries, proofs, and the files of C2SP tlog-tiles."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final, Literal, Protocol

import msgspec
from sqlalchemy import Row

from everproof.kernel.canonical import encode
from everproof.kernel.clock import from_milliseconds, milliseconds
from everproof.kernel.errors import ConflictError, Error, NotFoundError
from everproof.kernel.words import Entry
from everproof.keys import ErasedError, SealError
from everproof.ledger import store, witness_store
from everproof.ledger.checkpoint import Checkpoint, parse_checkpoint
from everproof.ledger.commitment import COMMITMENT_BYTES, DOMAIN, SALT_BYTES
from everproof.ledger.merkle import (
    HASH_BYTES,
    ProofError,
    leaf_hash,
    prove_consistency,
    prove_inclusion,
    verify_inclusion,
)
from everproof.ledger.note import parse_note
from everproof.ledger.proof import Proof
from everproof.ledger.tiles import TILE_WIDTH, TileName, TileNodes, parse_path, width_at
from everproof.storage import Storage

EXPORTED_AT_ONCE: Final = 256
OUT_OF_ORDER_MILLISECONDS: Final = 60_000
"""More than lies between a decision and its commit."""
_LENGTH: Final = COMMITMENT_BYTES.to_bytes(2, "big")
_DECODER: Final = msgspec.json.Decoder(Entry)


class Opener(Protocol):
    """Opens sealed bodies: a keyring."""

    def open(self, key_id: str, data: bytes, *, context: bytes) -> bytes:
        """What was sealed; `ErasedError` where the key was destroyed."""
        ...


class ChangedError(Error):
    """What is stored is not what was recorded."""

    code = "ledger-changed"
    status = 500


class Recorded(msgspec.Struct, frozen=True):
    """One entry with its place; ``entry`` is None where nobody can read it.

    That is where its person was ``erased``, or its row was ``changed``; who follows the ledger must get past both.
    """

    index: int
    id: str
    kind: str
    at: datetime
    entry: Entry | None
    state: Literal["readable", "erased", "changed"] = "readable"


class Opened(msgspec.Struct, frozen=True, gc=False):
    """One entry in its canonical bytes, None where nobody can read it.

    ``kind`` and ``at`` (milliseconds since the epoch) stand beside it, sealed by nothing.
    """

    index: int
    id: str
    kind: str
    at: int
    entry: bytes | None
    state: Literal["readable", "erased", "changed"]


class Resource(msgspec.Struct, frozen=True):
    """A static file of the log. An immutable one may be cached for ever, another for a few seconds."""

    body: bytes
    content_type: str
    immutable: bool


class LedgerView:
    """Reads the ledger. Its methods take a short time in the database: call them in a thread from an event loop."""

    def __init__(self, storage: Storage, keyring: Opener) -> None:
        self._storage = storage
        self._keyring = keyring

    def checkpoint(self) -> bytes:
        """The checkpoint published last, as a signed note.

        Raises:
            NotFoundError: none was published yet.
        """
        with self._storage.reading() as connection:
            row = witness_store.last_published(connection)
        if row is None:
            raise NotFoundError("no checkpoint was published yet", todo="start the server: it signs one")
        note: bytes = row.note
        return note

    def read(self, index: int) -> Entry:
        """The entry at ``index``.

        Raises:
            NotFoundError: there is none.
            ErasedError: its person was erased.
            SealError: its row was changed.
        """
        return decode_entry(self._opening(self._row(index)))

    def find(self, entry_id: str) -> int:
        """The index of the entry with this id.

        Raises:
            NotFoundError: there is none.
        """
        with self._storage.reading() as connection:
            index = store.find_entry(connection, entry_id)
        if index is None:
            raise NotFoundError("no entry has this id", place=entry_id)
        return index

    def tail(self, after: int | None = None, limit: int = 100, *, kind: str | None = None) -> list[Recorded]:
        """Up to ``limit`` entries after index ``after``, oldest first; without ``after``, the last ones.

        ``kind`` leaves out the others by looking at them: it has no index.
        """
        with self._storage.reading() as connection:
            if after is None:
                rows = store.read_last_entries(connection, limit, kind)
            else:
                rows = store.read_entries(connection, after + 1, limit, kind)
        return [self._recorded(row) for row in rows]

    def opened(self, first: int, end: int) -> list[Opened]:
        """The entries from index ``first`` up to ``end``, undecoded: for whoever reads very many."""
        with self._storage.reading() as connection:
            rows = store.read_entries(connection, first, end - first)
        return [self._opened(row) for row in rows if row.idx < end]

    def since(self, moment: datetime) -> int:
        """The index from which on entries are of ``moment`` or later, or a little before it.

        Entries stand in the order of their commits, which is that of their times but for moments. The times that count
        are those within the entries, where they can be read.
        """
        low, high = 0, self.length()
        wanted = milliseconds(moment) - OUT_OF_ORDER_MILLISECONDS
        with self._storage.reading() as connection:
            while low < high:
                middle = (low + high) // 2
                row = store.read_entry(connection, middle)
                earlier = row is not None and self._time_of(row) < wanted
                low, high = (middle + 1, high) if earlier else (low, middle)
        return low

    def length(self) -> int:
        """How many entries there are now, signed for or not."""
        with self._storage.reading() as connection:
            return store.read_head(connection)[0]

    def proof(self, index: int, *, disclose: bool = False) -> bytes:
        """A tlog-proof of the entry at ``index`` under the checkpoint published last; ``disclose``: entry in it.

        Raises:
            NotFoundError: there is no such entry.
            ConflictError: the checkpoint does not reach it yet.
            ErasedError: it cannot be disclosed any more.
            ChangedError: what is stored is not what was signed for.
        """
        return self._prove(self._row(index), self.checkpoint(), TileNodes(self._read_tile), disclose=disclose)

    def consistency(self, old: int) -> list[bytes]:
        """The proof that the checkpoint published last continues the log's first ``old`` entries.

        Raises:
            ProofError: ``old`` is 0, or beyond the checkpoint.
        """
        return prove_consistency(old, _unverified(self.checkpoint()).size, TileNodes(self._read_tile))

    def export(self, first: int = 0, end: int | None = None, *, disclose: bool = True) -> Iterator[bytes]:
        """Lines of JSON, each an entry with its proof, up to ``end`` or the checkpoint published last.

        ``entry`` is null where it is erased, or not disclosed; ``proof`` is a tlog-proof either way.
        """
        note = self.checkpoint()
        size = _unverified(note).size
        end = size if end is None else min(end, size)
        nodes = TileNodes(self._read_tile)
        while first < end:
            with self._storage.reading() as connection:
                rows = store.read_entries(connection, first, min(EXPORTED_AT_ONCE, end - first))
            if not rows or rows[0].idx != first or rows[-1].idx != first + len(rows) - 1:
                raise _changed(first)
            for row in rows:
                opening = self._opening_or_none(row) if disclose else None
                proof = self._prove(row, note, nodes, disclose=opening is not None)
                entry = None if opening is None else msgspec.Raw(opening[SALT_BYTES:])
                yield encode({"index": row.idx, "entry": entry, "proof": proof.decode()}) + b"\n"
            first += len(rows)

    def tlog_resource(self, path: str) -> Resource | None:
        """The static file at ``path``: ``checkpoint``, ``tile/<L>/<N>[.p/<W>]`` or ``tile/entries/<N>[.p/<W>]``.

        Nothing beyond the checkpoint published last is served, so that what is served never changes.
        """
        note = self.checkpoint()
        if path == "checkpoint":
            return Resource(note, "text/plain; charset=utf-8", immutable=False)
        name = parse_path(path)
        body = None if name is None else self._tile(name, _unverified(note).size)
        return None if body is None else Resource(body, "application/octet-stream", immutable=True)

    def _tile(self, name: TileName, size: int) -> bytes | None:
        if name.level == "entries":
            if width_at(size, 0, name.n) < name.width:
                return None
            first = name.n * TILE_WIDTH
            with self._storage.reading() as connection:
                commitments = store.read_commitments(connection, first, first + name.width)
            if len(commitments) != name.width:
                raise _changed(first)
            return b"".join(_LENGTH + commitment for commitment in commitments)
        if width_at(size, name.level, name.n) < name.width:
            return None
        hashes = self._read_tile(name.level, name.n)
        if hashes is None or len(hashes) < name.width * HASH_BYTES:
            raise _changed(name.n * TILE_WIDTH ** (name.level + 1))
        return hashes[: name.width * HASH_BYTES]

    def _row(self, index: int) -> Row[Any]:
        with self._storage.reading() as connection:
            row = store.read_entry(connection, index)
        if row is None:
            raise NotFoundError(f"the ledger has no entry {index}")
        return row

    def _opening(self, row: Row[Any]) -> bytes:
        """The entry with its salt before it."""
        return self._keyring.open(row.key_id, row.body, context=row.commitment)

    def _opening_or_none(self, row: Row[Any]) -> bytes | None:
        try:
            return self._opening(row)
        except ErasedError:
            return None

    def _recorded(self, row: Row[Any]) -> Recorded:
        at = from_milliseconds(row.at)
        try:
            return Recorded(row.idx, row.id, row.kind, at, decode_entry(self._opening(row)))
        except ErasedError:
            return Recorded(row.idx, row.id, row.kind, at, None, "erased")
        except SealError:
            return Recorded(row.idx, row.id, row.kind, at, None, "changed")

    def _time_of(self, row: Row[Any]) -> int:
        entry = self._opened(row).entry
        return int(row.at) if entry is None else milliseconds(_DECODER.decode(entry).at)

    def _opened(self, row: Row[Any]) -> Opened:
        try:
            return Opened(row.idx, row.id, row.kind, row.at, self._opening(row)[SALT_BYTES:], "readable")
        except ErasedError:
            return Opened(row.idx, row.id, row.kind, row.at, None, "erased")
        except (SealError, NotFoundError):
            return Opened(row.idx, row.id, row.kind, row.at, None, "changed")

    def _prove(self, row: Row[Any], note: bytes, nodes: TileNodes, *, disclose: bool) -> bytes:
        checkpoint = _unverified(note)
        if row.idx >= checkpoint.size:
            raise ConflictError(
                f"the last checkpoint is of {checkpoint.size} entries, so it does not show entry {row.idx}",
                todo="ask the server for the proof: it signs a new checkpoint",
            )
        extra = DOMAIN + self._opening(row) if disclose else row.commitment
        hashes = prove_inclusion(row.idx, checkpoint.size, nodes)
        try:
            verify_inclusion(row.idx, checkpoint.size, leaf_hash(row.commitment), hashes, checkpoint.root)
        except ProofError as error:
            raise _changed(row.idx) from error
        return Proof(row.idx, tuple(hashes), note, extra).encode()

    def _read_tile(self, level: int, n: int) -> bytes | None:
        with self._storage.reading() as connection:
            return store.read_tile(connection, level, n)


def decode_entry(opening: bytes) -> Entry:
    """The entry of salt and canonical bytes."""
    return _DECODER.decode(opening[SALT_BYTES:])


def _unverified(note: bytes) -> Checkpoint:
    """The checkpoint of our own note; whoever is given the proof verifies it."""
    return parse_checkpoint(parse_note(note).text)


def _changed(index: int) -> ChangedError:
    return ChangedError(
        "the ledger was changed at or near this entry",
        place=f"entry {index}",
        todo="run `everproof ledger verify`: it names what was changed",
    )
