import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everproof.ledger.merkle import (
    EMPTY_ROOT,
    Peaks,
    ProofError,
    leaf_hash,
    node_hash,
    prove_consistency,
    prove_inclusion,
    tree_root,
    verify_consistency,
    verify_inclusion,
)

LEAVES = [leaf_hash(f"{n}".encode()) for n in range(300)]


def reference(leaves: list[bytes]) -> bytes:
    """MTH as RFC 6962 defines it."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return node_hash(reference(leaves[:k]), reference(leaves[k:]))


def nodes(height: int, n: int) -> bytes:
    return reference(LEAVES[n << height : (n + 1) << height])


def decoded(value: str | None) -> bytes:
    return base64.b64decode(value or "")


def test_the_vectors_of_others_are_judged_as_they_should_be(vectors: Path) -> None:
    judged = 0
    for kind in ("inclusion", "consistency"):
        for file in (vectors / "merkle" / kind).rglob("*.json"):
            case = json.loads(file.read_text())
            proof = [decoded(value) for value in case["proof"] or []]
            try:
                if kind == "inclusion":
                    leaf, root = decoded(case["leafHash"]), decoded(case["root"])
                    verify_inclusion(case["leafIdx"], case["treeSize"], leaf, proof, root)
                else:
                    roots = decoded(case["root1"]), decoded(case["root2"])
                    verify_consistency(case["size1"], case["size2"], *roots, proof)
                refused = False
            except ProofError:
                refused = True
            assert refused == case["wantErr"], file
            judged += 1
    assert judged >= 190


@pytest.mark.parametrize("size", [*range(1, 34), 64, 65, 127, 255, 256, 257, 300])
def test_every_leaf_is_proven_and_no_other_place_is(size: int) -> None:
    root = reference(LEAVES[:size])
    assert tree_root(size, nodes) == root
    for index in range(size) if size < 34 else (0, 1, size // 2, size - 1):
        proof = prove_inclusion(index, size, nodes)
        verify_inclusion(index, size, LEAVES[index], proof, root)
        with pytest.raises(ProofError):
            verify_inclusion(index, size, LEAVES[(index + 1) % 300], proof, root)


@pytest.mark.parametrize("size", [*range(1, 34), 64, 65, 129])
def test_every_earlier_tree_is_shown_to_be_a_beginning(size: int) -> None:
    root = reference(LEAVES[:size])
    for old in range(1, size + 1):
        verify_consistency(old, size, reference(LEAVES[:old]), root, prove_consistency(old, size, nodes))


SIZES = st.integers(2, 300)


@given(st.data(), SIZES)
def test_a_tampered_inclusion_proof_is_refused(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = prove_inclusion(index, size, nodes)
    root = reference(LEAVES[:size])
    place = data.draw(st.integers(0, len(proof) - 1))
    flipped = bytearray(proof[place])
    flipped[data.draw(st.integers(0, 31))] ^= 1 << data.draw(st.integers(0, 7))
    bad = [
        [*proof[:place], bytes(flipped), *proof[place + 1 :]],
        proof[:-1],
        proof[1:],
        [*proof, root],
        [LEAVES[index], *proof],
        [*proof[:place], proof[place][:-1], *proof[place + 1 :]],
    ]
    for tampered in bad:
        with pytest.raises(ProofError):
            verify_inclusion(index, size, LEAVES[index], tampered, root)


@given(st.data(), SIZES)
def test_a_tampered_consistency_proof_is_refused(data: st.DataObject, size: int) -> None:
    old = data.draw(st.integers(1, size - 1))
    proof = prove_consistency(old, size, nodes)
    roots = reference(LEAVES[:old]), reference(LEAVES[:size])
    place = data.draw(st.integers(0, len(proof) - 1))
    flipped = bytearray(proof[place])
    flipped[data.draw(st.integers(0, 31))] ^= 1 << data.draw(st.integers(0, 7))
    bad = [
        [*proof[:place], bytes(flipped), *proof[place + 1 :]],
        proof[:-1],
        [*proof, roots[1]],
        [roots[0], *proof],
        [],
    ]
    for tampered in bad:
        with pytest.raises(ProofError):
            verify_consistency(old, size, *roots, tampered)
    with pytest.raises(ProofError):
        verify_consistency(old, size, roots[1], roots[0], proof)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 4), (5, 4)])
def test_a_place_that_is_none_is_refused(index: int, size: int) -> None:
    with pytest.raises(ProofError):
        prove_inclusion(index, size, nodes)
    with pytest.raises(ProofError):
        verify_inclusion(index, size, LEAVES[0], [], LEAVES[0])


@pytest.mark.parametrize(("old", "size"), [(0, 0), (0, 4), (5, 4), (-1, 4)])
def test_nothing_is_shown_of_the_empty_tree(old: int, size: int) -> None:
    with pytest.raises(ProofError):
        prove_consistency(old, size, nodes)
    with pytest.raises(ProofError):
        verify_consistency(old, size, EMPTY_ROOT, EMPTY_ROOT, [])


def test_the_growing_tree_has_the_root_of_the_whole() -> None:
    peaks = Peaks()
    assert peaks.root() == EMPTY_ROOT
    for size in range(1, 301):
        peaks.add(LEAVES[size - 1])
        assert (size > 70 and size % 50) or peaks.root() == reference(LEAVES[:size])
