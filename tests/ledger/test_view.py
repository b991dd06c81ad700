import json

import pytest

from everproof.kernel.errors import NotFoundError
from everproof.kernel.words import Ref
from everproof.ledger import verify_proof
from everproof.ledger.checkpoint import open_checkpoint
from everproof.ledger.merkle import leaf_hash, tree_root
from everproof.ledger.tiles import TileName, TileNodes, width_at
from tests.ledger.conftest import House, entry


async def test_a_monitor_rebuilds_the_tree_from_the_static_files_alone(house: House) -> None:
    house.append(700)
    await house.storage.start()
    await house.ledger.publish()
    for _ in range(3):  # beyond the checkpoint: not served
        await house.ledger.record(entry(house.clock))
    served = house.ledger.tlog_resource("checkpoint")
    assert served is not None
    assert (served.content_type, served.immutable) == ("text/plain; charset=utf-8", False)
    checkpoint, _ = open_checkpoint(served.body, house.log)

    def fetch(level: int, n: int) -> bytes:
        tile = house.ledger.tlog_resource(TileName(level, n, width_at(checkpoint.size, level, n)).path())
        assert tile is not None
        assert (tile.content_type, tile.immutable) == ("application/octet-stream", True)
        return tile.body

    assert checkpoint.size == 700
    assert tree_root(checkpoint.size, TileNodes(fetch)) == checkpoint.root
    for n in range(3):
        width = width_at(checkpoint.size, 0, n)
        bundle = house.ledger.tlog_resource(TileName("entries", n, width).path())
        assert bundle is not None
        entries = [bundle.body[at : at + 34] for at in range(0, len(bundle.body), 34)]
        assert all(one[:2] == b"\x00\x20" for one in entries)
        assert b"".join(leaf_hash(one[2:]) for one in entries) == fetch(0, n)
    await house.storage.stop()


async def test_partial_tiles_of_every_earlier_size_are_served_and_nothing_beyond(house: House) -> None:
    house.append(300)
    await house.storage.start()
    await house.ledger.publish()
    await house.storage.stop()
    full = house.ledger.tlog_resource("tile/0/000")
    part = house.ledger.tlog_resource("tile/0/000.p/17")
    assert full is not None
    assert part is not None
    assert full.body.startswith(part.body)
    assert len(part.body) == 17 * 32
    for path in (
        "tile/0/001", "tile/0/001.p/45", "tile/0/002", "tile/1/000", "tile/1/000.p/2", "tile/2/000.p/1",
        "tile/entries/001", "tile/entries/001.p/45", "tile/63/000", "tile/0/x999/x999/x999/x999/x999/x999/999",
        "nonsense", "", "tile/0/000.p/300", "../checkpoint",
    ):  # fmt: skip
        assert house.ledger.tlog_resource(path) is None, path


def test_before_anything_was_signed_there_is_nothing_to_serve(house: House) -> None:
    house.append()
    with pytest.raises(NotFoundError):
        house.ledger.tlog_resource("checkpoint")


async def test_the_export_is_lines_that_each_prove_themselves(house: House) -> None:
    house.append(260)
    house.append(2, about="bob")
    house.storage.write_now(lambda tx: house.keyring.erase(tx, Ref("User", "bob")))
    await house.storage.start()
    await house.ledger.publish()
    await house.storage.stop()
    lines = [json.loads(line) for line in house.ledger.export()]
    assert [line["index"] for line in lines] == list(range(262))
    assert [line["entry"] is None for line in lines] == [False] * 260 + [True] * 2
    for line in lines[::20]:
        proven = verify_proof(line["proof"].encode(), house.log)
        assert proven.index == line["index"]
        assert proven.entry is None or json.loads(proven.entry) == line["entry"]
    assert [json.loads(line)["index"] for line in house.ledger.export(255, 258)] == [255, 256, 257]
    assert all(json.loads(line)["entry"] is None for line in house.ledger.export(0, 3, disclose=False))
