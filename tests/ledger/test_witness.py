"""What a witness cosigns, and what it never does, on each database."""

import asyncio
from base64 import b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from everproof.kernel.errors import Error, InputError
from everproof.ledger.checkpoint import Checkpoint, open_checkpoint
from everproof.ledger.merkle import EMPTY_ROOT, ProofError, leaf_hash, node_hash, prove_consistency, tree_root
from everproof.ledger.note import NoteSigner, SignatureError, parse_vkey
from everproof.ledger.witness import KnownSizeError, UnknownOriginError, WitnessService, make_witness, witness_key
from everproof.storage import Storage
from tests.conftest import SettableClock

NAME = "witness.example/w"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
ORIGIN = "log.example"


class Log:
    """A log of nothing but leaves; ``fork`` changes them from some index on."""

    def __init__(self, seed: int = 1, *, fork: int = 1 << 60) -> None:
        self.signer = NoteSigner(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))
        self._fork = fork

    def node(self, height: int, n: int) -> bytes:
        if height == 0:
            return leaf_hash(b"%d" % n + (b" forked" if n >= self._fork else b""))
        return node_hash(self.node(height - 1, 2 * n), self.node(height - 1, 2 * n + 1))

    def checkpoint(self, size: int, *extensions: str) -> Checkpoint:
        return Checkpoint(ORIGIN, size, tree_root(size, self.node), extensions)

    def note(self, size: int, *extensions: str) -> bytes:
        return self.signer.sign(self.checkpoint(size, *extensions).text())

    def request(self, old: int, size: int, *extensions: str) -> bytes:
        proof = prove_consistency(old, size, self.node) if 0 < old <= size else []
        return request(old, proof, self.note(size, *extensions))


def request(old: object, proof: list[bytes], note: bytes) -> bytes:
    return "\n".join([f"old {old}", *(b64encode(one).decode() for one in proof)]).encode() + b"\n\n" + note


@pytest.fixture
def witness(storage: Storage) -> WitnessService:
    return make_witness(storage, KEY, NAME, [str(Log().signer.verifier)])


def cosigned(witness: WitnessService, log: Log, size: int, line: bytes) -> int | None:
    """That the line is the witness's cosignature of the log at ``size``; its time."""
    _, [signed] = open_checkpoint(log.note(size) + line, log.signer.verifier, [parse_vkey(witness.vkey)])
    assert signed.by == parse_vkey(witness.vkey)
    return signed.timestamp


async def refused(witness: WitnessService, body: bytes, kind: type[Error]) -> Error:
    with pytest.raises(kind) as told:
        await witness.add_checkpoint(body)
    return told.value


async def test_a_log_that_grows_is_cosigned(witness: WitnessService, clock: SettableClock) -> None:
    log = Log()
    for old, size in ((0, 1), (1, 1), (1, 5), (5, 8), (8, 300)):
        line = await witness.add_checkpoint(log.request(old, size))
        assert cosigned(witness, log, size, line) == int(clock.now().timestamp())
    error = await refused(witness, log.request(0, 300), KnownSizeError)
    assert isinstance(error, KnownSizeError)
    assert error.size == 300


async def test_the_key_is_its_own_and_each_names_its_own() -> None:
    assert len({key.private_bytes_raw() for key in (KEY, witness_key(KEY, "a"), witness_key(KEY, "b"))}) == 3


async def test_a_fork_is_never_cosigned(witness: WitnessService) -> None:
    log, forked = Log(), Log(fork=3)
    await witness.add_checkpoint(log.request(0, 5))
    await refused(witness, forked.request(5, 5), KnownSizeError)
    await refused(witness, forked.request(5, 9), ProofError)
    assert await witness.add_checkpoint(log.request(5, 9))


async def test_a_log_never_goes_back(witness: WitnessService) -> None:
    log = Log()
    await witness.add_checkpoint(log.request(0, 9))
    for old in (0, 3, 5):
        assert (await refused(witness, log.request(old, 5), KnownSizeError)).status == 409
    await refused(witness, log.request(9, 5), InputError)


async def test_a_lie_about_the_old_size_gains_nothing(witness: WitnessService) -> None:
    log, forked = Log(), Log(fork=3)
    await witness.add_checkpoint(log.request(0, 5))
    for old in (0, 1, 3, 4, 6, 9):
        assert (await refused(witness, forked.request(old, 9), KnownSizeError)).status == 409
    # a proof that is whole, but from another size than it says
    proof = prove_consistency(3, 9, forked.node)
    await refused(witness, request(5, proof, forked.note(9)), ProofError)


async def test_of_two_requests_at_once_one_is_done_and_no_fork_is_cosigned(witness: WitnessService) -> None:
    log, forked = Log(), Log(fork=5)
    await witness.add_checkpoint(log.request(0, 5))
    bodies = [log.request(5, 9), forked.request(5, 9), log.request(5, 7), forked.request(5, 8)] * 3
    answers = await asyncio.gather(*map(witness.add_checkpoint, bodies), return_exceptions=True)
    lines = {bodies[at] for at, answer in enumerate(answers) if isinstance(answer, bytes)}
    assert len(lines) == 1
    assert all(isinstance(answer, bytes | KnownSizeError | ProofError) for answer in answers)


async def test_only_the_logs_own_signature_counts(witness: WitnessService) -> None:
    stranger = Log(seed=2)
    await refused(witness, stranger.request(0, 5), SignatureError)
    note = Log().note(5)
    await refused(witness, request(0, [], note.replace(b"\n5\n", b"\n6\n")), SignatureError)
    other = NoteSigner("other.example", Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32))
    body = request(0, [], other.sign(Checkpoint("other.example", 1, bytes(32)).text()))
    assert (await refused(witness, body, UnknownOriginError)).status == 404
    extra = Log().note(5) + stranger.note(5).rpartition(b"\n\n")[2]
    assert await witness.add_checkpoint(request(0, [], extra))


async def test_the_empty_tree_and_extension_lines(witness: WitnessService) -> None:
    log = Log()
    lying = log.signer.sign(Checkpoint(ORIGIN, 0, bytes(32)).text())
    await refused(witness, request(0, [], lying), ProofError)
    empty = log.signer.sign(Checkpoint(ORIGIN, 0, EMPTY_ROOT).text())
    assert await witness.add_checkpoint(request(0, [], empty))
    await refused(witness, request(0, [bytes(32)], log.note(5)), ProofError)
    assert await witness.add_checkpoint(log.request(0, 5))
    line = await witness.add_checkpoint(log.request(5, 5, "an extension"))
    note = log.note(5, "an extension") + line
    assert open_checkpoint(note, log.signer.verifier, [parse_vkey(witness.vkey)])[1]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 0",
        b"old 0\n\n",
        b"old 00\n\n" + Log().note(1),
        b"old -1\n\n" + Log().note(1),
        b"old 9999999999999999999999\n\n" + Log().note(1),
        b"Old 0\n\n" + Log().note(1),
        b"old 0\r\n\r\n" + Log().note(1),
        b"old 0\n" + Log().note(1),
        b"old 0\nAAAA\n\n" + Log().note(1),
        b"old 0\n\xff\n\n" + Log().note(1),
        request(0, [bytes(32)] * 64, Log().note(1)),
        b"old 0\n\n" + Log().note(1) + b"\n",
        b"old 0\n\nlog.example\n1\n",
    ],
)
async def test_what_is_no_request(witness: WitnessService, body: bytes) -> None:
    assert (await refused(witness, body, InputError)).status == 400


async def test_what_was_cosigned_outlives_the_process(witness: WitnessService, storage: Storage) -> None:
    log = Log()
    await witness.add_checkpoint(log.request(0, 5))
    again = make_witness(storage, KEY, NAME, [str(log.signer.verifier)])
    assert again.vkey == witness.vkey
    await refused(again, Log(fork=2).request(0, 5), KnownSizeError)
    assert await again.add_checkpoint(log.request(5, 6))


def test_a_witness_of_something_that_is_no_log_is_not_made(storage: Storage) -> None:
    for name, logs in (("has space", []), (NAME, ["nonsense"]), (NAME, [parse_vkey(str(Log().signer.verifier)).name])):
        with pytest.raises(InputError):
            make_witness(storage, KEY, name, logs)
