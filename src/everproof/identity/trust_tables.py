"""The tables of a trust file as they stand in TOML; `everproof.identity.bindings` makes sense of them."""

from typing import Annotated, Final, Literal

import msgspec

from everproof.identity.certificate_trust import AuthorityTable, SpiffeTable
from everproof.identity.conditions import Wanted
from everproof.identity.jose import Algorithm

MAX_AGE_SECONDS: Final = 3600
"""No token is taken that was issued longer ago, however long its issuer lets it live."""


Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,99}$")]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]


class IssuerTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[issuer]``. ``tenant_claims`` names the immutable ids of an issuer that strangers use too."""

    url: Text
    audience: Text
    type: Name = "oidc"
    algorithms: Annotated[tuple[Algorithm, ...], msgspec.Meta(min_length=1)] = ("RS256",)
    max_age_seconds: Annotated[int, msgspec.Meta(ge=1, le=MAX_AGE_SECONDS)] = MAX_AGE_SECONDS
    tenant_claims: tuple[Name, ...] = ()


class BindingTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[binding]]``. ``id`` and the texts of ``attributes`` are templates over claims."""

    name: Name
    id: Text
    claims: dict[str, Wanted]
    principal: Literal["Job", "Service", "Machine", ""] = ""
    """Unless it says so, a token makes a job, and a certificate a service."""
    groups: tuple[Name, ...] = ()
    space: Name = "main"
    attributes: dict[Name, Text | bool] = {}


class TrustFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file: an issuer of tokens, a SPIFFE trust domain, or an authority of certificates."""

    binding: Annotated[tuple[BindingTable, ...], msgspec.Meta(min_length=1)]
    issuer: IssuerTable | None = None
    spiffe: SpiffeTable | None = None
    x509: AuthorityTable | None = None
