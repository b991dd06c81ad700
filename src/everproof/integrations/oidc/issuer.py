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

ELSEWHERE: Final = re.compile(r"https://token\.actions\.(githubusercontent\.com|[a-z0-9-]+\.ghe\.com)(/.*)?")
"""Issuers whose tokens have traps that a kind of their own knows about."""
ANYONE: Final = re.compile(r"https://login\.microsoftonline\.com/(common|organizations|consumers)(/.*)?")
"""Not one issuer but a door to thousands."""

SHARED: Final = {
    "https://gitlab.com": ("namespace_id", "project_id"),
    "https://agent.buildkite.com": ("organization_id", "pipeline_id"),
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
        if ELSEWHERE.fullmatch(url):
            raise InputError("GitHub's tokens need more care", place=f"{place}.type", todo='write type = "github"')
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
        """As in ``IssuerKind``: there is a subject."""
        if not isinstance(claims["sub"], str) or not claims["sub"]:
            raise JoseError("must name somebody", place="claims.sub")

    def attributes(self, claims: Mapping[str, Any]) -> Attributes:
        """As in ``IssuerKind``."""
        return {"issuer": claims["iss"], "subject": claims["sub"]}
