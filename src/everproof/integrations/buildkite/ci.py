"""Buildkite: what the token of a job says, and what a binding for it must ask.

Every organisation has the same issuer, and slugs can be taken over, so the ids are wanted; a job has to ask for them
(``--claim organization_id --claim pipeline_id``). Claims: buildkite.com/docs, "buildkite-agent oidc".
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from everproof.identity.claims import ClaimRules
from everproof.identity.conditions import Condition
from everproof.identity.issuers import require_own_audience
from everproof.identity.jose import JoseError
from everproof.integrations.immutable_ids import UUID, attributes_of, require_ids, with_implied
from everproof.kernel.errors import InputError
from everproof.kernel.words import Attributes

ISSUER: Final = "https://agent.buildkite.com"
IDS: Final = ("organization_id", "pipeline_id")
SOURCES: Final = frozenset({"webhook", "schedule", "ui"})
"""Not among them: ``trigger_job``, which another pipeline started, and ``api``, whoever has a token."""
SUBJECT: Final = re.compile(r"organization:([^:]+):pipeline:([^:]+):ref:.*", re.DOTALL)

RULES: Final = ClaimRules(
    required=frozenset(
        {"sub", "organization_slug", "pipeline_slug", *IDS, "build_number", "build_commit", "build_source", "job_id"}
    ),
    optional=frozenset(
        {
            "agent_id", "build_branch", "build_id", "build_tag", "cluster_id", "cluster_name", "queue_id", "queue_key",
            "runner_environment", "step_key",
        }
    ),
    prefixes=("agent_tag:",),
)  # fmt: skip
_ATTRIBUTES: Final = {
    "subject": "sub",
    "repository": "pipeline_slug",
    "repository_id": "pipeline_id",
    "repository_owner": "organization_slug",
    "repository_owner_id": "organization_id",
    "ref": "build_branch",
    "commit": "build_commit",
    "event": "build_source",
    "workflow": "step_key",
    "runner": "runner_environment",
    "run": "build_number",
}


class Buildkite:
    """The issuer kind ``buildkite``."""

    name = "buildkite"
    proof = "ci-token"
    rules = RULES
    caseless: frozenset[str] = frozenset()
    index = "pipeline_id"

    def check_issuer(self, url: str, audience: str, *, place: str) -> None:
        """As in ``IssuerKind``: the one issuer, and not an audience that jobs have by default."""
        if url != ISSUER:
            raise InputError(f"Buildkite's issuer is {ISSUER}", place=f"{place}.url")
        require_own_audience(audience, place=place)
        if audience.lower().startswith("https://buildkite.com/"):
            raise InputError(
                "every job of that organisation has tokens with this audience by default",
                place=f"{place}.audience",
                todo="choose this server's own address: buildkite-agent oidc request-token --audience",
            )

    def tenant_claims(self, url: str) -> tuple[str, ...]:  # noqa: ARG002 - there is one
        """The ids of organisation and pipeline."""
        return IDS

    def complete(self, url: str, conditions: Mapping[str, Condition], *, place: str) -> Mapping[str, Condition]:  # noqa: ARG002 - the interface's
        """As in ``IssuerKind``: builds that nobody outside the pipeline has started."""
        require_ids(conditions, IDS, UUID, place=place)
        if "sub" in conditions:
            raise InputError("is made of slugs, which can be taken over", place=f"{place}: claims.sub")
        return with_implied(conditions, {"build_source": Condition(values=SOURCES)})

    def check_claims(self, claims: Mapping[str, Any]) -> None:
        """As in ``IssuerKind``: ``sub`` agrees, and the branch is not a fork's."""
        found = SUBJECT.fullmatch(claims["sub"]) if isinstance(claims["sub"], str) else None
        if found is not None and (found[1], found[2]) != (claims["organization_slug"], claims["pipeline_slug"]):
            raise JoseError("sub and the other claims name different pipelines", place="claims.sub")
        if ":" in str(claims.get("build_branch") or ""):
            raise JoseError("a branch of a fork", place="claims.build_branch")

    def attributes(self, claims: Mapping[str, Any]) -> Attributes:
        """As in ``IssuerKind``."""
        return attributes_of(claims, self.name, _ATTRIBUTES)
