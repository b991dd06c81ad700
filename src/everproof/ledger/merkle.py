"""The Merkle tree of RFC 6962, section 2.1: hashes, proofs from any source of nodes, and their verification.

The verifying algorithms are those of RFC 9162, sections 2.1.3.2 and 2.1.4.2.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from everproof.kernel.errors import Error

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256().digest()
"""The root of the tree without leaves."""

Nodes: TypeAlias = Callable[[int, int], bytes]
"""``nodes(height, n)`` is the root of the ``n``-th complete subtree of ``2**height`` leaves."""


class ProofError(Error):
    """A proof does not show what it should."""

    code = "proof-refused"
    status = 422


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def parents(hashes: Sequence[bytes]) -> list[bytes]:
    """The nodes above ``hashes``; one without a sibling has none."""
    return [node_hash(hashes[at], hashes[at + 1]) for at in range(0, len(hashes) - 1, 2)]


def tree_root(size: int, nodes: Nodes) -> bytes:
    """The root of the tree of the first ``size`` leaves."""
    return _span(0, size, nodes) if size else EMPTY_ROOT


def prove_inclusion(index: int, size: int, nodes: Nodes) -> list[bytes]:
    """The path from leaf ``index`` to the root of the tree of ``size`` leaves, the leaf's sibling first.

    Raises:
        ProofError: the tree has no such leaf.
    """
    if not 0 <= index < size:
        raise ProofError(f"a tree of {size} leaves has none at {index}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_span(middle, end, nodes))
            end = middle
        else:
            path.append(_span(start, middle, nodes))
            start = middle
    return path[::-1]


def prove_consistency(old: int, size: int, nodes: Nodes) -> list[bytes]:
    """What shows that the tree of ``size`` leaves begins with the tree of ``old`` leaves.

    Raises:
        ProofError: ``old`` is none (the empty tree begins every tree, so nothing can be shown), or more than ``size``.
    """
    if not 0 < old <= size:
        raise ProofError(f"no proof leads from {old} leaves to {size}")
    proof: list[bytes] = []
    start, end = 0, size
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            proof.append(_span(middle, end, nodes))
            end = middle
        else:
            proof.append(_span(start, middle, nodes))
            start = middle
    if start:  # else the old tree is a node of the new one, and the verifier has its root
        proof.append(_span(start, end, nodes))
    return proof[::-1]


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Hold that the tree of ``size`` leaves with this ``root`` has the leaf of hash ``leaf`` at ``index``.

    Raises:
        ProofError: it is not shown.
    """
    if not 0 <= index < size:
        raise ProofError(f"a tree of {size} leaves has none at {index}")
    _require_hashes(leaf, root, *proof)
    computed = leaf
    for sibling, on_the_left in _sides(index, size - 1, proof):
        computed = node_hash(sibling, computed) if on_the_left else node_hash(computed, sibling)
    if computed != root:
        raise ProofError("the inclusion proof leads to another root")


def verify_consistency(old: int, size: int, old_root: bytes, root: bytes, proof: Sequence[bytes]) -> None:
    """Hold that the tree of ``size`` leaves with ``root`` begins with the tree of ``old`` leaves with ``old_root``.

    Raises:
        ProofError: it is not shown. Nothing can be shown of the empty tree.
    """
    if not 0 < old <= size:
        raise ProofError(f"no proof leads from {old} leaves to {size}")
    if old == size:
        if proof or old_root != root:
            raise ProofError("two trees of one size are not the same tree")
        return
    _require_hashes(old_root, root, *proof)
    # Where the old tree is a node of the new one, the verifier has that node.
    path = [old_root, *proof] if old & (old - 1) == 0 else proof
    if not path:
        raise ProofError("the consistency proof is empty")
    node, last = old - 1, size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old_computed = computed = path[0]
    for sibling, on_the_left in _sides(node, last, path[1:]):
        if on_the_left:
            old_computed = node_hash(sibling, old_computed)
        computed = node_hash(sibling, computed) if on_the_left else node_hash(computed, sibling)
    if old_computed != old_root or computed != root:
        raise ProofError("the consistency proof leads to another root")


class Peaks:
    """A tree that only grows, kept as the roots of its complete subtrees, the widest first."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def add(self, leaf: bytes) -> None:
        """Add the leaf of this hash."""
        size = self.size
        while size & 1:
            leaf = node_hash(self._peaks.pop(), leaf)
            size >>= 1
        self._peaks.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """The root of the tree so far."""
        return _fold(self._peaks) if self._peaks else EMPTY_ROOT


def _sides(node: int, last: int, proof: Sequence[bytes]) -> list[tuple[bytes, bool]]:
    """Each sibling on the way up from ``node`` to the root, and whether it is on the left; ``last`` ends the level."""
    sides: list[tuple[bytes, bool]] = []
    for sibling in proof:
        if last == 0:
            raise ProofError("the proof is too long")
        on_the_left = bool(node & 1) or node == last
        if on_the_left:
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        node, last = node >> 1, last >> 1
        sides.append((sibling, on_the_left))
    if last != 0:
        raise ProofError("the proof is too short")
    return sides


def _split(size: int) -> int:
    """The largest power of two below ``size``."""
    return 1 << (size - 1).bit_length() - 1


def _span(start: int, end: int, nodes: Nodes) -> bytes:
    """The root over leaves ``start`` to ``end``, where ``start`` is where a subtree at least as wide begins."""
    peaks: list[bytes] = []
    while start < end:
        height = (end - start).bit_length() - 1
        peaks.append(nodes(height, start >> height))
        start += 1 << height
    return _fold(peaks)


def _fold(peaks: Sequence[bytes]) -> bytes:
    root = peaks[-1]
    for peak in reversed(peaks[:-1]):
        root = node_hash(peak, root)
    return root


def _require_hashes(*hashes: bytes) -> None:
    if any(len(value) != HASH_BYTES for value in hashes):
        raise ProofError(f"a hash has {HASH_BYTES} bytes")
