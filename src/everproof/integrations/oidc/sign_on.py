"""Sign-on with any OpenID Connect provider that is the organisation's own."""

import re
from collections.abc import Mapping
from typing import Any, Final

from everproof.identity.sign_on.kinds import AssertionAudience, Written, listed_groups, named_subject
from everproof.kernel.errors import InputError

ELSEWHERE: Final = {
    "entra": re.compile(
        r"https://(login\.microsoftonline\.(com|us)|login\.partner\.microsoftonline\.cn|sts\.windows\.net)/.*"
    ),
    "google": re.compile(r"https://accounts\.google\.com/?"),
    "okta": re.compile(r"https://[a-z0-9-]+\.(okta|oktapreview|okta-emea)\.com(/.*)?"),
}
"""Providers that have a kind of their own, which knows what strangers can say there."""


class OpenIdSignOn:
    """The provider kind ``oidc``: whatever its owner has made of it, by the standard's own words."""

    name = "oidc"
    title = "Single sign-on"
    fields: frozenset[str] = frozenset()
    says_groups = True
    asks_by_claims = False
    assertion_audience: AssertionAudience = "issuer"

    def issuer(self, written: Written, *, place: str) -> str:
        """As in ``ProviderKind``: one that has no kind of its own."""
        for kind, theirs in ELSEWHERE.items():
            if theirs.fullmatch(written.issuer):
                raise InputError(
                    "its tokens need more care", place=f"{place}: provider", todo=f'write provider = "{kind}"'
                )
        return written.issuer

    def check_claims(self, written: Written, claims: Mapping[str, Any]) -> None:
        """As in ``ProviderKind``: an issuer that has no tenants has no strangers."""

    def subject(self, claims: Mapping[str, Any]) -> str:
        """As in ``ProviderKind``."""
        return named_subject(claims)

    def groups(self, claims: Mapping[str, Any], claim: str) -> tuple[str, ...] | None:
        """As in ``ProviderKind``."""
        return listed_groups(claims, claim)
