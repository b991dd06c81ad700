"""Every kind of issuer that a trust binding may name."""

from everproof.identity.issuers import IssuerKinds
from everproof.integrations.azure.ci import AzurePipelines
from everproof.integrations.bitbucket.ci import BitbucketPipelines
from everproof.integrations.buildkite.ci import Buildkite
from everproof.integrations.circleci.ci import CircleCi
from everproof.integrations.github.ci import GitHubActions
from everproof.integrations.gitlab.ci import GitLabCi
from everproof.integrations.jenkins.ci import Jenkins
from everproof.integrations.oidc.issuer import OpenIdIssuer


def issuer_kinds() -> IssuerKinds:
    """The kinds that this program knows."""
    kinds = IssuerKinds()
    for kind in (
        GitHubActions(),
        GitLabCi(),
        Jenkins(),
        CircleCi(),
        Buildkite(),
        BitbucketPipelines(),
        AzurePipelines(),
        OpenIdIssuer(),
    ):
        kinds.register(kind)
    return kinds
