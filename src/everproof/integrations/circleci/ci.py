"""CircleCI: what the token of a job says, and what a binding for it must ask.

An issuer belongs to one organisation, but a project builds its forks too where it was told so, and then ``vcs-ref`` is
the fork's: a branch says nothing without its repository. A job that was run again with SSH has a person in it. Claims:
circleci.com/docs, "Using OpenID Connect tokens in jobs".
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from everproof.identity.claims import ClaimRules
from everproof.identity.conditions import Condition, text_of
from everproof.identity.issuers import require_own_audience
from everproof.identity.jose import JoseError
from everproof.integrations.immutable_ids import UUID, attributes_of, require_ids, with_implied
from everproof.kernel.errors import InputError
from everproof.kernel.words import Attributes

ISSUER: Final = re.compile(rf"https://[^/]+/org/({UUID.pattern})")
PREFIX: Final = "oidc.circleci.com/"
ORGANISATION: Final = f"{PREFIX}org-id"
PROJECT: Final = f"{PREFIX}project-id"
ORIGIN: Final = f"{PREFIX}vcs-origin"
REF: Final = f"{PREFIX}vcs-ref"
SSH: Final = f"{PREFIX}ssh-rerun"
SUBJECT: Final = re.compile(r"org/([^/]+)/project/([^/]+)/user/([^/]+)(?:/.*)?", re.DOTALL)

RULES: Final = ClaimRules(
    required=frozenset({"sub", PROJECT}),
    optional=frozenset(
        {ORGANISATION, ORIGIN, REF, SSH}
        | {f"{PREFIX}{name}" for name in ("context-ids", "job-id", "workflow-id", "pipeline-id")}
        | {f"{PREFIX}pipeline-definition-id"}
    ),
)
_ATTRIBUTES: Final = {
    "subject": "sub",
    "repository": ORIGIN,
    "repository_id": PROJECT,
    "ref": REF,
    "run": f"{PREFIX}workflow-id",
    "workflow": f"{PREFIX}pipeline-definition-id",
}


class CircleCi:
    """The issuer kind ``circleci``."""

    name = "circleci"
    proof = "ci-token"
    rules = RULES
    caseless = frozenset({ORIGIN})
    index = PROJECT

    def check_issuer(self, url: str, audience: str, *, place: str) -> None:
        """As in ``IssuerKind``: an organisation's issuer, and not the audience that all its jobs have by default."""
        if ISSUER.fullmatch(url) is None:
            raise InputError(
                "CircleCI has no issuer of this form",
                place=f"{place}.url",
                todo="use https://oidc.circleci.com/org/ORGANIZATION_ID, with the UUID of your organisation",
            )
        require_own_audience(audience, place=place)
        if UUID.fullmatch(audience.lower()):
            raise InputError(
                "every job of an organisation has tokens with its id as audience",
                place=f"{place}.audience",
                todo="choose this server's own address: circleci run oidc get --claims",
            )

    def tenant_claims(self, url: str) -> tuple[str, ...]:  # noqa: ARG002 - the organisation's other projects are strangers
        """The project's id."""
        return (PROJECT,)

    def complete(self, url: str, conditions: Mapping[str, Condition], *, place: str) -> Mapping[str, Condition]:  # noqa: ARG002 - the interface's
        """As in ``IssuerKind``: nobody has a shell in the job, and a ref is that of a repository."""
        require_ids(conditions, (PROJECT, ORGANISATION), UUID, place=place)
        if ORIGIN not in conditions:
            raise InputError(
                "says nothing of the repository: a project builds its forks too, where it was told so",
                place=f'{place}: claims."{ORIGIN}"',
                todo='name it, such as "github.com/acme/shop"',
            )
        return with_implied(conditions, {SSH: Condition(values=frozenset({"false"}))})

    def check_claims(self, claims: Mapping[str, Any]) -> None:
        """As in ``IssuerKind``: issuer, ``sub`` and ids name one organisation and one project."""
        issuer, sub = ISSUER.fullmatch(claims["iss"]), claims["sub"]
        found = SUBJECT.fullmatch(sub) if isinstance(sub, str) else None
        if issuer is None or found is None or (found[1], found[2]) != (issuer[1], claims[PROJECT]):
            raise JoseError("sub names another organisation or project than issuer and claims", place="claims.sub")
        if claims.get(ORGANISATION) not in {None, issuer[1]}:
            raise JoseError("another organisation than the issuer's", place=f"claims.{ORGANISATION}")

    def attributes(self, claims: Mapping[str, Any]) -> Attributes:
        """As in ``IssuerKind``."""
        found = attributes_of(claims, self.name, _ATTRIBUTES)
        issuer, user = ISSUER.fullmatch(claims["iss"]), SUBJECT.fullmatch(text_of(claims["sub"]) or "")
        if issuer is not None and user is not None:
            found["repository_owner_id"], found["actor_id"] = issuer[1], user[3]
        return found
