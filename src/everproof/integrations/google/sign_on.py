"""Sign-on with Google: accounts of an organisation's own domains, and nobody else's."""

from collections.abc import Mapping
from typing import Any, Final

from everproof.identity.jose import JoseError
from everproof.identity.sign_on.kinds import AssertionAudience, Written, named_subject

ISSUER: Final = "https://accounts.google.com"


class GoogleSignOn:
    """The provider kind ``google``. Its ``sub`` is the account's number, which never changes and is never given again.

    Everybody has an account there, so a token counts only with ``hd``: the domain whose administrators manage the
    account. The domain of the address says nothing: anyone may open a private account under an address of yours.
    """

    name = "google"
    title = "Google"
    fields: frozenset[str] = frozenset({"hosted_domains"})
    says_groups = False
    asks_by_claims = True
    assertion_audience: AssertionAudience = "issuer"

    def issuer(self, written: Written, *, place: str) -> str:  # noqa: ARG002 - the interface's
        """As in ``ProviderKind``."""
        return written.issuer or ISSUER

    def check_claims(self, written: Written, claims: Mapping[str, Any]) -> None:
        """As in ``ProviderKind``: the account is managed by one of the organisation's domains."""
        domain = claims.get("hd")
        if type(domain) is not str or domain.lower() not in written.hosted_domains:
            raise JoseError("not an account of the organisation", place="claims.hd")

    def subject(self, claims: Mapping[str, Any]) -> str:
        """As in ``ProviderKind``."""
        return named_subject(claims)

    def groups(self, claims: Mapping[str, Any], claim: str) -> tuple[str, ...] | None:  # noqa: ARG002 - the interface's
        """As in ``ProviderKind``: never said."""
        return None
