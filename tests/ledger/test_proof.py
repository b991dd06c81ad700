import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from everproof.kernel.errors import ConflictError, Error, InputError, NotFoundError
from everproof.kernel.words import Entry
from everproof.ledger import ProofError, Verifier, verify_proof
from everproof.ledger.checkpoint import Checkpoint
from everproof.ledger.commitment import DOMAIN, commit
from everproof.ledger.merkle import leaf_hash
from everproof.ledger.note import COSIGNATURE_V1, NoteSigner, Signature, SignatureError, make_verifier, parse_note
from everproof.ledger.proof import Proof, parse_proof
from tests.ledger.conftest import House, entry

DOCUMENT = Path(__file__).parents[2] / "docs" / "ledger.md"
WITNESS_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
WITNESS = make_verifier("witness.test", WITNESS_KEY.public_key(), COSIGNATURE_V1)


class Made:
    """Proofs of one entry of a log of nine, with the entry in it and without."""

    def __init__(self, house: House) -> None:
        house.append(9)
        self.entry = house.ledger.read(6)
        self.vkey = house.ledger.vkey
        self.log = house.log
        self.disclosed, self.closed = asyncio.run(self._prove(house))

    async def _prove(self, house: House) -> tuple[bytes, bytes]:
        await house.storage.start()
        try:
            return await house.ledger.prove(6, disclose=True), await house.ledger.prove(6)
        finally:
            await house.storage.stop()


@pytest.fixture
def made(house: House) -> Made:
    return Made(house)


def test_a_proof_shows_the_entry_to_whom_it_is_disclosed_and_nothing_of_it_to_others(made: Made) -> None:
    disclosed, closed = verify_proof(made.disclosed, made.log), verify_proof(made.closed, made.log)
    assert msgspec.json.decode(disclosed.entry or b"", type=Entry) == made.entry
    assert closed.entry is None
    assert closed.commitment == disclosed.commitment
    assert (closed.index, closed.checkpoint.size) == (6, 9)
    assert parse_proof(made.disclosed).encode() == made.disclosed


def test_a_proof_with_any_byte_changed_is_refused(made: Made) -> None:
    for proof in (made.disclosed, made.closed):
        for at in range(len(proof)):
            changed = proof[:at] + bytes([proof[at] ^ 1]) + proof[at + 1 :]
            with pytest.raises(Error):
                verify_proof(changed, made.log)
            with pytest.raises(Error):
                verify_proof(proof[:at], made.log)


def test_the_entry_of_another_proof_is_refused(made: Made) -> None:
    proof = parse_proof(made.disclosed)
    forged = (proof.extra or b"").replace(b'"did":"this"', b'"did":"that"')
    assert forged != proof.extra
    with pytest.raises(ProofError, match="another root"):
        verify_proof(msgspec.structs.replace(proof, extra=forged).encode(), made.log)
    with pytest.raises(ProofError, match="proof of"):
        verify_proof(msgspec.structs.replace(proof, extra=None).encode(), made.log)
    with pytest.raises(InputError, match="opening"):
        verify_proof(msgspec.structs.replace(proof, extra=DOMAIN).encode(), made.log)


def test_a_checkpoint_signed_by_another_key_is_refused(made: Made) -> None:
    stranger = NoteSigner(made.log.name, WITNESS_KEY)
    proof = parse_proof(made.closed)
    forged = stranger.sign(parse_note(proof.checkpoint).text)
    with pytest.raises(SignatureError):
        verify_proof(msgspec.structs.replace(proof, checkpoint=forged).encode(), made.log)


CHANGES = [
    (b"@v1\n", b"@v2\n"),
    (b"\nindex 6\n", b"\nindex 06\n"),
    (b"\nindex 6\n", b"\nindex -6\n"),
    (b"\nindex 6\n", b"\nINDEX 6\n"),
    (b"\nindex 6\n", b"\n"),
    (b"\nindex 6\n", b"\r\nindex 6\r\n"),
    (b"\nindex 6\n", b"\nindex 6\nindex 6\n"),
    (b"\nindex 6\n", b"\nindex 6\nAAAA\n"),
    (b"\nindex 6\n", b"\nindex 6" + b"\n" + b"\n".join([b"A" * 43 + b"="] * 64) + b"\n"),
    (b"\nextra ", b"\nextra  "),
    (b"\nextra ", b"\nextra AAAA\nextra "),
    (b"c2sp", b"\xffc2sp"),
    (b"c2sp", b" " * (1 << 24) + b"c2sp"),
]


@pytest.mark.parametrize("change", range(len(CHANGES)))
def test_a_proof_in_any_other_form_is_refused(change: int) -> None:
    log = NoteSigner("log.test", WITNESS_KEY)
    extra = commit(b"")
    note = log.sign(Checkpoint("log.test", 7, leaf_hash(extra)).text())
    proof = Proof(6, (bytes(32), bytes(32)), note, extra).encode()
    changed = proof.replace(*CHANGES[change], 1)
    assert changed != proof
    with pytest.raises(ProofError):
        parse_proof(changed)


def test_witnesses_are_asked_for_by_number(made: Made) -> None:
    proof = parse_proof(made.closed)
    text = parse_note(proof.checkpoint).text
    data = (1_700_000_000).to_bytes(8, "big") + WITNESS_KEY.sign(f"cosignature/v1\ntime 1700000000\n{text}".encode())
    line = Signature(WITNESS.name, WITNESS.id, data).line().encode()
    cosigned = msgspec.structs.replace(proof, checkpoint=proof.checkpoint + line).encode()
    assert len(verify_proof(cosigned, made.log, [WITNESS], quorum=1).witnesses) == 1
    other = Verifier("other.test", WITNESS.key, COSIGNATURE_V1)
    with pytest.raises(ProofError, match="1 of the witnesses"):
        verify_proof(cosigned, made.log, [WITNESS, other], quorum=2)
    with pytest.raises(ProofError, match="0 of the witnesses"):
        verify_proof(made.closed, made.log, [WITNESS], quorum=1)


def test_a_stranger_verifies_offline_with_nothing_of_ours_but_the_public_key(made: Made, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    script = tmp_path / "stranger.py"
    script.write_text(blocks[0])
    file = tmp_path / "entry.tlog-proof"

    def judge(proof: bytes, vkey: str) -> subprocess.CompletedProcess[str]:
        file.write_bytes(proof)
        return subprocess.run(
            [sys.executable, "-I", str(script), str(file), vkey], capture_output=True, text=True, check=False
        )

    shown = judge(made.disclosed, made.vkey)
    assert shown.returncode == 0, shown.stderr
    assert f"entry 6 of {made.log.name}" in shown.stdout
    assert json.loads(shown.stdout.splitlines()[-1])["id"] == made.entry.id
    assert judge(made.closed, made.vkey).returncode == 0
    assert judge(made.disclosed.replace(b"\nindex 6\n", b"\nindex 7\n"), made.vkey).returncode != 0
    other = str(make_verifier(made.log.name, WITNESS_KEY.public_key()))
    assert judge(made.disclosed, other).returncode != 0


async def test_what_no_checkpoint_reaches_is_not_proven(house: House) -> None:
    await house.storage.start()
    await house.ledger.publish()
    receipt = await house.ledger.record(entry(house.clock))
    with pytest.raises(ConflictError, match="last checkpoint is of 0"):
        house.ledger.proof(receipt.index)
    with pytest.raises(NotFoundError):
        house.ledger.proof(receipt.index + 1)
    await house.storage.stop()
