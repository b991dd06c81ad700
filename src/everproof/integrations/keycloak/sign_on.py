"""Sign-on with Keycloak: each realm is an issuer of its own."""

import re
from collections.abc import Mapping
from typing import Any, Final

from everproof.identity.sign_on.kinds import AssertionAudience, Written, listed_groups, named_subject
from everproof.kernel.errors import InputError

_ISSUER: Final = re.compile(r"https://[^/]+(/[A-Za-z0-9._-]+)*/realms/[A-Za-z0-9._-]+")
ADMINISTRATION: Final = "/realms/master"


class KeycloakSignOn:
    """The provider kind ``keycloak``. Its ``sub`` is the id of the user in the realm, a UUID."""

    name = "keycloak"
    title = "Keycloak"
    fields: frozenset[str] = frozenset()
    says_groups = True
    asks_by_claims = False
    assertion_audience: AssertionAudience = "issuer"

    def issuer(self, written: Written, *, place: str) -> str:
        """As in ``ProviderKind``: the address of a realm, which is not the one that Keycloak itself is run from."""
        if _ISSUER.fullmatch(written.issuer) is None:
            raise InputError(
                "not the address of a realm", place=f"{place}: issuer",
                todo="write https://HOST/realms/NAME, as Realm settings > Endpoints shows it",
            )  # fmt: skip
        if written.issuer.endswith(ADMINISTRATION):
            raise InputError(
                "the realm of those who run Keycloak", place=f"{place}: issuer", todo="make a realm for your people"
            )
        return written.issuer

    def check_claims(self, written: Written, claims: Mapping[str, Any]) -> None:
        """As in ``ProviderKind``: a realm is the organisation's own."""

    def subject(self, claims: Mapping[str, Any]) -> str:
        """As in ``ProviderKind``."""
        return named_subject(claims)

    def groups(self, claims: Mapping[str, Any], claim: str) -> tuple[str, ...] | None:
        """As in ``ProviderKind``: paths such as ``/developers`` where the mapper gives them, which it does at first."""
        return listed_groups(claims, claim)
