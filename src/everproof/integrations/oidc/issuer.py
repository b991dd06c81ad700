"""A strict OpenID Connect issuer of any make: its claims are its owner's choice, and nothing is implied but caution."""

import re
from collections.abc import Mapping
from typing import Any, Final

from everproof.identity.claims import ClaimRules
from everproof.identity.conditions import Condition
from everproof.identity.issuers import require_own_audience
from everproof.identity.jose import JoseError
from everproof.kernel.errors import InputError
from everproof.kernel.words import Attributes

ELSEWHERE: Final = {
    "github": re.compile(r"https://token\.actions\.(githubusercontent\.com|[a-z0-9-]+\.ghe\.com)(/.*)?"),
    "gitlab": re.compile(r"https://gitlab\.com/?"),
    "circleci": re.compile(r"https://oidc\.circleci\.com/.*"),
    "buildkite": re.compile(r"https://agent\.buildkite\.com/?"),
    "bitbucket": re.compile(r"https://api\.bitbucket\.org/.*"),
    "azure": re.compile(r"https://vstoken\.dev\.azure\.com/.*"),
}
"""Issuers whose tokens have traps that a kind of their own knows about."""
GITLABS_OWN: Final = frozenset({"project_path", "pipeline_source", "job_id"})
"""What tells the token of a GitLab at an address of one's own."""
ANYONE: Final = re.compile(r"https://login\.microsoftonline\.com/(common|organizations|consumers)(/.*)?")
"""Not one issuer but a door to thousands."""

SHARED: Final = {
    "https://accounts.google.com": ("sub",),
    "https://oauth2.sigstore.dev/auth": ("sub",),
    "https://app.terraform.io": ("terraform_organization_id", "terraform_workspace_id"),
    "https://oidc.vercel.com": ("owner_id", "project_id"),
}
"""Issuers that strangers have tokens of, and the ids that never change hands."""


class OpenIdIssuer:
    """The issuer kind ``oidc``."""

    name = "oidc"
    proof = "oidc-token"
    rules = ClaimRules(required=frozenset({"sub"}), open=True)
    caseless: frozenset[str] = frozenset()
    index = "sub"

    def check_issuer(self, url: str, audience: str, *, place: str) -> None:
        """As in ``IssuerKind``: one issuer, and not one that has a kind of its own."""
        for kind, issuer in ELSEWHERE.items():
            if issuer.fullmatch(url):
                raise InputError("its tokens need more care", place=f"{place}.type", todo=f'write type = "{kind}"')
        if ANYONE.fullmatch(url):
            raise InputError(
                "anyone's tenant is behind this address",
                place=f"{place}.url",
                todo="use the address with your tenant id",
            )
        require_own_audience(audience, place=place)

    def tenant_claims(self, url: str) -> tuple[str, ...]:
        """The ids of a shared issuer that is known; others are named in the file (``tenant_claims``)."""
        return SHARED.get(url, ())

    def complete(self, url: str, conditions: Mapping[str, Condition], *, place: str) -> Mapping[str, Condition]:  # noqa: ARG002 - the interface's
        """As in ``IssuerKind``: an address of e-mail counts only where the issuer has verified it."""
        if "email" in conditions and "email_verified" not in conditions:
            return {**conditions, "email_verified": Condition(values=frozenset({"true"}))}
        return conditions

    def check_claims(self, claims: Mapping[str, Any]) -> None:
        """As in ``IssuerKind``: there is a subject, and no trap that another kind knows about."""
        if claims.keys() >= GITLABS_OWN:
            raise JoseError(
                "GitLab's tokens need more care", place="claims", todo='write type = "gitlab" in the trust file'
            )
        if not isinstance(claims["sub"], str) or not claims["sub"]:
            raise JoseError("must name somebody", place="claims.sub")

    def attributes(self, claims: Mapping[str, Any]) -> Attributes:
        """As in ``IssuerKind``."""
        return {"issuer": claims["iss"], "subject": claims["sub"]}
