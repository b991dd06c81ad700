"""Sign-on with Okta: an organisation's own authorization server, or a custom one of it."""

import re
from collections.abc import Mapping
from typing import Any, Final

from everproof.identity.sign_on.kinds import AssertionAudience, Written, listed_groups, named_subject
from everproof.kernel.errors import InputError

CUT_OFF: Final = 100
"""Okta leaves out what is beyond this many groups, and says nothing of it: so many may always be more."""

_ISSUER: Final = re.compile(r"https://[^/]+(/oauth2/[A-Za-z0-9]+)?")


class OktaSignOn:
    """The provider kind ``okta``. Its ``sub`` is the id of the user, which never changes (``00u…``)."""

    name = "okta"
    title = "Okta"
    fields: frozenset[str] = frozenset()
    says_groups = True
    asks_by_claims = False
    assertion_audience: AssertionAudience = "token-endpoint"

    def issuer(self, written: Written, *, place: str) -> str:
        """As in ``ProviderKind``: the address of the organisation, or that with ``/oauth2/`` and a server's id."""
        if _ISSUER.fullmatch(written.issuer) is None:
            raise InputError(
                "not the issuer of an Okta authorization server", place=f"{place}: issuer",
                todo="copy it from Security > API > Authorization Servers, or write https:// and your Okta domain",
            )  # fmt: skip
        if written.issuer.partition("//")[2].partition("/")[0].partition(".")[0].endswith("-admin"):
            raise InputError("the address of the console, which issues nothing", place=f"{place}: issuer")
        return written.issuer

    def check_claims(self, written: Written, claims: Mapping[str, Any]) -> None:
        """As in ``ProviderKind``: an issuer of Okta's is one organisation's alone."""

    def subject(self, claims: Mapping[str, Any]) -> str:
        """As in ``ProviderKind``."""
        return named_subject(claims)

    def groups(self, claims: Mapping[str, Any], claim: str) -> tuple[str, ...] | None:
        """As in ``ProviderKind``: a list that may have been cut off is none."""
        found = listed_groups(claims, claim)
        return None if found is None or len(found) >= CUT_OFF else found
