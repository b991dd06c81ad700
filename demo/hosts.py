"""The other platforms of the story: a GitLab, a Jenkins, and the API by which GitHub makes tokens for an App."""

import time
import uuid
from typing import Any, Final

from tests import issuer as issuers
from tests.fakes.github_app import GitHubApp, Installation
from tests.fakes.https import serving
from tests.integrations.gitlab.jobs import gitlab_claims

from demo.world import World

GITLAB: Final = """\
[issuer]
url = "{gitlab}"
type = "gitlab"
audience = "{audience}"

[[binding]]
name = "web-jobs"
id = "gitlab/{{project_id}}/{{job_id}}"
groups = ["jobs"]
claims = {{ namespace_id = "72", project_id = "20", ref = "main" }}
"""
JENKINS: Final = """\
[issuer]
url = "{jenkins}"
type = "jenkins"
audience = "{audience}"

[[binding]]
name = "nightly"
id = "jenkins/{{sub}}"
groups = ["jobs"]
claims.sub = "{job}"
"""
SETTINGS: Final = """\
[repositories.github]
platform = "github"
secret = "file:{key}"
api = "{api}"
issuer = "{issuer}"
app = "{app}"
installation = 7
"""


class Hosts:
    """What they are, and what the server is told of them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.gitlab = world.enter(issuers.running(world.made("gitlab"), path=""))
        self.jenkins = world.enter(issuers.running(world.made("jenkins"), path="/oidc"))
        self.app = GitHubApp(installations={7: Installation({74: "acme/shop"}, {"contents": "write"})})
        self.api = world.enter(serving(self.app, world.made("github-api")))
        self.nightly = f"{self.jenkins.url.removesuffix('/oidc')}/job/acme/job/nightly/"

    @property
    def authorities(self) -> bytes:
        """Who certifies them."""
        files = (self.gitlab.ca_file, self.jenkins.ca_file, self.api.ca_file)
        return b"".join(file.read_bytes() for file in files)

    def settings(self, issuer: str) -> str:
        """What ``server.toml`` says of them; ``issuer`` is that of GitHub's jobs."""
        key = self._world.folder / "app.pem"
        key.touch(0o600)
        key.write_bytes(self.app.pem)
        return SETTINGS.format(key=key, api=self.api.url, issuer=issuer, app=self.app.client_id)

    def trust(self) -> dict[str, str]:
        """The trust files for their jobs."""
        known = {"gitlab": self.gitlab.url, "jenkins": self.jenkins.url, "job": self.nightly}
        known["audience"] = self._world.url
        return {"gitlab.toml": GITLAB.format(**known), "jenkins.toml": JENKINS.format(**known)}

    def gitlab_token(self, **changes: Any) -> str:
        """What GitLab says of a job of project 20, with ``changes``."""
        own = {"jti": str(uuid.uuid4()), "job_id": str(time.time_ns())}
        host = self.gitlab.url.removeprefix("https://")
        return self.gitlab.mint({**gitlab_claims(host), **self._times(), **own, **changes})

    def jenkins_token(self, **changes: Any) -> str:
        """What Jenkins says of a build, with ``changes``."""
        return self.jenkins.mint({"sub": self.nightly, "build_number": 7, **self._times(), **changes})

    def _times(self) -> dict[str, Any]:
        now = int(time.time())
        return {"aud": self._world.url, "iat": now - 1, "exp": now + 300}
