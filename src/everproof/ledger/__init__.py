"""The record of everything: entries behind a Merkle tree, signed checkpoints, proofs that strangers verify."""

from everproof.ledger.log import TOPIC, Grown, Ledger, Receipt
from everproof.ledger.merkle import ProofError
from everproof.ledger.note import Verifier, parse_vkey
from everproof.ledger.proof import Proven, verify_proof
from everproof.ledger.rollback import RollbackError
from everproof.ledger.verify import Problem, Verification, verify_ledger
from everproof.ledger.view import ChangedError, LedgerView, Opened, Recorded, Resource

__all__ = [
    "TOPIC",
    "ChangedError",
    "Grown",
    "Ledger",
    "LedgerView",
    "Opened",
    "Problem",
    "ProofError",
    "Proven",
    "Receipt",
    "Recorded",
    "Resource",
    "RollbackError",
    "Verification",
    "Verifier",
    "parse_vkey",
    "verify_ledger",
    "verify_proof",
]
