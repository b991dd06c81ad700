"""The right edge of the tree: the one growing tile of each level, which is all that an append needs."""

from collections.abc import Sequence

from everproof.ledger.store import TileRow
from everproof.ledger.tiles import (
    TILE_HEIGHT,
    TILE_WIDTH,
    ReadTile,
    TileError,
    partial_width,
    split_hashes,
    tile_root,
)


class Edge:
    """The growing tiles of a tree of ``size`` leaves, the lowest level first."""

    def __init__(self, size: int = 0, levels: Sequence[list[bytes]] = ()) -> None:
        self.size = size
        self._levels = list(levels)

    @classmethod
    def load(cls, size: int, read: ReadTile) -> "Edge":
        """The edge of the tree of ``size`` leaves as it is stored.

        Raises:
            TileError: it is not the edge of a tree of that size.
        """
        levels = []
        for level in range((size.bit_length() + TILE_HEIGHT - 1) // TILE_HEIGHT):
            width = partial_width(size, level)
            tile = read(level, size >> TILE_HEIGHT * (level + 1)) if width else b""
            hashes = split_hashes(tile or b"")
            if len(hashes) != width:
                raise TileError(
                    f"the tree at level {level} has not the {width} hashes that a log of {size} entries ends with",
                    todo="run `everproof ledger verify`",
                )
            levels.append(hashes)
        return cls(size, levels)

    def extend(self, leaves: Sequence[bytes]) -> list[TileRow]:
        """Add leaves by their hashes; the rows of all tiles that are new or have grown."""
        rows: dict[tuple[int, int], bytes] = {}
        self._extend(0, self.size, leaves, rows)
        self.size += len(leaves)
        return [TileRow(level, n, hashes) for (level, n), hashes in rows.items()]

    def growing(self) -> list[TileRow]:
        """The rows of the tiles that are not full."""
        return [
            TileRow(level, self.size >> TILE_HEIGHT * (level + 1), b"".join(hashes))
            for level, hashes in enumerate(self._levels)
            if hashes
        ]

    def _extend(self, level: int, before: int, hashes: Sequence[bytes], rows: dict[tuple[int, int], bytes]) -> None:
        """Add hashes to ``level``, which has ``before`` of them."""
        if level == len(self._levels):
            self._levels.append([])
        growing, n = self._levels[level], before // TILE_WIDTH
        above: list[bytes] = []
        at = 0
        while at < len(hashes):
            room = TILE_WIDTH - len(growing)
            growing.extend(hashes[at : at + room])
            at += room
            rows[level, n] = b"".join(growing)
            if len(growing) == TILE_WIDTH:
                above.append(tile_root(growing))
                n += 1
                growing = self._levels[level] = []
        if above:
            self._extend(level + 1, before // TILE_WIDTH, above, rows)
