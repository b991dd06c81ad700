"""Access for a while: requests and the answers to them, grants, and incidents."""

import asyncio
from typing import Annotated, TypeVar

import msgspec

from everproof.access import Access, GrantRecord, Query, RequestRecord, Wanted
from everproof.access.incident_store import Incident
from everproof.access.records import State
from everproof.authorize import Denied
from everproof.server.caller import Callers
from everproof.server.denial import allowed, denial
from everproof.server.http import Call, Route

T = TypeVar("T")

Text = Annotated[str, msgspec.Meta(max_length=2_000)]
Name = Annotated[str, msgspec.Meta(max_length=256)]
Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]


class Approving(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An approval of exactly the request that has this digest."""

    digest: Digest
    message: Text = ""


class Refusing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why not."""

    reason: Text


class RequestQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which requests: in these states, of one person, of one action; those before an id, the newest first."""

    state: tuple[State, ...] = ()
    requester: Name = ""
    action: Name = ""
    before: Name = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 100


class GrantQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which grants: of one person; ``over``: those that have ended too."""

    principal: Name = ""
    over: bool = False


class Revoking(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a grant is taken back."""

    reason: Text = ""


class Opening(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is wrong, in a few words."""

    name: Text


class RequestPage(msgspec.Struct, frozen=True):
    """Requests, the newest first; ``mine`` are those that the caller may answer."""

    requests: tuple[RequestRecord, ...]
    mine: tuple[str, ...]


class GrantPage(msgspec.Struct, frozen=True):
    """Grants; ``open`` is what is left to be done about break-glass."""

    grants: tuple[GrantRecord, ...]
    open: tuple[str, ...] = ()


class IncidentPage(msgspec.Struct, frozen=True):
    """Incidents, the newest first."""

    incidents: tuple[Incident, ...]


class AccessDoor:
    """The door of requests, grants and incidents."""

    def __init__(self, access: Access, callers: Callers) -> None:
        self._access = access
        self._requests = access.requests
        self._callers = callers

    def routes(self) -> list[Route]:
        """What is served."""
        door, found = "access", (404,)
        one = "/v1/access/requests/{id}"
        return [
            Route("POST", "/v1/access/requests", self.request, door=door, status=201),
            Route("GET", "/v1/access/requests", self.requests, door=door),
            Route("GET", one, self.show, door=door, problems=found),
            Route("POST", f"{one}/approve", self.approve, door=door, problems=found),
            Route("POST", f"{one}/refuse", self.refuse, door=door, problems=found),
            Route("POST", f"{one}/cancel", self.cancel, door=door, problems=found),
            Route("GET", "/v1/access/grants", self.grants, door=door),
            Route("DELETE", "/v1/access/grants/{id}", self.revoke, door=door, problems=found),
            Route("GET", "/v1/access/incidents", self.incidents, door=door),
            Route("POST", "/v1/access/incidents", self.open, door=door, status=201),
            Route("POST", "/v1/access/incidents/{id}/close", self.close, door=door, problems=found),
        ]

    async def request(self, call: Call, body: Wanted) -> RequestRecord:
        """Ask for access for a while, for oneself.

        Where policy lets nobody wait, it is granted when this answers.
        """
        proof = self._callers.prove(call.scope)
        made = allowed(await self._requests.request(proof, body)).outcome
        return await asyncio.to_thread(self._access.read, made.id)

    async def requests(self, call: Call, query: RequestQuery) -> RequestPage:
        """List the requests that the caller may see, open or not."""
        proof = self._callers.prove(call.scope)
        wanted = Query(**msgspec.structs.asdict(query))
        found = listed(await self._requests.find(proof, wanted))
        mine = await asyncio.to_thread(lambda: [one.id for one in found if self._requests.may_answer(proof, one)])
        return RequestPage(tuple(found), tuple(mine))

    async def show(self, call: Call, id: str) -> RequestRecord:  # noqa: A002 - as it stands in the path
        """Show a request: who asked, who answered, and what came of it."""
        return allowed(await self._requests.show(self._callers.prove(call.scope), id)).outcome

    async def approve(self, call: Call, id: str, body: Approving) -> RequestRecord:  # noqa: A002 - as above
        """Approve a request; with the last approval that it takes, it is granted.

        ``digest`` is that of the request as the caller has seen it: what it says cannot change under an approval.
        """
        proof = self._callers.prove(call.scope)
        return allowed(await self._requests.approve(proof, id, digest=body.digest, message=body.message)).outcome

    async def refuse(self, call: Call, id: str, body: Refusing) -> RequestRecord:  # noqa: A002 - as above
        """Refuse a request, for good."""
        return allowed(
            await self._requests.refuse(self._callers.prove(call.scope), id, reason=body.reason)
        ).outcome  # fmt: skip

    async def cancel(self, call: Call, id: str) -> RequestRecord:  # noqa: A002 - as above
        """Take one's own request back."""
        return allowed(await self._requests.cancel(self._callers.prove(call.scope), id)).outcome

    async def grants(self, call: Call, query: GrantQuery) -> GrantPage:
        """List the grants that the caller may see."""
        proof = self._callers.prove(call.scope)
        found = listed(await self._requests.grants(proof, principal=query.principal, over=query.over))
        return GrantPage(tuple(found), tuple(self._access.break_glass.left()))

    async def revoke(self, call: Call, id: str, query: Revoking) -> GrantRecord:  # noqa: A002 - as above
        """Take a grant back: from now on it opens nothing."""
        proof = self._callers.prove(call.scope)
        return allowed(await self._requests.revoke(proof, id, reason=query.reason)).outcome

    async def incidents(self, call: Call) -> IncidentPage:
        """List incidents, for whoever has proven who they are."""
        outcome = await self._access.incidents.find(self._callers.prove(call.scope))
        return IncidentPage(tuple(listed(outcome)))

    async def open(self, call: Call, body: Opening) -> Incident:
        """Open an incident: a fact of every decision until it is closed."""
        return allowed(await self._access.incidents.open(self._callers.prove(call.scope), body.name)).outcome

    async def close(self, call: Call, id: str) -> Incident:  # noqa: A002 - as above
        """Close an incident."""
        return allowed(await self._access.incidents.close(self._callers.prove(call.scope), id)).outcome


def listed(outcome: list[T] | Denied) -> list[T]:
    """What was found.

    Raises:
        DeniedError: policy lets nobody look.
    """
    if isinstance(outcome, Denied):
        raise denial(outcome)
    return outcome
