"""Jenkins: what the token of a build says, and what a binding for it must ask.

Its plugin "OpenID Connect Provider" signs what its administrator's templates make of a build's environment: by default
``sub`` is the job's address and ``build_number`` its number, and nothing else. There is no ``jti``, and no id of a job
that outlives its name: whoever may configure a job of that name is that job. So the address is wanted exactly.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from everproof.identity.claims import ClaimRules
from everproof.identity.conditions import Condition
from everproof.identity.issuers import require_own_audience
from everproof.identity.jose import JoseError
from everproof.integrations.immutable_ids import attributes_of
from everproof.kernel.errors import InputError
from everproof.kernel.words import Attributes

JOB: Final = re.compile(r"(?P<root>https?://[^/\s]+(?:/[^/\s]+)*?)/(?P<path>job/[^/\s]+(?:/job/[^/\s]+)*)/")
"""A job's address as Jenkins writes it: folders and branches are jobs within jobs."""
ISSUER: Final = re.compile(r"(?P<root>https://.+?)/oidc(?P<folder>(?:/job/[^/]+)*)")
"""Where the plugin serves an issuer itself: for all of Jenkins, or for the credentials of one folder."""
CHANGE_REQUEST: Final = re.compile(r"(?:PR|MR|CR)-[0-9]+(?:-(?:head|merge))?", re.IGNORECASE)
"""How branch sources name the job of a pull request, merge request or change."""

RULES: Final = ClaimRules(required=frozenset({"sub", "build_number"}), open=True)
_ATTRIBUTES: Final = {"subject": "sub", "workflow": "sub", "run": "build_number"}


class Jenkins:
    """The issuer kind ``jenkins``."""

    name = "jenkins"
    proof = "ci-token"
    rules = RULES
    caseless: frozenset[str] = frozenset()
    index = "sub"

    def check_issuer(self, url: str, audience: str, *, place: str) -> None:
        """As in ``IssuerKind``: any address, since the credential's issuer may be served from anywhere."""
        require_own_audience(audience, place=place)
        if url.endswith("/"):
            raise InputError("Jenkins' issuers have no slash at the end", place=f"{place}.url")

    def tenant_claims(self, url: str) -> tuple[str, ...]:  # noqa: ARG002 - in every Jenkins others have jobs too
        """The job: every job of the folder may use the folder's credential."""
        return ("sub",)

    def complete(self, url: str, conditions: Mapping[str, Condition], *, place: str) -> Mapping[str, Condition]:
        """As in ``IssuerKind``: whole addresses of jobs of this Jenkins, and of none that builds what is proposed."""
        for value in conditions["sub"].values:
            job = JOB.fullmatch(value)
            if job is None:
                raise InputError(
                    f"{value!r} is not the address of a job, such as https://jenkins.example/job/shop/job/main/",
                    place=f"{place}: claims.sub",
                    todo="copy it from the browser; if sub was given another template, use type oidc",
                )
            if CHANGE_REQUEST.fullmatch(job["path"].rpartition("/")[2]):
                raise InputError(
                    "is the job of a change request: it builds what a stranger sent", place=f"{place}: claims.sub"
                )
            _require_within(value, url, InputError, f"{place}: claims.sub")
        return conditions

    def check_claims(self, claims: Mapping[str, Any]) -> None:
        """As in ``IssuerKind``: ``sub`` is a job's, and under the Jenkins, and the folder, whose issuer it is."""
        sub = claims["sub"]
        if not isinstance(sub, str) or JOB.fullmatch(sub) is None:
            raise JoseError(
                "not a build's token: sub is not the address of a job",
                place="claims.sub",
                todo="take the token within a build, with the default template ${JOB_URL}",
            )
        _require_within(sub, claims["iss"], JoseError, "claims.sub")

    def attributes(self, claims: Mapping[str, Any]) -> Attributes:
        """As in ``IssuerKind``: nothing that a build could choose."""
        return attributes_of(claims, self.name, _ATTRIBUTES)


def _require_within(sub: str, issuer: str, error: type[InputError | JoseError], place: str) -> None:
    served = ISSUER.fullmatch(issuer)
    if served is not None and not sub.startswith(f"{served['root']}{served['folder']}/job/"):
        raise error("is of another Jenkins, or of a job outside the folder whose issuer this is", place=place)
