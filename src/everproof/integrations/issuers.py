"""Every kind of issuer that a trust binding may name."""

from everproof.identity.issuers import IssuerKinds
from everproof.integrations.github.ci import GitHubActions
from everproof.integrations.oidc.issuer import OpenIdIssuer


def issuer_kinds() -> IssuerKinds:
    """The kinds that this program knows."""
    kinds = IssuerKinds()
    for kind in (GitHubActions(), OpenIdIssuer()):
        kinds.register(kind)
    return kinds
