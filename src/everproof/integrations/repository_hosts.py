"""Every platform that makes tokens of its repositories, as the settings name them."""

from collections.abc import Callable, Mapping
from datetime import datetime

from everproof.identity.outbound import Outbound, https_url
from everproof.integrations.github.repositories import GitHubRepositories
from everproof.integrations.gitlab.repositories import GitLabRepositories
from everproof.integrations.secret_source import SecretSource
from everproof.kernel import settings
from everproof.secrets import RepositoryHost


def repository_hosts(
    named: Mapping[str, settings.RepositoryHost], outbound: Outbound, now: Callable[[], datetime]
) -> dict[str, RepositoryHost]:
    """The platforms by their names.

    Raises:
        InputError: one of them is named wrongly.
    """
    return {name: _host(name, one, outbound, now) for name, one in named.items()}


def _host(name: str, one: settings.RepositoryHost, outbound: Outbound, now: Callable[[], datetime]) -> RepositoryHost:
    for place, url in (("api", one.api), ("issuer", one.issuer)):
        if url:
            https_url(url, place=f"repositories.{name}.{place}")
    secret = SecretSource(one.secret, place=f"repositories.{name}.secret")
    if one.platform == "gitlab":
        return GitLabRepositories(name, outbound, token=secret, now=now, api=one.api, issuer=one.issuer)
    return GitHubRepositories(
        name, outbound, key=secret, app=one.app, installation=one.installation, now=now, api=one.api, issuer=one.issuer
    )
