"""Where clients send browsers: who is there, how sure that is, what the client may know, and a decision (OIDC Core, 3).

A browser without a session goes to `/login` and comes back; one whose session is not sure enough goes to `/step-up`;
one whose person has not consented goes to `/consent/ID`. Nothing is kept meanwhile but a question that was asked.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from everproof.authorize import Authorizer, Denied
from everproof.identity.access_tokens import subject
from everproof.identity.jose import JoseError
from everproof.identity.provider import Provider, assurance, codes, consents
from everproof.identity.provider.codes import CodeGrant
from everproof.identity.provider.errors import AuthorizationError, UnknownClientError
from everproof.identity.provider.redirects import with_query
from everproof.identity.provider.requests import (
    PUSHED,
    Addressed,
    AuthorizationRequest,
    address,
    read_request,
    single,
)
from everproof.identity.provider.resuming import PARAMETER, Seen
from everproof.identity.sessions import Session, Sessions
from everproof.kernel.clock import milliseconds
from everproof.kernel.errors import RefusedError
from everproof.kernel.words import Proof, Ref
from everproof.server.browser import Browser, seen_from
from everproof.server.console.paths import with_next
from everproof.server.denial import DeniedError
from everproof.server.http import BareRoute, Call, Reply, Route
from everproof.server.http.body import form_pairs, read_body, require_media
from everproof.server.http.call import FORM, send_reply
from everproof.server.http.route import Declaration
from everproof.server.provider.asking import MAX_FORM, SIGN_IN, flow, header, read_form
from everproof.server.provider.metadata import AUTHORIZE, PUSH
from everproof.storage import Storage, Transaction

LOGIN: Final = "/login"
RESUME: Final = "/resume"
STEP_UP: Final = "/step-up"
FACTORS: Final = "/factors"
"""Where somebody gets a first one, who has none to show."""

_ANEW: Final = frozenset({"login", "select_account"})

HasFactor = Callable[[Ref], bool]
"""Whether a person has a factor to show. A query."""


class AuthorizeDoor:
    """The authorization endpoint, and the one that takes requests before the browser comes (RFC 9126)."""

    def __init__(
        self,
        authorizer: Authorizer,
        provider: Provider,
        sessions: Sessions,
        browser: Browser,
        storage: Storage,
        *,
        has_factor: HasFactor,
        issuer: str,
    ) -> None:
        self._authorizer = authorizer
        self._provider = provider
        self._sessions = sessions
        self._browser = browser
        self._storage = storage
        self._has_factor = has_factor
        self._issuer = issuer

    def routes(self) -> list[Route | BareRoute]:
        """What is served."""
        public: dict[str, Any] = {"door": "provider", "needs_proof": False}
        posted = Declaration(
            method="POST", path=AUTHORIZE, summary="Begin a sign-in to a client, by a form",
            description="Answered with the address that does the same by a GET.", status=303, **public,
        )  # fmt: skip
        pushed = Declaration(
            method="POST", path=PUSH, summary="Take a sign-in's request from its client (RFC 9126)",
            description="The browser then comes with the name that this gives it.", status=201, **public,
        )  # fmt: skip
        return [
            Route("GET", AUTHORIZE, self.authorize, status=303, media="text/html; charset=utf-8", **public),
            BareRoute(self.posted, posted),
            BareRoute(self.push, pushed),
        ]

    async def posted(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A form, which OpenID Connect lets clients use: as a link, since other sites' forms bring no cookie."""
        require_media(scope, FORM)
        body = await read_body(scope, receive, limit=MAX_FORM)
        form_pairs(body)
        await send_reply(scope, send, Reply(status=303, headers={"location": f"{AUTHORIZE}?{body.decode('ascii')}"}))

    async def push(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a request from its client, and give it a name that is good once."""
        fields = await read_form(scope, receive)
        authenticated = self._provider.authentication.authenticate(fields, header(scope, b"authorization"))
        if "request_uri" in fields:
            raise AuthorizationError("invalid_request", "a name is given here, and not taken", place="request_uri")
        try:
            to = address(self._provider.clients, {**fields, "client_id": authenticated.client.id})
        except UnknownClientError as error:
            raise AuthorizationError("invalid_request", error.message, place=error.place) from error
        request = read_request(to, fields)

        def keep(tx: Any) -> str:
            authenticated.settle(tx)
            return codes.push(tx, request)

        name = await self._storage.write(keep)
        said = {"request_uri": PUSHED + name, "expires_in": int(codes.PUSHED_LIFETIME.total_seconds())}
        await send_reply(scope, send, Reply.of(said, status=201))

    async def authorize(self, call: Call) -> Reply:
        """Begin a sign-in to a client: where a browser is sent by it, and sent back from with a code."""
        fields, doubled = single(form_pairs(call.scope["query_string"]))
        mark = fields.pop(PARAMETER, "")
        to, request = await self._read(fields, doubled)
        if isinstance(request, AuthorizationError):
            return self._answer(to, error=request.oauth_error, error_description=str(request))
        try:
            return await self._go_on(call, to, request, mark)
        except AuthorizationError as error:
            return self._answer(to, error=error.oauth_error, error_description=str(error))

    async def _read(
        self, fields: dict[str, str], doubled: frozenset[str]
    ) -> tuple[Addressed, AuthorizationRequest | AuthorizationError]:
        """Whom to answer, and what is asked, or what is wrong with it."""
        name = fields.get("request_uri", "")
        if name.startswith(PUSHED):
            request = await asyncio.to_thread(self._pushed, name.removeprefix(PUSHED), fields.get("client_id", ""))
            if request is None:
                raise UnknownClientError(
                    "the request has expired, or was used", place="request_uri", todo="begin again where you came from"
                )
            to = address(self._provider.clients, {"client_id": request.client_id, "redirect_uri": request.redirect_uri})
            return Addressed(to.client, to.redirect_uri, request.state), request
        to = address(self._provider.clients, fields, doubled)
        if name:
            error = "request_uri_not_supported"
            return to, AuthorizationError(error, "only what was pushed is read", place="request_uri")
        try:
            return to, read_request(to, fields, doubled)
        except AuthorizationError as found:
            return to, found

    def _pushed(self, name: str, client: str) -> AuthorizationRequest | None:
        now = milliseconds(self._storage.clock.now())
        with self._storage.reading() as connection:
            return codes.find_pushed(connection, name, client=client, now_ms=now)

    async def _go_on(self, call: Call, to: Addressed, request: AuthorizationRequest, mark: str) -> Reply:
        query, resuming = request.query(), self._provider.resuming
        session = self._browser.session(call.scope)
        seen = resuming.seen(query, mark, session="" if session is None else session.id)
        back = f"{AUTHORIZE}?{resuming.mark(query, seen)}"
        if session is None:
            page = RESUME if self._browser.wants_key(call.scope) else LOGIN
            return _away(page, back, request, "login_required", anew=bool(_ANEW.intersection(request.prompt)))
        proof = self._sessions.proof(session.id)
        if (away := self._too_weak(request, session, proof, seen)) is not None:
            page, error = away
            if page == STEP_UP and not await asyncio.to_thread(self._has_factor, session.principal):
                page = LOGIN if error == "login_required" else FACTORS
            if page == LOGIN and seen is not None and session.created >= seen.at:
                raise AuthorizationError("login_required", "the one who signed in is not who is wanted, or not anew")
            return _away(page, back, request, error, anew=page == LOGIN)
        consented = seen is not None and seen.consented
        known = await asyncio.to_thread(self._consent, session, to.client.id)
        needed = consents.is_needed(to.client, request, known, consented=consented)
        if needed and self._authorizer.suppose(proof, SIGN_IN, to.client.resource, facts=flow(proof, "code")):
            if "none" in request.prompt:
                raise AuthorizationError("consent_required", "its user has to be asked")
            return await self._ask(session, request, seen)
        return await self._give(call, to, request, session, unasked=needed)

    async def _give(
        self, call: Call, to: Addressed, request: AuthorizationRequest, session: Session, *, unasked: bool
    ) -> Reply:
        """Give a code, if policy allows it; none where the person was ``unasked``, since it seemed to be denied."""
        proof = self._sessions.proof(session.id)
        grant = CodeGrant(
            request=request, session=session.id, user=session.principal.id, scope=request.scope,
            **seen_from(call.scope),
        )  # fmt: skip

        def give(tx: Transaction) -> str:
            if unasked:
                raise RefusedError(f"you have not let {to.client.title} know who you are", todo="begin again")
            return codes.give_code(tx, grant)

        outcome = await self._authorizer.authorize(
            proof,
            SIGN_IN,
            to.client.resource,
            facts=flow(proof, "code"),
            detail={"step": "code", "scope": list(request.scope)},
            within=give,
        )
        if isinstance(outcome, Denied):
            if "none" in request.prompt:
                raise AuthorizationError("access_denied", outcome.reason)
            raise DeniedError(outcome)
        return self._answer(to, code=outcome.outcome)

    def _too_weak(
        self, request: AuthorizationRequest, session: Session, proof: Proof, seen: Seen | None
    ) -> tuple[str, str] | None:
        """Where the browser goes first, and what it is called where it may not: None if nothing is wanting."""
        since = None if seen is None else _whole(seen.at)
        shown = assurance.auth_time(session)
        if request.id_token_hint and self._hinted(request.id_token_hint) != subject(proof.principal.ref):
            return LOGIN, "login_required"
        if "select_account" in request.prompt and (since is None or session.created < since):
            return LOGIN, "account_selection_required"
        fresh = since is not None and shown >= since
        oldest = request.oldest
        too_old = oldest is not None and self._storage.clock.now() - shown > oldest
        if (too_old or "login" in request.prompt) and not fresh:
            return STEP_UP, "login_required"
        if not assurance.reaches(session, request.acr_values):
            return STEP_UP, "unmet_authentication_requirements"
        return None

    def _hinted(self, hint: str) -> str:
        try:
            return str(self._provider.tokens.read_hint(hint).get("sub"))
        except JoseError as error:
            raise AuthorizationError("invalid_request", error.message, place="id_token_hint") from error

    def _consent(self, session: Session, client: str) -> consents.Consent | None:
        with self._storage.reading() as connection:
            return consents.consent_of(connection, session.principal.id, client)

    async def _ask(self, session: Session, request: AuthorizationRequest, seen: Seen | None) -> Reply:
        at = seen.at if seen is not None else self._storage.clock.now()
        question = consents.Question(request=request, user=session.principal.id, seen=at)
        id_ = await self._storage.write(lambda tx: consents.ask(tx, session, question))
        return _to(f"/consent/{id_}")

    def _answer(self, to: Addressed, **said: str) -> Reply:
        """Send the browser back to the client; ``iss`` says who answers (RFC 9207)."""
        return _to(with_query(to.redirect_uri, **said, state=to.state, iss=self._issuer))


def _whole(at: datetime) -> datetime:
    """Providers say when somebody signed in in whole seconds."""
    return at.replace(microsecond=0)


def _away(page: str, back: str, request: AuthorizationRequest, error: str, *, anew: bool) -> Reply:
    """Send the browser to a page of ours, from which it comes back. ``anew``: who is signed in signs in once more.

    Raises:
        AuthorizationError: its client wants nobody to be asked anything.
    """
    if "none" in request.prompt:
        raise AuthorizationError(error, "its user would have to be asked")
    oldest = 0 if anew else request.max_age
    return _to(with_next(page if oldest is None or page == RESUME else f"{page}?max_age={oldest}", back))


def _to(location: str) -> Reply:
    return Reply(status=303, headers={"location": location})
