"""Sign-on with Microsoft Entra ID: one tenant, and the object id of a person in it.

``sub`` is another one for each application there, and ``email``, ``preferred_username`` and ``upn`` are whatever a
tenant's administrator writes: none of them says who somebody is.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from everproof.identity.jose import JoseError
from everproof.identity.sign_on.kinds import AssertionAudience, Written, listed_groups, named_subject
from everproof.kernel.errors import InputError

TEMPLATE: Final = "https://login.microsoftonline.com/{tenant}/v2.0"
PERSONAL: Final = "9188040d-6c67-4c5b-b112-36a304b66dad"
"""The tenant of everybody's private accounts."""

_GUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class EntraSignOn:
    """The provider kind ``entra``."""

    name = "entra"
    title = "Microsoft Entra ID"
    fields: frozenset[str] = frozenset({"tenant"})
    says_groups = True
    asks_by_claims = False
    assertion_audience: AssertionAudience = "token-endpoint"

    def issuer(self, written: Written, *, place: str) -> str:
        """As in ``ProviderKind``: that of the tenant, in the global cloud unless another is written."""
        if _GUID.fullmatch(written.tenant) is None or written.tenant == PERSONAL:
            raise InputError(
                "not the id of an organisation's tenant", place=f"{place}: tenant",
                todo="copy Directory (tenant) ID from the overview of the app registration; common and organizations"
                " are doors to every tenant there is",
            )  # fmt: skip
        issuer = written.issuer or TEMPLATE.format(tenant=written.tenant)
        if re.fullmatch(rf"https://[^/]+/{written.tenant}/v2\.0", issuer) is None:
            raise InputError("not the issuer of this tenant", place=f"{place}: issuer", todo="leave it out")
        return issuer

    def check_claims(self, written: Written, claims: Mapping[str, Any]) -> None:
        """As in ``ProviderKind``: the tenant is ours."""
        if claims.get("tid") != written.tenant:
            raise JoseError("a token of another tenant", place="claims.tid")
        if claims.get("ver") != "2.0":
            raise JoseError("not a token of version 2.0", place="claims.ver")

    def subject(self, claims: Mapping[str, Any]) -> str:
        """As in ``ProviderKind``: the object id (``oid``), the same for every application of the tenant."""
        found = named_subject(claims, "oid")
        if _GUID.fullmatch(found) is None:
            raise JoseError("not an object id", place="claims.oid")
        return found

    def groups(self, claims: Mapping[str, Any], claim: str) -> tuple[str, ...] | None:
        """As in ``ProviderKind``: where there are more than fit, the token says that and none of them."""
        elsewhere = claims.get("_claim_names")
        if "hasgroups" in claims or (type(elsewhere) is dict and claim in elsewhere):
            return None
        return listed_groups(claims, claim)
