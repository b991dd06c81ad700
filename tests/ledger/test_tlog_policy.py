from base64 import b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from everproof.kernel.errors import InputError
from everproof.ledger.checkpoint import Checkpoint
from everproof.ledger.note import COSIGNATURE_V1, Cosigner, NoteSigner, SignatureError, Verifier, make_verifier
from everproof.ledger.tlog_policy import QuorumError, TlogPolicy, parse_policy


def private(number: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)


def witness(number: int) -> Verifier:
    return make_verifier(f"witness.example/w{number}", private(number).public_key(), COSIGNATURE_V1)


LOG = make_verifier("log.example", private(100).public_key())
LINES = "".join(f"witness w{number} {witness(number)}\n" for number in range(1, 7))


def policy(text: str) -> TlogPolicy:
    return parse_policy(text.encode())


def test_two_levels_of_groups() -> None:
    found = policy(
        f"# of two organisations\n\n log\t{LOG}  https://log.example \n{LINES}"
        "group x 2 w1 w2 w3\ngroup y any w4 w5 w6\ngroup both all x y\nquorum both\n"
    )
    assert found.logs == (LOG,)
    assert found.is_met_by([witness(1), witness(3), witness(6)])
    assert not found.is_met_by([witness(1), witness(4), witness(5), witness(6)])
    assert not found.is_met_by([witness(1), witness(2), witness(3)])
    assert not found.is_met_by([])


def test_one_witness_and_none() -> None:
    assert policy(f"{LINES}quorum w2\n").is_met_by([witness(2)])
    assert not policy(f"{LINES}quorum w2\n").is_met_by([witness(1)])
    assert policy("quorum none\n").is_met_by([])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no quorum"),
        (LINES, "no quorum"),
        (f"{LINES}quorum w1\nquorum w2\n", "one quorum"),
        (f"{LINES}quorum w9\n", "not named on a line before"),
        (f"quorum w1\n{LINES}", "not named on a line before"),
        (f"group g all w1\n{LINES}quorum g\n", "not named on a line before"),
        (f"{LINES}group g all g\nquorum g\n", "not named on a line before"),
        (f"{LINES}group g 1 none\nquorum g\n", "not named on a line before"),
        (f"{LINES}group g 1 w1 w1\nquorum g\n", "a member already"),
        (f"{LINES}group g 1 w1\ngroup h 1 w1\nquorum h\n", "a member already"),
        (f"{LINES}group w1 1 w2\nquorum w1\n", "a name already"),
        (f"{LINES}witness w1 {witness(8)}\nquorum w1\n", "a name already"),
        (f"witness none {witness(8)}\nquorum none\n", "a name already"),
        (f"{LINES}group g 0 w1\nquorum g\n", "not how many"),
        (f"{LINES}group g 3 w1 w2\nquorum g\n", "not how many"),
        (f"{LINES}group g 01 w1 w2\nquorum g\n", "not how many"),
        (f"{LINES}group g all\nquorum g\n", "not a line"),
        (f"{LINES}witness other {witness(1)}\nquorum w1\n", "counts once"),
        (
            f"{LINES}witness other {make_verifier('other', private(1).public_key(), COSIGNATURE_V1)}\nquorum w1\n",
            "counts once",
        ),
        (f"log {LOG}\nlog {make_verifier('other', private(100).public_key())}\nquorum none\n", "twice"),
        (f"log {witness(1)}\nquorum none\n", "not a log's key"),
        (f"witness w {LOG}\nquorum w\n", "not a witness's key"),
        (f"log {str(LOG)[:-2]}\nquorum none\n", "base64|verifier key"),
        ("quorum none\r\n", "control character"),
        ("quorum\x0bnone\n", "control character"),
        ("quorum\u00a0none\n", "not a line"),
        ("Quorum none\n", "not a line"),
        ("quorum none extra\n", "not a line"),
        ("log\nquorum none\n", "not a line"),
    ],
)
def test_what_is_no_policy(text: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        policy(text)


def test_names_are_octets_and_errors_name_the_line() -> None:
    kelvin = parse_policy(f"witness \u212a {witness(1)}\nquorum \u212a\n".encode())
    assert kelvin.is_met_by([witness(1)])
    with pytest.raises(InputError, match="not named") as told:
        parse_policy(f"witness \u212a {witness(1)}\nquorum K\n".encode())
    assert told.value.place == "line 2"
    assert parse_policy(b"# \xff\xfe\nquorum none").is_met_by([])


def cosigned(*numbers: int, origin: str = "log.example", forged: bool = False) -> bytes:
    text = Checkpoint(origin, 1, bytes(32)).text()
    note = NoteSigner(origin, private(100)).sign(text)
    for number in numbers:
        by = Cosigner(f"witness.example/w{number}", private(number))
        line = by.cosign(text if not forged else text.replace("\n1\n", "\n2\n"), timestamp=1_700_000_000).line()
        note += line.encode()
    return note


def test_a_checkpoint_is_taken_with_its_quorum_only() -> None:
    trusted = policy(f"log {LOG}\n{LINES}group g 2 w1 w2 w3\nquorum g\n")
    checkpoint, signed = trusted.open_checkpoint(cosigned(1, 2, 5))
    assert (checkpoint.size, len(signed)) == (1, 3)
    for note in (cosigned(1, 4), cosigned(1, 1), cosigned()):
        with pytest.raises(QuorumError, match="not the quorum"):
            trusted.open_checkpoint(note)
    with pytest.raises(SignatureError, match="does not hold"):
        trusted.open_checkpoint(cosigned(1, 2, forged=True))
    with pytest.raises(SignatureError, match="not one that is trusted"):
        trusted.open_checkpoint(cosigned(1, 2, origin="other.example"))


def test_a_cosignature_is_none_by_the_same_key_as_a_log() -> None:
    """A log's own kind of signature by a witness's key says nothing about consistency."""
    trusted = policy(f"log {LOG}\n{LINES}quorum w1\n")
    text = Checkpoint("log.example", 1, bytes(32)).text()
    plain = private(1).sign(text.encode())
    line = f"\u2014 {witness(1).name} {b64encode(witness(1).id + bytes(8) + plain).decode()}\n"
    with pytest.raises(SignatureError, match="does not hold"):
        trusted.open_checkpoint(cosigned() + line.encode())
