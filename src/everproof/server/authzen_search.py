"""The three searches of OpenID AuthZEN Authorization API 1.0, section 8: who, on what, and what someone may do.

A search answers what an evaluation of each candidate would, without the entry of each: what is recorded is the search
as a whole, as the decision that its caller may ask (docs/decisions/0009-searches.md). Nothing may be done on the word
of a search; whoever wants to do it asks for a decision.
"""

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Iterable
from hashlib import sha256
from typing import Annotated, Any, Final, Protocol, TypeVar

import msgspec
from starlette.types import Receive, Scope, Send

from everproof.authorize import Outcome
from everproof.kernel.canonical import encode
from everproof.kernel.errors import InputError, RefusedError
from everproof.kernel.words import MAIN_SPACE, NOTHING, Action, Attributes, Proof, Ref, Resource
from everproof.server.authzen import ASK, ENFORCER, Asked, Name, Prove, Subject, Target, Vouch, cedar_record, json_body
from everproof.server.authzen_candidates import PRINCIPALS, Candidates
from everproof.server.authzen_pages import PageTokens
from everproof.server.denial import allowed
from everproof.server.http import BareRoute
from everproof.server.http.body import json_reader
from everproof.server.http.call import request_id, send_json
from everproof.server.http.route import Declaration
from everproof.server.resources import ANYONE

SEARCHES: Final = {what: f"/access/v1/search/{what}" for what in ("subject", "resource", "action")}

PAGE: Final = 100
"""Results of a page where the caller names no limit."""
MAX_PAGE: Final = 1_000
MAX_EXAMINED: Final = 5_000
"""Candidates decided upon for one page, a third of a second; a page may end with fewer results than it may have."""
TOGETHER: Final = 32
"""Decided in a row before others get a turn: about 2 ms of this process."""
AT_ONCE: Final = 2
"""Searches under way at the same time; others wait."""
MAX_PROPOSED: Final = 500
PROPOSED: Final = "candidates"
"""The key of the context under which the caller proposes resources; policy does not see it."""


class Page(msgspec.Struct, frozen=True):
    """Which part of the results: what comes after ``token``, at most ``limit``."""

    token: Annotated[str, msgspec.Meta(max_length=8192)] = ""
    limit: Annotated[int, msgspec.Meta(ge=0)] | None = None


class Sought(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is searched for: everything of a type. An id is ignored."""

    type: Name
    properties: dict[str, Any] = {}


class SubjectSearch(msgspec.Struct, frozen=True):
    """Who may do this to that?"""

    subject: Sought
    action: Asked
    resource: Target
    context: dict[str, Any] = {}
    page: Page = Page()


class ResourceSearch(msgspec.Struct, frozen=True):
    """To what may this one do that? ``context.candidates`` proposes resources: their ids, or whole resources."""

    subject: Subject
    action: Asked
    resource: Sought
    context: dict[str, Any] = {}
    page: Page = Page()


class ActionSearch(msgspec.Struct, frozen=True):
    """What may this one do to that?"""

    subject: Subject
    resource: Target
    context: dict[str, Any] = {}
    page: Page = Page()


class Entity(msgspec.Struct, frozen=True):
    """A subject or resource that was found."""

    type: str
    id: str


class PageInfo(msgspec.Struct, frozen=True):
    """``next_token`` is empty where no more comes; ``count`` is how many results are in this answer."""

    next_token: str
    count: int


class FoundEntities(msgspec.Struct, frozen=True):
    """Subjects or resources, in the order of their ids. ``context`` names the entry of the ledger."""

    results: tuple[Entity, ...]
    page: PageInfo
    context: dict[str, Any]


class FoundActions(msgspec.Struct, frozen=True):
    """Actions, in the order of their names. ``context`` names the entry of the ledger."""

    results: tuple[Asked, ...]
    page: PageInfo
    context: dict[str, Any]


class _Question(msgspec.Struct, frozen=True):
    """What a page token is good for."""

    caller: Ref
    what: str
    asked: str


class Supposes(Protocol):
    """The one call, and what it would say."""

    async def authorize(
        self,
        proof: Proof,
        action: Action,
        resource: Resource,
        *,
        detail: Attributes = NOTHING,
        request: str | None = None,
    ) -> Outcome:
        """Decide, record, answer."""
        ...

    def suppose(self, proof: Proof, action: Action, resource: Resource, *, context: Attributes = NOTHING) -> bool:
        """What it would answer now."""
        ...


S = TypeVar("S", SubjectSearch, ResourceSearch, ActionSearch)
_Holds = Callable[[str], bool]


class AuthZENSearch:
    """The three search endpoints."""

    def __init__(
        self, authorizer: Supposes, candidates: Candidates, tokens: PageTokens, *, prove: Prove, vouch: Vouch
    ) -> None:
        self._authorizer = authorizer
        self._candidates = candidates
        self._tokens = tokens
        self._prove = prove
        self._vouch = vouch
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._encode = msgspec.json.Encoder().encode

    def routes(self) -> list[BareRoute]:
        """What is served."""
        return [
            self._route("subject", SubjectSearch, FoundEntities, self._subjects),
            self._route("resource", ResourceSearch, FoundEntities, self._resources),
            self._route("action", ActionSearch, FoundActions, self._actions),
        ]

    def _route(self, what: str, kind: type[S], answer: type, search: Callable[..., Awaitable[Any]]) -> BareRoute:
        read = json_reader(kind)

        async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
            proof = self._prove(scope)
            asked = read(await json_body(scope, receive))
            echo = request_id(scope)
            async with self._turns:
                found = await search(proof, asked, None if echo is None else echo.decode())
            await send_json(scope, send, self._encode(found))

        summary = (search.__doc__ or "").rstrip(".")
        path = SEARCHES[what]
        return BareRoute(
            endpoint,
            Declaration(method="POST", path=path, summary=summary, door="authzen", body=kind, answers=(answer,)),
        )

    async def _subjects(self, caller: Proof, asked: SubjectSearch, request: str | None) -> FoundEntities:
        """Search who may do something."""
        type_, action, resource = asked.subject.type, Action(asked.action.name), _resource(asked.resource)
        said = cedar_record(asked.context)
        ids = await asyncio.to_thread(self._candidates.principals, type_)

        def holds(id_: str) -> bool:
            proof = self._proof(caller, Ref(type_, id_))
            return proof is not None and self._authorizer.suppose(proof, action, resource, context=said)

        about = Ref(type_ if type_ in PRINCIPALS else "Identity", ANYONE)
        found, page, receipt = await self._search(
            caller,
            asked,
            what="subject",
            about=about,
            candidates=ids,
            holds=holds,
            request=request,
        )
        return FoundEntities(tuple([Entity(type_, id_) for id_ in found]), page, receipt)

    async def _resources(self, caller: Proof, asked: ResourceSearch, request: str | None) -> FoundEntities:
        """Search to what someone may do something."""
        type_, action, about = asked.resource.type, Action(asked.action.name), Ref(asked.subject.type, asked.subject.id)
        proposed = _proposed(asked.context.get(PROPOSED), type_)
        said = cedar_record({name: value for name, value in asked.context.items() if name != PROPOSED})
        usual = cedar_record(asked.resource.properties)
        known = await asyncio.to_thread(self._candidates.resources, type_)
        proof = self._proof(caller, about)

        def holds(id_: str) -> bool:
            attributes = proposed.get(id_) or usual
            resource = Resource(ref=Ref(type_, id_), attributes=attributes, parents=(MAIN_SPACE,))
            return proof is not None and self._authorizer.suppose(proof, action, resource, context=said)

        ids = {*known, *proposed}
        found, page, receipt = await self._search(
            caller,
            asked,
            what="resource",
            about=about,
            candidates=ids,
            holds=holds,
            request=request,
        )
        return FoundEntities(tuple([Entity(type_, id_) for id_ in found]), page, receipt)

    async def _actions(self, caller: Proof, asked: ActionSearch, request: str | None) -> FoundActions:
        """Search what someone may do to something."""
        about, resource, said = (
            Ref(asked.subject.type, asked.subject.id),
            _resource(asked.resource),
            cedar_record(asked.context),
        )
        proof = self._proof(caller, about)

        def holds(name: str) -> bool:
            return proof is not None and self._authorizer.suppose(proof, Action(name), resource, context=said)

        names = self._candidates.actions(about.type, resource.ref.type)
        found, page, receipt = await self._search(
            caller,
            asked,
            what="action",
            about=about,
            candidates=names,
            holds=holds,
            request=request,
        )
        return FoundActions(tuple([Asked(name) for name in found]), page, receipt)

    def _proof(self, caller: Proof, subject: Ref) -> Proof | None:
        """The proof that an evaluation of this subject would have; None where it is disabled, and may do nothing."""
        if subject == caller.principal.ref:
            return caller
        try:
            proof = self._vouch(caller, subject)
        except RefusedError:
            return None
        return proof if caller.principal.ref.type == ENFORCER else msgspec.structs.replace(proof, vouched_by=None)

    async def _search(
        self,
        caller: Proof,
        asked: S,
        *,
        what: str,
        about: Ref,
        candidates: Iterable[str],
        holds: _Holds,
        request: str | None,
    ) -> tuple[list[str], PageInfo, dict[str, Any]]:
        target = Resource(ref=about, parents=(MAIN_SPACE,))
        told = msgspec.to_builtins(msgspec.structs.replace(asked, page=Page()))
        question = _Question(caller.principal.ref, what, sha256(encode(told)).hexdigest())
        after = self._tokens.open(asked.page.token, question) if asked.page.token else ""
        detail: dict[str, Any] = {"search": what, "asked": cedar_record(told)}
        if not self._authorizer.suppose(caller, ASK, target):  # before anything is looked through for them
            allowed(await self._authorizer.authorize(caller, ASK, target, detail=detail, request=request))
        limit = PAGE if asked.page.limit is None else min(asked.page.limit, MAX_PAGE)
        remaining = await asyncio.to_thread(_next, candidates, after)
        found, examined = await _examine(remaining, holds, limit)
        more = examined < len(remaining)
        last = remaining[examined - 1] if examined else after
        detail |= {"examined": examined, "found": len(found), "results": sha256(encode(found)).hexdigest()}
        permitted = allowed(await self._authorizer.authorize(caller, ASK, target, detail=detail, request=request))
        token = self._tokens.seal(last, question) if more else ""
        receipt = permitted.receipt
        return found, PageInfo(token, len(found)), {"id": receipt.entry_id, "index": receipt.index}


def _next(candidates: Iterable[str], after: str) -> list[str]:
    """The candidates after ``after``, in order, and one more than are examined."""
    return heapq.nsmallest(MAX_EXAMINED + 1, (one for one in candidates if one > after))


async def _examine(candidates: list[str], holds: _Holds, limit: int) -> tuple[list[str], int]:
    """Those that hold, and how many were looked at; others get their turn meanwhile."""
    found: list[str] = []
    for examined, one in enumerate(candidates):
        if len(found) >= limit or examined >= MAX_EXAMINED:
            return found, examined
        if examined % TOGETHER == TOGETHER - 1:
            await asyncio.sleep(0)
        if holds(one):
            found.append(one)
    return found, len(candidates)


def _resource(target: Target) -> Resource:
    return Resource(ref=Ref(target.type, target.id), attributes=cedar_record(target.properties), parents=(MAIN_SPACE,))


class _Proposal(msgspec.Struct, frozen=True):
    id: Name
    type: str = ""
    properties: dict[str, Any] = {}


def _proposed(value: object, type_: str) -> dict[str, Attributes]:
    """The resources that the caller proposes, with their attributes.

    Raises:
        InputError: the list is none, too long, or holds what is no resource of the type.
    """
    if value is None:
        return {}
    place = f"body: context.{PROPOSED}"
    try:
        proposals = msgspec.convert(value, Annotated[list[Name | _Proposal], msgspec.Meta(max_length=MAX_PROPOSED)])
    except msgspec.ValidationError as error:
        todo = f"at most {MAX_PROPOSED} ids, or objects with id and properties"
        raise InputError(str(error), place=place, todo=todo) from error
    found: dict[str, Attributes] = {}
    for one in proposals:
        proposal = _Proposal(one) if isinstance(one, str) else one
        if proposal.type not in ("", type_):
            raise InputError(f"one is a {proposal.type[:80]}, and a {type_[:80]} is searched for", place=place)
        found[proposal.id] = cedar_record(proposal.properties)
    return found
