"""Sessions over HTTP: to look at them, to end them, and what a page needs to bind its own to a key."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec

from everproof.authorize import Authorizer
from everproof.identity import Identity
from everproof.identity.sessions import SESSION, Kind, Session
from everproof.kernel.errors import NotFoundError, RefusedError
from everproof.kernel.words import MAIN_SPACE, Action, Proof, Ref, Resource
from everproof.server.browser import CLEARED, Browser
from everproof.server.caller import Callers
from everproof.server.denial import allowed
from everproof.server.http import Call, Reply, Route
from everproof.server.resources import ANYONE, credential_resource
from everproof.storage import Storage, Transaction

READ: Final = Action("identity:read")
END: Final = Action("credential:revoke")
EVERYONE: Final = Resource(ref=Ref("Identity", ANYONE), parents=(MAIN_SPACE,))

MOST_LISTED: Final = 1_000

Text = Annotated[str, msgspec.Meta(max_length=128)]


class Listing(msgspec.Struct, frozen=True):
    """Whose sessions: those of ``user``, or with ``all`` everyone's; else the caller's own."""

    user: Text = ""
    all: bool = False


class SessionView(msgspec.Struct, frozen=True, kw_only=True):
    """A session as it is shown. ``current``: the request was made in it."""

    id: str
    principal: Ref
    kind: Kind
    provider: str
    created: datetime
    authenticated: datetime
    seen: datetime
    idle_until: datetime
    expires: datetime
    acr: str
    amr: tuple[str, ...]
    factors: Mapping[str, datetime]
    key_bound: bool
    address: str
    agent: str
    current: bool


class SessionList(msgspec.Struct, frozen=True):
    """Sessions that have not ended, the newest first."""

    sessions: tuple[SessionView, ...]


class EndedSession(msgspec.Struct, frozen=True):
    """What ended with the session, itself among it, and the entry that records it."""

    ended: tuple[str, ...]
    entry: str


class PageSession(msgspec.Struct, frozen=True, kw_only=True):
    """What a page has to know of its session; ``cookie_until``: when its key has to renew the cookie, if it has one."""

    id: str
    kind: Kind
    key_bound: bool
    cookie_until: datetime | None
    idle_until: datetime
    expires: datetime


class SessionsDoor:
    """The sessions of people, for themselves and for whoever looks after them."""

    def __init__(
        self, authorizer: Authorizer, identity: Identity, callers: Callers, browser: Browser, storage: Storage
    ) -> None:
        self._authorizer = authorizer
        self._sessions = identity.sessions
        self._directory = identity.directory
        self._callers = callers
        self._browser = browser
        self._storage = storage

    def routes(self) -> list[Route]:
        """What is served."""
        page: dict[str, Any] = {"door": "sessions", "answer": PageSession}
        return [
            Route("GET", "/v1/sessions", self.list, door="sessions"),
            Route("GET", "/v1/sessions/{id}", self.show, door="sessions", problems=(404,)),
            Route("DELETE", "/v1/sessions/{id}", self.end, door="sessions", problems=(404,), answer=EndedSession),
            Route("GET", "/session", self.page, **page),
            Route("POST", "/session/key", self.bind, **page, problems=(409,)),
            Route("POST", "/session/refresh", self.refresh, **page),
            Route("POST", "/session/end", self.sign_out, door="sessions", status=204),
        ]

    async def list(self, call: Call, query: Listing) -> SessionList:
        """List sessions that have not ended."""
        proof = self._callers.prove(call.scope)
        whose = Ref("User", query.user) if query.user else proof.principal.ref
        about = EVERYONE if query.all else self._person(whose, proof)
        allowed(await self._authorizer.authorize(proof, READ, about))
        found = list(self._sessions.all()) if query.all else self._sessions.of(whose)
        return SessionList(tuple(_view(session, proof) for session in found[:MOST_LISTED]))

    async def show(self, call: Call, id: str) -> SessionView:  # noqa: A002 - as it stands in the path
        """Tell what is known of a session."""
        proof = self._callers.prove(call.scope)
        session = self._found(id)
        allowed(await self._authorizer.authorize(proof, READ, _resource(session, proof)))
        return _view(session, proof)

    async def end(self, call: Call, id: str) -> Reply:  # noqa: A002 - as above
        """End a session, with all that came of it."""
        proof = self._callers.prove(call.scope)
        session = self._found(id)
        ended = await self._end(proof, session, f"ended by {proof.principal.ref}")
        mine = proof.kind == SESSION and proof.credential == id
        return Reply.of(ended, headers={"set-cookie": CLEARED} if mine else None)

    async def page(self, call: Call) -> PageSession:
        """Tell a page about its session."""
        return self._page(self._browser.holder(call.scope))

    async def bind(self, call: Call) -> Reply:
        """Bind the page's session to the key of the request's DPoP proof."""
        session = self._browser.holder(call.scope)
        key = self._callers.key(call.scope)
        bound, cookie = await self._storage.write(lambda tx: self._browser.bind(tx, session.id, key))
        return Reply.of(self._page(bound), headers={"set-cookie": cookie})

    async def refresh(self, call: Call) -> Reply:
        """Renew the cookie of a session by the key that it is bound to, shown by a DPoP proof."""
        session = self._browser.holder(call.scope)
        key = self._callers.key(call.scope)
        if session.key != key:
            raise RefusedError("the session is bound to another key, or to none", todo="sign in again")
        renewed, cookie = await self._storage.write(lambda tx: self._browser.renew(tx, session.id))
        return Reply.of(self._page(renewed), headers={"set-cookie": cookie})

    async def sign_out(self, call: Call) -> Reply:
        """End the session of the page; also one whose cookie would have to be renewed."""
        session = self._browser.holder(call.scope)
        await self._end(self._sessions.proof(session.id), session, "signed out")
        return Reply(status=204, headers={"set-cookie": CLEARED})

    async def _end(self, proof: Proof, session: Session, reason: str) -> EndedSession:
        def end(tx: Transaction) -> tuple[str, ...]:
            return self._sessions.end(tx, session.id, reason)

        given = allowed(await self._authorizer.authorize(proof, END, _resource(session, proof), within=end))
        return EndedSession(given.outcome, given.receipt.entry_id)

    def _found(self, id_: str) -> Session:
        session = self._sessions.find(id_)
        if session is None:
            raise NotFoundError("there is no such session, or it has ended")
        return session

    def _person(self, ref: Ref, proof: Proof) -> Resource:
        known = proof.principal if ref == proof.principal.ref else self._directory.principal(ref)
        if known is None:
            return Resource(ref=ref, parents=(MAIN_SPACE,))
        return Resource(ref=ref, attributes=known.attributes, parents=known.parents)

    def _page(self, session: Session) -> PageSession:
        kept = self._sessions.kept(session.id)
        cookie = None if kept is None else kept.cookie
        return PageSession(
            id=session.id,
            kind=session.kind,
            key_bound=session.key is not None,
            cookie_until=None if cookie is None else cookie.until,
            idle_until=session.idle_until,
            expires=session.expires,
        )


def _resource(session: Session, proof: Proof) -> Resource:
    return credential_resource(session.id, session.principal, proof, kind=SESSION)


def _view(session: Session, proof: Proof) -> SessionView:
    return SessionView(
        id=session.id,
        principal=session.principal,
        kind=session.kind,
        provider=session.provider,
        created=session.created,
        authenticated=session.authenticated,
        seen=session.seen,
        idle_until=session.idle_until,
        expires=session.expires,
        acr=session.acr,
        amr=session.amr,
        factors=session.factors,
        key_bound=session.key is not None,
        address=session.address,
        agent=session.agent,
        current=proof.claims.get("session") == session.id,
    )
