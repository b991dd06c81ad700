"""The body of a decision's ledger entry: all that replay needs to come to the same bytes."""

import msgspec

from everproof.kernel.words import Attributes, Mode, Proof, Ref


class DecisionRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One decision as it is recorded. ``decision`` is allow, deny, or would_deny where the door only observes."""

    decision: str
    principal: Ref
    action: str
    resource: Ref
    proof: "ProofRecord"
    context: msgspec.Raw
    entities: msgspec.Raw
    sources: tuple[tuple[str, str], ...]
    bundle: str
    engine: str
    reasons: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    refusal: str | None = None
    shadow: tuple[str, ...] = ()
    mode: Mode = "enforce"
    request: str | None = None
    detail: Attributes = msgspec.field(default_factory=dict)


class ProofRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept of a proof: how, by which credential and key, with which claims; never the token."""

    kind: str
    credential: str | None = None
    key: str | None = None
    vouched_by: Ref | None = None
    claims: Attributes = msgspec.field(default_factory=dict)


def record_of(proof: Proof) -> ProofRecord:
    """What is kept of ``proof``."""
    return ProofRecord(proof.kind, proof.credential, proof.key, proof.vouched_by, proof.claims)
