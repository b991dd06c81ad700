"""GitLab CI/CD: what the token of a job says, and what a binding for it must ask.

A pipeline of a merge request from a fork may run in the project that was forked: since 18.2.2 ``project_*`` then names
the fork, and ``job_project_*`` where the job ran. ``ref`` is a short name that a branch and a tag may share,
``ref_protected`` is a string, and ``ref`` says nothing of who wrote the configuration. Claims: docs.gitlab.com,
"OpenID Connect authentication using ID tokens".
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from everproof.identity.claims import ClaimRules
from everproof.identity.conditions import Condition, text_of
from everproof.identity.issuers import require_own_audience
from everproof.identity.jose import JoseError
from everproof.integrations.immutable_ids import NUMBER, attributes_of, require_agreement, require_ids, with_implied
from everproof.kernel.errors import InputError
from everproof.kernel.words import Attributes

GITLAB_COM: Final = "https://gitlab.com"

IDS: Final = ("namespace_id", "project_id")
SOURCES: Final = frozenset({"push", "schedule", "web"})
"""Started by someone who may write to the project, and running what is in it. Not among them, on purpose:
``merge_request_event`` runs what is only proposed, ``parent_pipeline`` hides what its parent was started by,
``pipeline`` was started by another project, and ``trigger`` by whoever has a token."""
OWN: Final = SOURCES | {"api", "webide", "chat"}
"""Sources of pipelines that are never of another project than the one they run in."""

_RAN_IN: Final = (
    ("project_id", "job_project_id", "source_project_id"),
    ("namespace_id", "job_namespace_id", "source_namespace_id"),
    ("project_path", "job_project_path", "source_project_path"),
)

SUBJECT: Final = re.compile(r"project_path:([^:]+)(?::.*)?", re.DOTALL)
CONFIGURATION: Final = re.compile(r"(.+?)//[^@]+@.+", re.DOTALL)
"""Where the configuration lies: host and project, two slashes, file, and the ref after an @."""

RULES: Final = ClaimRules(
    required=frozenset(
        {
            "sub", "jti", *IDS, "namespace_path", "project_path", "pipeline_id", "pipeline_source", "job_id", "ref",
            "ref_type", "ref_protected", "user_id", "sha",
        }
    ),
    optional=frozenset(
        {
            "ci_config_ref_uri", "ci_config_sha", "deployment_tier", "environment", "environment_action",
            "environment_protected", "groups_direct", "job_config", "job_namespace_id", "job_namespace_path",
            "job_policy_ref_sha", "job_policy_ref_uri", "job_project_id", "job_project_path", "job_source",
            "project_visibility", "ref_path", "runner_environment", "runner_id", "source_namespace_id",
            "source_namespace_path", "source_project_id", "source_project_path", "user_access_level", "user_login",
        }
    ),
    unchecked=frozenset({"target_audience", "user_email", "user_identities"}),
)  # fmt: skip

_ATTRIBUTES: Final = {
    "subject": "sub",
    "repository": "project_path",
    "repository_id": "project_id",
    "repository_owner": "namespace_path",
    "repository_owner_id": "namespace_id",
    "visibility": "project_visibility",
    "ref_type": "ref_type",
    "commit": "sha",
    "event": "pipeline_source",
    "workflow": "ci_config_ref_uri",
    "workflow_commit": "ci_config_sha",
    "environment": "environment",
    "runner": "runner_environment",
    "actor": "user_login",
    "actor_id": "user_id",
    "run": "pipeline_id",
}
"""Not among them: ``groups_direct``, which is left out for members of more than 200 groups, so that a policy that
forbids by it would let exactly those pass."""


class GitLabCi:
    """The issuer kind ``gitlab``."""

    name = "gitlab"
    proof = "ci-token"
    rules = RULES
    caseless = frozenset({"project_path", "namespace_path", "job_project_path", "job_namespace_path"})
    index = "project_id"

    def check_issuer(self, url: str, audience: str, *, place: str) -> None:
        """As in ``IssuerKind``: any GitLab's address, and an audience that is not that GitLab itself."""
        require_own_audience(audience, place=place)
        if audience.rstrip("/").lower() == url.rstrip("/").lower():
            raise InputError(
                "that is the audience of tokens that jobs use towards GitLab itself",
                place=f"{place}.audience",
                todo="choose this server's own address, and name it under id_tokens: aud",
            )

    def tenant_claims(self, url: str) -> tuple[str, ...]:  # noqa: ARG002 - names can be taken over anywhere
        """The numeric ids: a path that was given up can be registered by anyone."""
        return IDS

    def complete(self, url: str, conditions: Mapping[str, Condition], *, place: str) -> Mapping[str, Condition]:
        """As in ``IssuerKind``: a protected ref, a pipeline of one's own, a configuration from the project itself."""
        require_ids(conditions, IDS, NUMBER, place=place)
        for name in ("sub", "pipeline_source"):
            if name in conditions and not conditions[name].is_exact:
                raise InputError("needs exact values", place=f"{place}: claims.{name}", todo=_SAY_WHAT[name])
        if "groups_direct" in conditions and not conditions["groups_direct"].is_exact:
            raise InputError(
                "is left out for members of more than 200 groups: that it is absent tells nothing",
                place=f"{place}: claims.groups_direct",
                todo="name groups whose members are trusted, and none that are not",
            )
        _require_ref_of_configuration(conditions, place)
        implied = {
            "ref_protected": Condition(values=frozenset({"true"})),
            "pipeline_source": Condition(values=SOURCES),
            "ci_config_ref_uri": Condition(pattern=CONFIGURATION),
        }
        if url.rstrip("/") == GITLAB_COM:
            implied["runner_environment"] = Condition(values=frozenset({"gitlab-hosted"}))
        if "ref" in conditions and "ref_path" not in conditions:
            implied["ref_type"] = Condition(values=frozenset({"branch"}))
        if "environment" in conditions:
            implied["environment_protected"] = Condition(values=frozenset({"true"}))
        return with_implied(conditions, implied)

    def check_claims(self, claims: Mapping[str, Any]) -> None:
        """As in ``IssuerKind``: the job ran in the project that it is of, and ``sub`` and configuration are its own."""
        for names in _RAN_IN:
            require_agreement(
                claims, names, otherwise="a job of a fork's merge request: it ran in another project than it is of"
            )
        if claims.get("job_project_id") is None and text_of(claims["pipeline_source"]) not in OWN:
            raise JoseError(
                "a pipeline of this source that does not say where it ran may be a fork's",
                place="claims.job_project_id",
                todo="update GitLab to 18.4 or later, which says it",
            )
        path = str(claims["project_path"]).lower()
        found = SUBJECT.fullmatch(claims["sub"]) if isinstance(claims["sub"], str) else None
        if found is not None and found[1].lower() != path:
            raise JoseError("sub and project_path name different projects", place="claims.sub")
        if claims.get("ci_config_ref_uri") is not None:
            _require_own_configuration(claims["ci_config_ref_uri"], path)

    def attributes(self, claims: Mapping[str, Any]) -> Attributes:
        """As in ``IssuerKind``. ``ref`` is the whole name where GitLab tells it (16.0), as of other platforms' jobs."""
        found = attributes_of(claims, self.name, _ATTRIBUTES)
        found["ref"] = text_of(claims.get("ref_path")) or text_of(claims["ref"]) or ""
        found["ref_protected"] = claims.get("ref_protected") == "true"
        found["fork"] = False  # check_claims has refused those
        if "environment" in found:
            found["environment_protected"] = claims.get("environment_protected") == "true"
        return found


def _require_ref_of_configuration(conditions: Mapping[str, Condition], place: str) -> None:
    wanted = conditions.get("ci_config_ref_uri")
    if wanted is None or wanted.absent:
        return
    texts = wanted.values or {wanted.pattern.pattern if wanted.pattern else ""}
    if not all("@" in text for text in texts):
        raise InputError(
            "must say at which ref, after an @: a configuration on another branch is another configuration",
            place=f"{place}: claims.ci_config_ref_uri",
        )


def _require_own_configuration(uri: object, path: str) -> None:
    match = CONFIGURATION.fullmatch(uri) if isinstance(uri, str) else None
    if match is None or not match[1].lower().endswith(f"/{path}"):
        raise JoseError("the configuration is of another project than the job", place="claims.ci_config_ref_uri")


_SAY_WHAT: Final = {
    "sub": "its form changes with names and with the maintainers' wishes: ask for ids, ref or environment instead",
    "pipeline_source": "name the sources",
}
