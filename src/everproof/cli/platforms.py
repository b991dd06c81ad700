"""The platforms that `everproof init` knows besides GitHub: how each is recognised, and the trust file for its jobs.

Trust goes by ids alone. Where one is not known on this machine, what is written is an example that no server reads, and
that no server would take: a placeholder is no id.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from everproof.kernel.errors import InputError

NUMBER: Final = r"[1-9][0-9]{0,18}"
UUID: Final = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"

_REMOTE: Final = re.compile(
    r"(?:https://(?:[^/@\s]+@)?|ssh://git@|git@)([A-Za-z0-9.-]+)(?::[0-9]+/|[:/])(\S+?)(?:\.git)?/?"
)
_ELSEWHERE: Final = frozenset({"github.com", "bitbucket.org"})
"""No GitLab is there, whatever files a repository has."""
_PATH: Final = re.compile(r"[A-Za-z0-9._/-]+")


class Id(NamedTuple):
    """An id that a binding names: its form, the variable that has it within a job, and where else it is found."""

    claim: str
    form: str
    variable: str
    where: str


class Platform(NamedTuple):
    """One platform. ``marks`` are the files that tell that a repository's jobs run there."""

    name: str
    title: str
    marks: tuple[str, ...]
    url: str
    principal: str
    ids: tuple[Id, ...]
    more: str = ""
    audience: str = ""
    """Where the platform gives no choice."""


class Remote(NamedTuple):
    """The repository's home: its host, and its path there."""

    host: str
    path: str


GITLAB: Final = Platform(
    name="gitlab",
    title="GitLab CI/CD",
    marks=(".gitlab-ci.yml",),
    url="https://{host}",
    principal="gitlab/{project_id}/{job_id}",
    ids=(
        Id(
            "namespace_id", NUMBER, "CI_PROJECT_NAMESPACE_ID",
            'https://{host}/api/v4/projects/{quoted}, "id" within "namespace"; or the group\'s page, under the dots',
        ),
        Id(
            "project_id", NUMBER, "CI_PROJECT_ID",
            'https://{host}/api/v4/projects/{quoted}, "id" on the first level; or the project\'s page, under the dots',
        ),
    ),
)  # fmt: skip

PLATFORMS: Final = (
    GITLAB,
    Platform(
        name="jenkins",
        title="Jenkins",
        marks=("Jenkinsfile",),
        url="https://{jenkins}/oidc",
        principal="jenkins/{sub}",
        ids=(
            Id(
                "sub", r"https?://\S+/job/\S+/", "JOB_URL",
                "the address of the job's page, such as https://jenkins.example/job/shop/job/main/ for its main branch",
            ),
        ),
    ),
    Platform(
        name="circleci",
        title="CircleCI",
        marks=(".circleci/config.yml",),
        url="https://oidc.circleci.com/org/{oidc.circleci.com/org-id}",
        principal="circleci/{oidc.circleci.com/project-id}/{oidc.circleci.com/job-id}",
        ids=(
            Id("oidc.circleci.com/org-id", UUID, "CIRCLE_ORGANIZATION_ID", "Organization Settings, Overview"),
            Id("oidc.circleci.com/project-id", UUID, "CIRCLE_PROJECT_ID", "Project Settings, Overview"),
        ),
        more='claims."oidc.circleci.com/vcs-origin" = "{host}/{path}"\n',
    ),
    Platform(
        name="buildkite",
        title="Buildkite",
        marks=(".buildkite",),
        url="https://agent.buildkite.com",
        principal="buildkite/{pipeline_id}/{job_id}",
        ids=(
            Id(
                "organization_id", UUID, "BUILDKITE_ORGANIZATION_ID",
                'https://api.buildkite.com/v2/organizations/ORGANIZATION: "id"',
            ),
            Id(
                "pipeline_id", UUID, "BUILDKITE_PIPELINE_ID",
                'https://api.buildkite.com/v2/organizations/ORGANIZATION/pipelines/PIPELINE: "id"',
            ),
        ),
    ),
    Platform(
        name="bitbucket",
        title="Bitbucket Pipelines",
        marks=("bitbucket-pipelines.yml",),
        url="https://api.bitbucket.org/2.0/workspaces/{owner}/pipelines-config/identity/oidc",
        principal="bitbucket/{repositoryUuid}/{stepUuid}",
        ids=(
            Id(
                "workspaceUuid", rf"\{{{UUID}\}}", "BITBUCKET_REPO_OWNER_UUID",
                "Repository settings, Pipelines, OpenID Connect: with its braces",
            ),
            Id(
                "repositoryUuid", rf"\{{{UUID}\}}", "BITBUCKET_REPO_UUID",
                "Repository settings, Pipelines, OpenID Connect: with its braces",
            ),
        ),
        more='claims.branchName = "main"\n',
    ),
    Platform(
        name="azure",
        title="Azure DevOps",
        marks=("azure-pipelines.yml", "azure-pipelines.yaml"),
        url="https://vstoken.dev.azure.com/{org_id}",
        principal="azure/{def_id}/{run_id}",
        ids=(
            Id(
                "org_id", UUID, "SYSTEM_COLLECTIONID",
                'https://dev.azure.com/ORGANIZATION/_apis/connectionData: "instanceId"',
            ),
            Id(
                "prj_id", UUID, "SYSTEM_TEAMPROJECTID",
                'https://dev.azure.com/ORGANIZATION/_apis/projects/PROJECT: "id"',
            ),
            Id("def_id", NUMBER, "SYSTEM_DEFINITIONID", "definitionId in the address of the pipeline's page"),
        ),
        audience="api://AzureADTokenExchange",
    ),
)  # fmt: skip

_HEAD: Final = """\
# Which jobs of {title} are believed, and who they are here. Trust goes by ids, which never change hands; a name can be
# given up, and registered by anyone. What is not said here has safe defaults: docs/trust.md, {title}.
"""
_BODY: Final = """\

[issuer]
url = "{url}"
type = "{kind}"
audience = "{audience}"

[[binding]]
name = "{name}"
id = "{principal}"
groups = ["jobs"]
{claims}"""


def read_remote(url: str) -> Remote | None:
    """Host and path of a git remote, or None where it is something else, or has odd characters."""
    match = _REMOTE.fullmatch(url)
    if match is None or _PATH.fullmatch(match[2]) is None:
        return None
    return Remote(match[1].lower(), match[2])


def found_platforms(root: Path, remote: Remote | None) -> list[Platform]:
    """The platforms that the repository's jobs run on, by its files and its home; GitHub is not among them."""
    return [
        one
        for one in PLATFORMS
        if any((root / mark).exists() for mark in one.marks)
        or (one is GITLAB and remote and remote.host == "gitlab.com")
    ]


def given_ids(pairs: list[str]) -> dict[str, str]:
    """``CLAIM=VALUE``, taken apart.

    Raises:
        InputError: it is something else.
    """
    found = dict(pair.partition("=")[::2] for pair in pairs)
    known = {each.claim for one in PLATFORMS for each in one.ids}
    for claim, value in found.items():
        if claim not in known or not value:
            raise InputError("must be CLAIM=VALUE", place="--id", todo=f"one of: {', '.join(sorted(known))}")
    return found


def trust_file(one: Platform, remote: Remote | None, audience: str, given: Mapping[str, str]) -> tuple[str, str]:
    """Name and content of the trust file for jobs of the repository; an example's where an id is missing.

    Raises:
        InputError: an id has not the form of one.
    """
    ids = {each.claim: _known(each, given) for each in one.ids}
    missing = [each for each in one.ids if ids[each.claim] is None]
    if one is GITLAB and remote is not None and remote.host in _ELSEWHERE:
        remote = None
    host, path = remote or Remote("HOST", "OWNER/NAME")
    job = ids.get("sub") or ""
    names = {
        **{claim: value or _placeholder(claim) for claim, value in ids.items()},
        "host": host,
        "path": path,
        "owner": path.partition("/")[0],
        "jenkins": job.removeprefix("https://").partition("/job/")[0] if job else "JENKINS",
        "quoted": path.replace("/", "%2F"),
    }
    claims = "".join(f'claims."{claim}" = "{names[claim]}"\n' for claim in ids) + _filled(one.more, names)
    content = _BODY.format(
        url=_filled(one.url, names),
        kind=one.name,
        audience=one.audience or audience,
        name=f"{one.name}-jobs",
        principal=one.principal,
        claims=claims,
    )
    head = _HEAD.format(title=one.title)
    homeless = remote is None and re.search(r"\{(?:host|path|owner)\}", one.url + one.more) is not None
    if not missing and not homeless:
        return f"trust/{one.name}.toml", head + content
    return f"trust/{one.name}.toml.example", head + _instructions(one, missing, names) + content


def _known(wanted: Id, given: Mapping[str, str]) -> str | None:
    value = given.get(wanted.claim) or os.environ.get(wanted.variable) or None
    if value is not None and re.fullmatch(wanted.form, value) is None:
        raise InputError(f"{wanted.claim} must be an id: names can change hands", place="--id", todo=wanted.where)
    if value is not None and ('"' in value or "\\" in value):
        raise InputError("has characters that no id has", place=f"--id {wanted.claim}")
    return value


def _instructions(one: Platform, missing: list[Id], names: Mapping[str, str]) -> str:
    lines = ["#", "# What is in capitals below is not known on this machine:", "#"]
    if "HOST" in names.values():
        lines.append("#     HOST, OWNER/NAME: where the repository is")
    for each in missing:
        lines.append(f"#     {_placeholder(each.claim)}: {_filled(each.where, names)}")
        lines.append(f"#         (in a job it is {each.variable})")
    lines += ["#", f"# Put it in, rename this file to {one.name}.toml, and run: everproof policy check", ""]
    return "\n".join(lines)


def _placeholder(claim: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|[^A-Za-z]", "_", claim.rpartition("/")[2]).upper()


def _filled(text: str, names: Mapping[str, str]) -> str:
    return re.sub(r"\{([^{}]+)\}", lambda match: names[match[1]], text)
