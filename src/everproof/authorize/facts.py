"""Facts: what is known about a request beyond what it says of itself. A source that fails leaves its fact absent."""

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol

from everproof.kernel.words import Action, Fact, Proof, Resource

SOURCE = "proof"
"""The source of the facts that the proof itself shows."""


class FactSource(Protocol):
    """Something that knows. Called on the decision path: it looks into memory, never into storage or the network."""

    @property
    def name(self) -> str:
        """What it is called in the records of decisions."""
        ...

    @property
    def says(self) -> frozenset[str]:
        """The names of all facts that it may ever give: what a policy looks at beside them, it cannot change."""
        ...

    def facts(self, proof: Proof, action: Action, resource: Resource, at: datetime) -> Iterable[Fact]:
        """What is known about this request; nothing where nothing is known."""
        ...


def facts_of_proof(proof: Proof, at: datetime) -> tuple[Fact, ...]:
    """How the principal was proven, how long ago, whether with a key, for which stage, and who vouches for it."""
    facts: tuple[Fact, ...] = (
        Fact("proof_kind", proof.kind, proof.at, SOURCE),
        Fact("proof_age", max(0, int((at - proof.at).total_seconds())), at, SOURCE),
        Fact("key_bound", proof.key is not None, proof.at, SOURCE),
    )
    if stage := proof.claims.get("stage"):
        facts = (*facts, Fact("stage", stage, proof.at, SOURCE))
    if proof.vouched_by is None:
        return facts
    return (*facts, Fact("asked_by", entity(proof.vouched_by.type, proof.vouched_by.id), proof.at, SOURCE))


def entity(type_: str, id_: str) -> dict[str, dict[str, str]]:
    """An entity as a value of a fact, in Cedar's JSON form."""
    return {"__entity": {"type": type_, "id": id_}}
