"""Tiles: the tree in pieces of up to 256 hashes, their names, and any node of the tree from them (C2SP tlog-tiles)."""

import re
from collections.abc import Callable, Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from everproof.kernel.errors import Error
from everproof.ledger.merkle import HASH_BYTES, parents

TILE_HEIGHT: Final = 8
TILE_WIDTH: Final = 1 << TILE_HEIGHT

CACHED_TILES: Final = 256
"""Opened tiles kept by one source of nodes, some 7 MB: an export walks along one edge of the tree."""

ReadTile: TypeAlias = Callable[[int, int], bytes | None]
"""``read(level, n)`` is the hashes of a tile as it now is."""

_NUMBER: Final = r"(?P<n>(?:x[0-9]{3}/){0,6}[0-9]{3})"
_WIDTH: Final = r"(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
_PATH: Final = re.compile(rf"tile/(?P<level>entries|0|[1-9][0-9]?)/{_NUMBER}{_WIDTH}")
_HIGHEST_LEVEL: Final = 63


class TileError(Error):
    """The tree as it is stored cannot be read."""

    code = "tree-broken"
    status = 500


class TileName(msgspec.Struct, frozen=True):
    """Which tile: hashes at a level, or entries; ``width`` of a full one is 256."""

    level: int | Literal["entries"]
    n: int
    width: int = TILE_WIDTH

    def path(self) -> str:
        """Its address below the log's prefix, such as ``tile/0/x001/x234/067.p/12``."""
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{self.level}/{_encode_number(self.n)}{partial}"


def parse_path(path: str) -> TileName | None:
    """The tile at this address, in its one canonical spelling."""
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    level = match["level"] if match["level"] == "entries" else int(match["level"])
    width = int(match["width"] or TILE_WIDTH)
    name = TileName(level, int(match["n"].replace("x", "").replace("/", "")), width)  # type: ignore[arg-type]  # the pattern admits no other word
    if width > TILE_WIDTH or (isinstance(name.level, int) and name.level > _HIGHEST_LEVEL):
        return None
    return name if name.path() == path else None


def partial_width(size: int, level: int) -> int:
    """How many hashes the rightmost tile of a level has in a tree of ``size`` leaves; 0: there is only full ones."""
    return (size >> TILE_HEIGHT * level) % TILE_WIDTH


def width_at(size: int, level: int, n: int) -> int:
    """How many hashes tile ``n`` of a level has in a tree of ``size`` leaves."""
    return max(0, min(TILE_WIDTH, (size >> TILE_HEIGHT * level) - n * TILE_WIDTH))


def split_hashes(tile: bytes) -> list[bytes]:
    """The hashes of a tile."""
    return [tile[at : at + HASH_BYTES] for at in range(0, len(tile), HASH_BYTES)]


def tile_root(hashes: Sequence[bytes]) -> bytes:
    """The root over the 256 hashes of a full tile: a hash of the level above."""
    while len(hashes) > 1:
        hashes = parents(hashes)
    return hashes[0]


class TileNodes:
    """Nodes of the tree, from its tiles. A node is read from the lowest level that has it."""

    def __init__(self, read: ReadTile) -> None:
        self._read = read
        self._opened: dict[tuple[int, int], list[list[bytes]]] = {}

    def __call__(self, height: int, n: int) -> bytes:
        """The root of the ``n``-th complete subtree of ``2**height`` leaves.

        Raises:
            TileError: the tile is missing or too narrow.
        """
        level, within = divmod(height, TILE_HEIGHT)
        across = TILE_HEIGHT - within
        tile, at = n >> across, n & (1 << across) - 1
        layer = self._layers(level, tile)[within]
        if at >= len(layer):
            raise TileError(f"tile {tile} of level {level} is too narrow", todo="run `everproof ledger verify`")
        return layer[at]

    def _layers(self, level: int, n: int) -> list[list[bytes]]:
        """The tile's hashes, and the complete nodes above them, up to its own root's children."""
        layers = self._opened.get((level, n))
        if layers is None:
            tile = self._read(level, n)
            if tile is None:
                raise TileError(f"tile {n} of level {level} is missing", todo="run `everproof ledger verify`")
            layers = [split_hashes(tile)]
            for _ in range(TILE_HEIGHT - 1):
                layers.append(parents(layers[-1]))
            if len(self._opened) >= CACHED_TILES:
                del self._opened[next(iter(self._opened))]
            self._opened[level, n] = layers
        return layers


def _encode_number(n: int) -> str:
    groups = [f"{n % 1000:03}"]
    while n := n // 1000:
        groups.append(f"x{n % 1000:03}")
    return "/".join(reversed(groups))
