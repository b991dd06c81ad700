"""GitHub Actions: what the token of a job says, and what a binding for it must ask.

The token's ``sub`` can be renamed, taken over with a name, and rewritten by the owner of the repository, so trust goes
by numeric ids. Claims: docs.github.com, "OpenID Connect reference"; Enterprise Server and data residency have issuers
of their own.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from everproof.identity.claims import ClaimRules
from everproof.identity.conditions import Condition, text_of
from everproof.identity.issuers import require_own_audience
from everproof.identity.jose import JoseError
from everproof.integrations.immutable_ids import attributes_of
from everproof.kernel.errors import InputError
from everproof.kernel.words import Attributes

HOSTED: Final = re.compile(
    r"https://token\.actions\.githubusercontent\.com(/[A-Za-z0-9_-]+)?|https://token\.actions\.[a-z0-9-]+\.ghe\.com"
)
"""github.com, an enterprise on it, and an enterprise with data residency."""
SERVER: Final = re.compile(r"https://[A-Za-z0-9.\[\]:-]+/_services/token")
"""Enterprise Server: its runners are its owner's own."""
DEFAULT_AUDIENCE: Final = re.compile(r"https://[^/]+/[^/]+/?")

IDS: Final = ("repository_owner_id", "repository_id")
EVENTS: Final = frozenset({"push", "merge_group", "release", "schedule", "workflow_dispatch", "deployment"})
"""Started by someone who may write to the repository, and running what is in it. Not among them, on purpose:
``pull_request_target`` and ``workflow_run`` run with the repository's own identity on what a stranger sent."""

SUBJECT: Final = re.compile(r"repo:([^/:@]+)(?:@([0-9]+))?/([^/:@]+)(?:@([0-9]+))?(?::.*)?", re.DOTALL)

RULES: Final = ClaimRules(
    required=frozenset(
        {"sub", "repository", "repository_owner", *IDS, "event_name", "run_id", "run_attempt", "actor_id", "sha"}
    ),
    optional=frozenset(
        {
            "actor", "base_ref", "enterprise", "enterprise_id", "environment", "environment_node_id", "head_ref",
            "job_workflow_ref", "job_workflow_sha", "ref", "ref_protected", "ref_type", "repository_visibility",
            "runner_environment", "workflow", "workflow_ref", "workflow_sha",
        }
    ),
    unchecked=frozenset({"run_number", "check_run_id"}),
    prefixes=("repo_property_",),
)  # fmt: skip

_ATTRIBUTES: Final = {
    "subject": "sub",
    "repository": "repository",
    "repository_id": "repository_id",
    "repository_owner": "repository_owner",
    "repository_owner_id": "repository_owner_id",
    "visibility": "repository_visibility",
    "ref": "ref",
    "ref_type": "ref_type",
    "commit": "sha",
    "event": "event_name",
    "workflow": "job_workflow_ref",
    "workflow_commit": "job_workflow_sha",
    "environment": "environment",
    "runner": "runner_environment",
    "actor": "actor",
    "actor_id": "actor_id",
    "run": "run_id",
}
"""What policy may ask about a job, and the claim that tells it: of workflows, the one whose steps run."""


class Subject(msgspec.Struct, frozen=True):
    """The repository that a ``sub`` names; ids only in the immutable form, ``repo:OWNER@ID/NAME@ID:…``."""

    owner: str
    name: str
    owner_id: str | None
    id: str | None


def read_subject(sub: str) -> Subject | None:
    """The repository in ``sub``, or None where its owner has given it another form."""
    match = SUBJECT.fullmatch(sub)
    return Subject(match[1], match[3], match[2], match[4]) if match else None


class GitHubActions:
    """The issuer kind ``github``."""

    name = "github"
    proof = "ci-token"
    rules = RULES
    caseless = frozenset({"repository", "repository_owner", "actor", "enterprise"})
    index = "repository_id"

    def check_issuer(self, url: str, audience: str, *, place: str) -> None:
        """As in ``IssuerKind``: GitHub's own addresses, and an audience that no job has by default."""
        if HOSTED.fullmatch(url) is None and SERVER.fullmatch(url) is None:
            raise InputError(
                "GitHub Actions has no issuer of this form",
                place=f"{place}.url",
                todo="use https://token.actions.githubusercontent.com, or https://HOST/_services/token of your server",
            )
        require_own_audience(audience, place=place)
        if audience.lower().startswith("https://github.com/") and DEFAULT_AUDIENCE.fullmatch(audience):
            raise InputError(
                "every job of that owner has tokens with this audience by default",
                place=f"{place}.audience",
                todo="choose this server's own address, and let jobs ask for it",
            )

    def tenant_claims(self, url: str) -> tuple[str, ...]:  # noqa: ARG002 - names can be taken over anywhere
        """The numeric ids: a name that was given up can be registered by anyone."""
        return IDS

    def complete(self, url: str, conditions: Mapping[str, Condition], *, place: str) -> Mapping[str, Condition]:
        """As in ``IssuerKind``: safe events, a hosted runner, and a branch that is protected."""
        for name in ("sub", "event_name"):
            if name in conditions and not conditions[name].is_exact:
                raise InputError("needs exact values", place=f"{place}: claims.{name}", todo=_SAY_WHAT[name])
        if "workflow_ref" in conditions and conditions.keys().isdisjoint({"job_workflow_ref", "job_workflow_sha"}):
            raise InputError(
                "names the workflow that was started, which may call any other",
                place=f"{place}: claims.workflow_ref",
                todo="ask for job_workflow_ref: the workflow whose steps run",
            )
        workflow = conditions.get("job_workflow_ref")
        if workflow is not None and not all("@" in one for one in _texts(workflow)):
            raise InputError(
                "must say at which ref, after an @: a workflow on another branch is another workflow",
                place=f"{place}: claims.job_workflow_ref",
            )
        implied = {"event_name": Condition(values=EVENTS)}
        if HOSTED.fullmatch(url) is not None:
            implied["runner_environment"] = Condition(values=frozenset({"github-hosted"}))
        if "ref" in conditions:
            implied["ref_protected"] = Condition(values=frozenset({"true"}))
        return {**conditions, **{name: one for name, one in implied.items() if name not in conditions}}

    def check_claims(self, claims: Mapping[str, Any]) -> None:
        """As in ``IssuerKind``: ``sub``, in either form, must be of the repository that the other claims name."""
        sub = claims["sub"]
        found = read_subject(sub) if isinstance(sub, str) else None
        if found is None:
            return
        named = f"{found.owner}/{found.name}".lower()
        agrees = (
            named == str(claims["repository"]).lower()
            and found.owner.lower() == str(claims["repository_owner"]).lower()
            and found.owner_id in {None, text_of(claims["repository_owner_id"])}
            and found.id in {None, text_of(claims["repository_id"])}
        )
        if not agrees:
            raise JoseError("sub and the other claims name different repositories", place="claims.sub")

    def attributes(self, claims: Mapping[str, Any]) -> Attributes:
        """As in ``IssuerKind``."""
        found = attributes_of(claims, self.name, _ATTRIBUTES)
        found["ref_protected"] = text_of(claims.get("ref_protected")) == "true"
        return found


_SAY_WHAT: Final = {
    "sub": "its form changes with names and with the owner's wishes: ask for ids, ref or environment instead",
    "event_name": "name the events",
}


def _texts(wanted: Condition) -> frozenset[str]:
    return wanted.values or frozenset({wanted.pattern.pattern if wanted.pattern else ""})
