"""Azure DevOps: what the token of a pipeline says, and what a binding for it must ask.

Its audience is the same for every purpose, so that Azure, or whoever else was shown the token, could present it here:
what tells ours apart is that it was not bound to another key before. A token of a service connection (``sc://``) says
who may use the connection, not which pipeline runs. Claims: learn.microsoft.com, "Oidctoken - Create".
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from everproof.identity.claims import ClaimRules
from everproof.identity.conditions import Condition, text_of
from everproof.identity.jose import JoseError
from everproof.integrations.immutable_ids import NUMBER, UUID, attributes_of, require_ids, with_implied
from everproof.kernel.errors import InputError
from everproof.kernel.words import Attributes

ISSUER: Final = re.compile(rf"https://vstoken\.dev\.azure\.com/({UUID.pattern})")
AUDIENCE: Final = "api://AzureADTokenExchange"
IDS: Final = ("org_id", "prj_id", "def_id")
REFS: Final = re.compile(r"refs/(?:heads|tags)/.+", re.DOTALL)
"""Not ``refs/pull/``: what is only proposed."""

RULES: Final = ClaimRules(
    required=frozenset({"sub", *IDS, "rpo_id", "rpo_ref", "rpo_ver", "run_id"}),
    optional=frozenset({"rpo_uri"}),
)
_ATTRIBUTES: Final = {
    "subject": "sub",
    "repository": "rpo_id",
    "repository_owner_id": "org_id",
    "ref": "rpo_ref",
    "commit": "rpo_ver",
    "workflow": "def_id",
    "run": "run_id",
}


class AzurePipelines:
    """The issuer kind ``azure``."""

    name = "azure"
    proof = "ci-token"
    rules = RULES
    caseless: frozenset[str] = frozenset()
    index = "def_id"

    def check_issuer(self, url: str, audience: str, *, place: str) -> None:
        """As in ``IssuerKind``: an organisation's issuer, and the one audience there is."""
        if ISSUER.fullmatch(url) is None:
            raise InputError(
                "Azure DevOps has no issuer of this form",
                place=f"{place}.url",
                todo="use https://vstoken.dev.azure.com/ORGANIZATION_ID, with the UUID of your organisation",
            )
        if audience != AUDIENCE:
            raise InputError(f"its tokens have the audience {AUDIENCE} and no other", place=f"{place}.audience")

    def tenant_claims(self, url: str) -> tuple[str, ...]:  # noqa: ARG002 - whoever may make a pipeline is a stranger
        """The ids of organisation, project and pipeline: the audience keeps nobody out."""
        return IDS

    def complete(self, url: str, conditions: Mapping[str, Condition], *, place: str) -> Mapping[str, Condition]:  # noqa: ARG002 - the interface's
        """As in ``IssuerKind``: a branch or a tag, not what is only proposed."""
        require_ids(conditions, ("org_id", "prj_id"), UUID, place=place)
        require_ids(conditions, ("def_id",), NUMBER, place=place)
        if "sub" in conditions:
            raise InputError("is made of names, which can be taken over", place=f"{place}: claims.sub")
        return with_implied(conditions, {"rpo_ref": Condition(pattern=REFS)})

    def check_claims(self, claims: Mapping[str, Any]) -> None:
        """As in ``IssuerKind``: a pipeline's token, of the organisation whose issuer it is."""
        if not str(claims["sub"]).startswith("p://"):
            raise JoseError(
                "the token of a service connection, which many pipelines may use",
                place="claims.sub",
                todo="ask for the token without a serviceConnectionId",
            )
        issuer = ISSUER.fullmatch(claims["iss"])
        if issuer is None or issuer[1] != text_of(claims["org_id"]):
            raise JoseError("another organisation than the issuer's", place="claims.org_id")

    def attributes(self, claims: Mapping[str, Any]) -> Attributes:
        """As in ``IssuerKind``."""
        return attributes_of(claims, self.name, _ATTRIBUTES)
