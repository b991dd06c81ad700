"""Bitbucket Pipelines: what the token of a step says, and what a binding for it must ask.

The issuer's address names the workspace, a name that can change hands; the UUIDs do not. ``sub`` is another one for
each step. Claims: support.atlassian.com, "Integrate Pipelines with resource servers using OIDC".
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from everproof.identity.claims import ClaimRules
from everproof.identity.conditions import Condition
from everproof.identity.issuers import require_own_audience
from everproof.identity.jose import JoseError
from everproof.integrations.immutable_ids import BRACED_UUID, attributes_of, require_ids
from everproof.kernel.errors import InputError
from everproof.kernel.words import Attributes

ISSUER: Final = re.compile(r"https://api\.bitbucket\.org/2\.0/workspaces/[^/]+/pipelines-config/identity/oidc")
IDS: Final = ("workspaceUuid", "repositoryUuid")
PLACES: Final = frozenset({"deploymentEnvironmentUuid", "branchName"})

RULES: Final = ClaimRules(
    required=frozenset({"sub", *IDS, "pipelineUuid", "stepUuid"}),
    optional=PLACES | {"pipelineRunUuid", "stepRunUuid"},
)
_ATTRIBUTES: Final = {
    "subject": "sub",
    "repository_id": "repositoryUuid",
    "repository_owner_id": "workspaceUuid",
    "ref": "branchName",
    "environment": "deploymentEnvironmentUuid",
    "run": "pipelineUuid",
}


class BitbucketPipelines:
    """The issuer kind ``bitbucket``."""

    name = "bitbucket"
    proof = "ci-token"
    rules = RULES
    caseless: frozenset[str] = frozenset()
    index = "repositoryUuid"

    def check_issuer(self, url: str, audience: str, *, place: str) -> None:
        """As in ``IssuerKind``: a workspace's issuer, and not the audience that all its steps have by default."""
        if ISSUER.fullmatch(url) is None:
            raise InputError(
                "Bitbucket has no issuer of this form",
                place=f"{place}.url",
                todo="copy the identity provider URL from Repository settings, Pipelines, OpenID Connect",
            )
        require_own_audience(audience, place=place)
        if audience.startswith("ari:cloud:bitbucket::"):
            raise InputError(
                "every step of that workspace has tokens with this audience by default",
                place=f"{place}.audience",
                todo="choose this server's own address, and name it under oidc: audiences",
            )

    def tenant_claims(self, url: str) -> tuple[str, ...]:  # noqa: ARG002 - names can be taken over anywhere
        """The UUIDs of workspace and repository."""
        return IDS

    def complete(self, url: str, conditions: Mapping[str, Condition], *, place: str) -> Mapping[str, Condition]:  # noqa: ARG002 - the interface's
        """As in ``IssuerKind``: a branch or an environment, since any branch's pipeline has a token."""
        require_ids(conditions, (*IDS, "deploymentEnvironmentUuid"), BRACED_UUID, place=place)
        if "sub" in conditions:
            raise InputError("is another one for each step", place=f"{place}: claims.sub", todo="ask for UUIDs")
        if not any(name in conditions and not conditions[name].absent for name in PLACES):
            raise InputError(
                "would trust whoever may push any branch",
                place=f"{place}: claims",
                todo="ask for branchName, or for deploymentEnvironmentUuid",
            )
        return conditions

    def check_claims(self, claims: Mapping[str, Any]) -> None:
        """As in ``IssuerKind``: ``sub`` begins with the repository and ends with the step."""
        parts = str(claims["sub"]).split(":")
        if (parts[0], parts[-1]) != (claims["repositoryUuid"], claims["stepUuid"]):
            raise JoseError("sub and the other claims name different repositories or steps", place="claims.sub")

    def attributes(self, claims: Mapping[str, Any]) -> Attributes:
        """As in ``IssuerKind``."""
        return attributes_of(claims, self.name, _ATTRIBUTES)
