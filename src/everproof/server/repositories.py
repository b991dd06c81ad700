"""Tokens of repositories at their platforms, for whoever policy lets read or write there."""

from datetime import datetime, timedelta
from typing import Annotated, Final

import msgspec

from everproof.authorize import Authorizer
from everproof.kernel.clock import HighWaterClock
from everproof.kernel.errors import InputError
from everproof.kernel.words import MAIN_SPACE, Action, Fact, Proof, Ref, Resource
from everproof.ledger import Receipt
from everproof.secrets import Access, Level, RepositoryTokens
from everproof.server.caller import Callers
from everproof.server.denial import allowed
from everproof.server.http import Call, Route

READ: Final = Action("repository:read")
WRITE: Final = Action("repository:write")
MAX_PERMISSIONS: Final = 16
MAX_SECONDS: Final = 3600
"""No platform's tokens are good for less than this and could not be ended before; GitHub's are for no more."""
SECONDS: Final = 600
READ_SOURCE: Final[dict[str, Level]] = {"contents": "read"}

_SOURCE: Final = "request"


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token to be made: without a repository, of the job's own; without permissions, to read its source."""

    host: Annotated[str, msgspec.Meta(max_length=32)] = ""
    repository: Annotated[str, msgspec.Meta(max_length=19)] = ""
    permissions: Annotated[
        dict[Annotated[str, msgspec.Meta(max_length=64)], Level],
        msgspec.Meta(max_length=MAX_PERMISSIONS),
    ] = {}
    lifetime_seconds: Annotated[int, msgspec.Meta(ge=1, le=MAX_SECONDS)] = SECONDS


class RepositoryToken(msgspec.Struct, frozen=True):
    """A token, and what it is good for. ``username`` goes before it where git asks for both."""

    token: str
    username: str
    expires_at: datetime
    host: str
    repository: str
    permissions: dict[str, str]
    credential: str
    receipt: Receipt

    def __repr__(self) -> str:
        return f"RepositoryToken({self.credential})"


class RepositoriesDoor:
    """The door of repositories' tokens."""

    def __init__(
        self, authorizer: Authorizer, tokens: RepositoryTokens, callers: Callers, clock: HighWaterClock
    ) -> None:
        self._authorizer = authorizer
        self._tokens = tokens
        self._callers = callers
        self._clock = clock

    def routes(self) -> list[Route]:
        """What is served."""
        return [
            Route(
                "POST", "/v1/repositories/token", self.token, door="repositories", problems=(404, 502, 503)
            )
        ]  # fmt: skip

    async def token(self, call: Call, body: Wanted) -> RepositoryToken:
        """Have a repository's platform make a token with these permissions and no others.

        Policy is asked about the repository, with ``context.permissions``; the token ends with the caller's credential.
        """
        self._clock.issuing_time()
        proof = self._callers.prove(call.scope)
        access, issuer = self._access(proof, body)
        resource = Resource(
            ref=Ref("Repository", f"{access.host}:{access.repository}"),
            attributes={"repository_id": access.repository, "issuer": issuer},
            parents=(MAIN_SPACE,),
        )
        now, lifetime = self._clock.now(), timedelta(seconds=body.lifetime_seconds)
        facts = (
            Fact("permissions", list(access.words), now, _SOURCE),
            Fact("lifetime", body.lifetime_seconds, now, _SOURCE),
        )
        outcome = await self._authorizer.authorize(
            proof,
            WRITE if access.writes else READ,
            resource,
            facts=facts,
            within=lambda tx: self._tokens.begin(tx, proof, access, lifetime),
        )
        permission = allowed(outcome)
        issued = await self._tokens.mint(permission)
        return RepositoryToken(
            token=issued.token,
            username=issued.username,
            expires_at=issued.lease.ends,
            host=access.host,
            repository=access.repository,
            permissions=dict(access.permissions),
            credential=issued.lease.credential,
            receipt=permission.receipt,
        )

    def _access(self, proof: Proof, body: Wanted) -> tuple[Access, str]:
        own = proof.principal.attributes
        host = self._tokens.host(body.host) if body.host else self._tokens.host_of(own.get("issuer"))
        repository = body.repository
        if not repository and own.get("issuer") == host.issuer:
            repository = str(own.get("repository_id") or "")
        if not repository:
            raise InputError("names no repository, and you have none there", place="repository")
        access = Access(host.name, repository, body.permissions or READ_SOURCE)
        host.check(access)
        return access, host.issuer
