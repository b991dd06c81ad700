"""Every organisation whose members are kept, as the settings name them."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from everproof.identity.outbound import Outbound, https_url
from everproof.integrations.github import app as github
from everproof.integrations.github.organisation import GitHubOrganisation
from everproof.integrations.gitlab.ci import GITLAB_COM
from everproof.integrations.gitlab.organisation import GitLabOrganisation
from everproof.integrations.rest import Rest
from everproof.integrations.secret_source import SecretSource
from everproof.kernel import settings
from everproof.kernel.errors import InputError
from everproof.provisioning.memberships import Organisation

PERMISSIONS: Final = {"members": "write", "administration": "write"}
"""Of an App's installation: the organisation's members and teams, and the collaborators of its repositories."""
MAX_BYTES: Final = 8 * 1024 * 1024
"""A hundred repositories, as GitHub lists them, are more than half a megabyte."""
TIMEOUT_SECONDS: Final = 20.0

Now = Callable[[], datetime]


def organisations(
    named: Mapping[str, settings.OrganisationHost], outbound: settings.Outbound, now: Now
) -> dict[str, Organisation]:
    """The organisations by their names.

    Raises:
        InputError: one of them is named wrongly.
    """
    if not named:
        return {}
    reach = Outbound(
        ca_file=outbound.ca_file,
        private_hosts=outbound.private_hosts,
        timeout_seconds=TIMEOUT_SECONDS,
        max_bytes=MAX_BYTES,
    )
    return {name: _organisation(name, one, reach, now) for name, one in named.items()}


def github_rest(name: str, outbound: Outbound, token: SecretSource, now: Now, api: str = "") -> Rest:
    """GitHub's API for whoever has this token."""

    async def headers() -> Mapping[str, str]:
        return github.headers_of(token.read().decode("ascii", "replace"))

    return Rest(name, outbound, api or github.API, headers=headers, now=now)


def gitlab_rest(name: str, outbound: Outbound, token: SecretSource, now: Now, api: str = "") -> Rest:
    """GitLab's API for whoever has this token."""

    async def headers() -> Mapping[str, str]:
        return {"accept": "application/json", "private-token": token.read().decode("ascii", "replace")}

    return Rest(name, outbound, f"{(api or GITLAB_COM).rstrip('/')}/api/v4", headers=headers, now=now)


def _organisation(name: str, one: settings.OrganisationHost, outbound: Outbound, now: Now) -> Organisation:
    place = f"organisations.{name}"
    if one.api:
        https_url(one.api, place=f"{place}.api")
    secret = SecretSource(one.secret, place=f"{place}.secret")
    if one.platform == "gitlab":
        return GitLabOrganisation(gitlab_rest(name, outbound, secret, now, one.api))
    if not one.login:
        raise InputError("names no organisation", place=f"{place}.login", todo="give its name at GitHub")
    if not one.app:
        return GitHubOrganisation(github_rest(name, outbound, secret, now, one.api), one.login)
    api = (one.api or github.API).rstrip("/")
    key = github.AppKey(secret, one.app, now=now, place=f"{place}.secret")
    token = github.InstallationToken(key, outbound, api, one.installation, PERMISSIONS, now=now, place=name)
    return GitHubOrganisation(Rest(name, outbound, api, headers=token.headers, now=now), one.login)
