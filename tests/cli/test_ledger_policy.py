"""`everproof ledger verify FILE --policy FILE`: no server, no state, only public keys."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from everproof.ledger.checkpoint import Checkpoint
from everproof.ledger.commitment import DOMAIN, commit
from everproof.ledger.merkle import leaf_hash
from everproof.ledger.note import Cosigner, NoteSigner
from everproof.ledger.proof import Proof
from tests.cli.run import Home

LOG = NoteSigner("log.example", Ed25519PrivateKey.generate())
WITNESSES = [Cosigner(f"witness.example/{name}", Ed25519PrivateKey.generate()) for name in "ab"]


def test_the_quorum_is_verified_offline(home: Home, tmp_path: Path) -> None:
    opening = DOMAIN + bytes(32) + b'{"id":"ent_1"}'
    checkpoint = Checkpoint("log.example", 1, leaf_hash(commit(opening)))
    note = LOG.sign(checkpoint.text())
    lines = [one.cosign(checkpoint.text(), timestamp=1_700_000_000).line().encode() for one in WITNESSES]
    policy = tmp_path / "policy"
    names = "".join(f"witness {name} {one.verifier}\n" for name, one in zip("ab", WITNESSES, strict=True))
    policy.write_text(f"log {LOG.verifier}\n{names}group both all a b\nquorum both\n")
    for name, cosigned, holds in (("two", note + lines[0] + lines[1], True), ("one", note + lines[0], False)):
        (tmp_path / name).write_bytes(cosigned)
        (tmp_path / f"{name}.tlog-proof").write_bytes(Proof(0, (), cosigned, opening).encode())
        for file in (name, f"{name}.tlog-proof"):
            done = home.everproof("ledger", "verify", str(tmp_path / file), "--policy", str(policy))
            assert (done.returncode == 0) is holds, done.stderr
            if holds:
                assert "witness.example/a at 2023-11-14 22:13:20" in done.stdout
            else:
                assert "not the quorum" in done.stderr
