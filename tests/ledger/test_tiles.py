import pytest
from hypothesis import given
from hypothesis import strategies as st

from everproof.ledger.edge import Edge
from everproof.ledger.merkle import Peaks, leaf_hash, tree_root
from everproof.ledger.tiles import TileError, TileName, TileNodes, parse_path, partial_width, width_at

LEAVES = [leaf_hash(f"{n}".encode()) for n in range(66_000)]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("tile/0/000", TileName(0, 0)),
        ("tile/0/x001/x234/067", TileName(0, 1_234_067)),
        ("tile/1/000.p/17", TileName(1, 0, 17)),
        ("tile/entries/x001/000.p/255", TileName("entries", 1000, 255)),
        ("tile/63/000", TileName(63, 0)),
    ],
)
def test_a_tile_has_one_name(path: str, name: TileName) -> None:
    assert parse_path(path) == name
    assert name.path() == path


@pytest.mark.parametrize(
    "path",
    [
        "", "tile", "tile/0", "tile/00/000", "tile/64/000", "tile/-1/000", "tile/0/0", "tile/0/1000", "tile/0/x000/001",
        "tile/0/001/001", "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/01", "tile/0/000.p/999", "tile/0/000/",
        "/tile/0/000", "tile/0/000.p/", "tile/x/000", "tile/0/../000", "tile/0/\u0661\u0661\u0661", "tile/0/000\n",
    ],
)  # fmt: skip
def test_no_other_spelling_names_a_tile(path: str) -> None:
    assert parse_path(path) is None


@given(st.integers(0, 10**20), st.integers(1, 256), st.integers(0, 63))
def test_every_name_comes_back(n: int, width: int, level: int) -> None:
    name = TileName(level, n, width)
    assert parse_path(name.path()) == name


def test_the_widths_are_those_of_the_specifications_example() -> None:
    assert [partial_width(70_000, level) for level in range(3)] == [112, 17, 1]
    assert (width_at(70_000, 0, 272), width_at(70_000, 0, 273), width_at(70_000, 0, 274)) == (256, 112, 0)
    assert (width_at(256, 0, 0), width_at(256, 1, 0)) == (256, 1)


def grow(steps: list[int]) -> dict[tuple[int, int], bytes]:
    edge, tiles, at = Edge(), {}, 0
    for step in steps:
        for row in edge.extend(LEAVES[at : at + step]):
            tiles[row.level, row.n] = row.hashes
        at += step
    return tiles


@given(st.lists(st.integers(1, 700), min_size=1, max_size=12))
def test_however_it_grows_the_tiles_are_those_of_the_tree(steps: list[int]) -> None:
    size = sum(steps)
    tiles = grow(steps)
    assert tiles == grow([size])
    assert all(len(tiles[level, n]) == 32 * width_at(size, level, n) for level, n in tiles)
    peaks = Peaks()
    for leaf in LEAVES[:size]:
        peaks.add(leaf)
    nodes = TileNodes(lambda level, n: tiles.get((level, n)))
    assert tree_root(size, nodes) == peaks.root()
    if size > 1:  # the tiles of a tree have in them every tree that it has grown from
        before = grow([size - 1])
        assert tree_root(size - 1, nodes) == tree_root(size - 1, TileNodes(lambda level, n: before.get((level, n))))


def test_the_edge_comes_back_from_the_tiles_at_every_kind_of_size() -> None:
    for size in (0, 1, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537):
        tiles = grow([size]) if size else {}
        edge = Edge.load(size, lambda level, n, tiles=tiles: tiles.get((level, n)))  # type: ignore[misc]
        whole = {**tiles, **{(row.level, row.n): row.hashes for row in edge.extend(LEAVES[size : size + 300])}}
        assert whole == grow([size + 300])


def test_an_edge_that_is_not_of_the_size_is_refused() -> None:
    tiles = grow([300])
    with pytest.raises(TileError, match="301 entries"):
        Edge.load(301, lambda level, n: tiles.get((level, n)))
    del tiles[0, 1]
    with pytest.raises(TileError):
        Edge.load(300, lambda level, n: tiles.get((level, n)))
    with pytest.raises(TileError, match="missing"):
        tree_root(300, TileNodes(lambda level, n: tiles.get((level, n))))
