"""What the jobs of a GitLab say."""

from typing import Any

PROJECT = "acme/shop"

BINDING = """
[[binding]]
name = "shop"
id = "gitlab/{project_id}/{job_id}"
groups = ["jobs"]
claims.namespace_id = "72"
claims.project_id = "20"
"""


def gitlab_claims(host: str, **changes: Any) -> dict[str, Any]:
    """What a job of ``acme/shop`` on its protected main branch says to others than GitLab, with ``changes``."""
    return {
        "jti": "235b3a54-b797-45c7-ae9a-f72d7bc6ef5b",
        "sub": f"project_path:{PROJECT}:ref_type:branch:ref:main",
        "namespace_id": "72",
        "namespace_path": "acme",
        "project_id": "20",
        "project_path": PROJECT,
        "user_id": "1",
        "user_login": "alice",
        "user_email": "alice@acme.example",
        "user_access_level": "maintainer",
        "groups_direct": ["acme", "acme/release"],
        "pipeline_id": "574",
        "pipeline_source": "push",
        "job_id": "302",
        "ref": "main",
        "ref_type": "branch",
        "ref_path": "refs/heads/main",
        "ref_protected": "true",
        "runner_id": 1,
        "runner_environment": "self-hosted",
        "sha": "4f1c" * 10,
        "project_visibility": "private",
        "ci_config_ref_uri": f"{host}/{PROJECT}//.gitlab-ci.yml@refs/heads/main",
        "ci_config_sha": "4f1c" * 10,
        "job_project_id": "20",
        "job_project_path": PROJECT,
        "job_namespace_id": "72",
        "job_namespace_path": "acme",
        "job_source": "push",
        **changes,
    }
