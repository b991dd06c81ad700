"""Trust files for certificates: whose authorities are believed, and about whom.

    [spiffe]                              [x509]
    trust_domain = "partner.example"      name = "acme"
    bundle = "trust/partner.json"         bundle = "trust/acme.pem"

    [[binding]]                           [[binding]]
    name = "partner-billing"              name = "mainframes"
    id = "partner/{path}"                 id = "acme/{dns}"
    claims.path = "billing"               claims.dns = { glob = "*.mainframe.acme.example" }

``endpoint`` is where a trust domain publishes its bundle (SPIFFE Federation, profile ``https_web``), ``audience`` is
what its JWT-SVIDs must be for. A common name is no claim: it is a text that nobody vouches for as a name.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
from cryptography import x509

from everproof.identity.claims import ClaimRules
from everproof.identity.conditions import Condition
from everproof.identity.issuers import require_own_audience
from everproof.identity.outbound import https_url
from everproof.identity.spiffe import SCHEME, SpiffeBundle, SpiffeId, read_spiffe_bundle, trust_domain
from everproof.identity.x509 import MAX_ANCHORS, CertificateError, names_of, read_authorities, read_pem
from everproof.kernel.errors import InputError
from everproof.kernel.words import Attributes

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]

NO_AUDIENCE: Final = "nobody"
"""Where a file names none: its trust domain's JWT-SVIDs are not taken."""


class SpiffeTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[spiffe]``: a trust domain, and its bundle as a file beside this one, from its endpoint, or both."""

    trust_domain: Text
    bundle: Text | None = None
    endpoint: Text | None = None
    audience: Text | None = None


class AuthorityTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[x509]``: an organisation's own authority; ``bundle`` has its certificates in PEM."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    bundle: Text


class _CertificateKind:
    """What both kinds of issuer have in common. They fill the interface ``IssuerKind``."""

    caseless: frozenset[str] = frozenset()

    def check_issuer(self, url: str, audience: str, *, place: str) -> None:
        """Nothing: the table was read by its own rules."""

    def tenant_claims(self, url: str) -> tuple[str, ...]:  # noqa: ARG002 - the interface's
        """None: nobody else's names are under these authorities."""
        return ()

    def complete(self, url: str, conditions: Mapping[str, Condition], *, place: str) -> Mapping[str, Condition]:  # noqa: ARG002 - the interface's
        """Nothing is implied."""
        return conditions

    def check_claims(self, claims: Mapping[str, Any]) -> None:
        """Nothing: they were made here."""


class SpiffeWorkloads(_CertificateKind):
    """Workloads of a trust domain, by the name in their SVID."""

    name = "spiffe"
    proof = "jwt-svid"
    rules = ClaimRules(required=frozenset({"spiffe_id", "trust_domain", "path"}))
    index = "spiffe_id"

    def attributes(self, claims: Mapping[str, Any]) -> Attributes:
        """What policy may ask about."""
        return {
            "issuer": SCHEME + claims["trust_domain"],
            "subject": claims["spiffe_id"],
            "spiffe_id": claims["spiffe_id"],
        }


class CertificateHolders(_CertificateKind):
    """Holders of certificates of an organisation's authority, by their alternative names."""

    name = "x509"
    proof = "x509-certificate"
    rules = ClaimRules(required=frozenset({"authority"}), optional=frozenset({"uri", "dns"}))
    index = "dns"

    def attributes(self, claims: Mapping[str, Any]) -> Attributes:
        """What policy may ask about."""
        return {"issuer": f"x509:{claims['authority']}"}


SPIFFE: Final = SpiffeWorkloads()
X509: Final = CertificateHolders()


class TrustDomainSource(msgspec.Struct, frozen=True):
    """A trust domain as its file has it. ``bundle`` is what the policy bundle brings of it."""

    name: str
    audience: str | None
    bundle: SpiffeBundle | None
    endpoint: str | None


def read_trust_domain(table: SpiffeTable, files: Mapping[str, bytes], *, place: str) -> TrustDomainSource:
    """What ``[spiffe]`` says.

    Raises:
        InputError: no bundle, one that cannot be read, or an audience or address that is not accepted.
    """
    name = trust_domain(table.trust_domain, place=f"{place}.trust_domain")
    if table.bundle is None and table.endpoint is None:
        raise InputError("must have a bundle or an endpoint", place=place)
    if table.endpoint is not None:
        https_url(table.endpoint, place=f"{place}.endpoint")
    if table.audience is not None:
        require_own_audience(table.audience, place=place)
    bundle = None
    if table.bundle is not None:
        document = _beside(table.bundle, files, f"{place}.bundle")
        bundle = read_spiffe_bundle(document, name, place=f"{place}.bundle")
    return TrustDomainSource(name, table.audience, bundle, table.endpoint)


def read_authority(table: AuthorityTable, files: Mapping[str, bytes], *, place: str) -> tuple[x509.Certificate, ...]:
    """The authorities that ``[x509]`` names.

    Raises:
        InputError: the file is missing, or has something else in it.
    """
    text = _beside(table.bundle, files, f"{place}.bundle")
    try:
        ders = read_pem(text, place=f"{place}.bundle", most=MAX_ANCHORS)
    except CertificateError as error:
        raise InputError(error.message, place=error.place) from error
    return read_authorities(ders, place=f"{place}.bundle")


def claims_of_svid(name: SpiffeId) -> dict[str, Any]:
    """What bindings may ask of a workload."""
    return {"spiffe_id": str(name), "trust_domain": name.trust_domain, "path": name.path}


def claims_of_holder(leaf: x509.Certificate, authority: str) -> dict[str, Any]:
    """What bindings may ask of a certificate: its names, bare where there is one of a kind."""
    names = names_of(leaf)
    found = {
        "uri": names.get_values_for_type(x509.UniformResourceIdentifier),
        "dns": [one.lower() for one in names.get_values_for_type(x509.DNSName)],
    }
    return {
        "authority": authority,
        **{name: values[0] if len(values) == 1 else values for name, values in found.items() if values},
    }


def _beside(path: str, files: Mapping[str, bytes], place: str) -> bytes:
    found = files.get(path)
    if found is None:
        raise InputError(
            f"the bundle has no file {path!a}", place=place,
            todo="give its path within .everproof/, such as trust/partner.json",
        )  # fmt: skip
    return found
