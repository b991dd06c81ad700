"""Signing out at the request of a client (OpenID Connect RP-Initiated Logout 1.0).

A client that shows the id_token of this very session signs it out; whoever else sends a browser here has its person
asked. The browser goes on to an address that the client has registered, or nowhere.
"""

import asyncio
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope, Send

from everproof.authorize import Authorizer
from everproof.identity.access_tokens import subject
from everproof.identity.provider import Client, Provider
from everproof.identity.provider.redirects import origin, with_query
from everproof.identity.provider.requests import single
from everproof.identity.sessions import Session, Sessions
from everproof.kernel.errors import Error, InputError
from everproof.kernel.words import Action
from everproof.server.browser import CLEARED, Browser
from everproof.server.console.errors import problem_page
from everproof.server.console.page import page
from everproof.server.denial import allowed
from everproof.server.http import BareRoute, Call, Reply, Route
from everproof.server.http.body import form_pairs, read_body, require_media
from everproof.server.http.call import FORM, send_reply
from everproof.server.http.route import Declaration
from everproof.server.provider.asking import MAX_FORM
from everproof.server.provider.metadata import END_SESSION
from everproof.server.resources import credential_resource
from everproof.storage import Storage

REVOKE: Final = Action("credential:revoke")
CONFIRM: Final = "confirm"
HTML: Final = "text/html; charset=utf-8"


class EndSessionDoor:
    """Ends sessions that clients have learned of."""

    def __init__(
        self,
        authorizer: Authorizer,
        provider: Provider,
        sessions: Sessions,
        browser: Browser,
        storage: Storage,
    ) -> None:
        self._authorizer = authorizer
        self._provider = provider
        self._sessions = sessions
        self._browser = browser
        self._storage = storage

    def routes(self) -> list[Route | BareRoute]:
        """What is served."""
        public: dict[str, Any] = {"door": "provider", "needs_proof": False}
        posted = Declaration(
            method="POST", path=END_SESSION, summary="Sign out, by a form",
            description="A client's own form is answered with the address that does the same by a GET.", **public,
        )  # fmt: skip
        return [
            Route("GET", END_SESSION, self.asked, media=HTML, **public),
            BareRoute(self.posted, posted),
        ]

    async def asked(self, call: Call) -> Reply:
        """Sign out at the request of a client, or ask whether to."""
        return await self._answer(call.scope, call.scope["query_string"], confirmed=False)

    async def posted(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A form of a client, or of our own page that asks."""
        require_media(scope, FORM)
        body = await read_body(scope, receive, limit=MAX_FORM)
        if CONFIRM in dict(parse_qsl(body.decode("latin-1"), keep_blank_values=True)):
            reply = await self._answer(scope, body, confirmed=True)
        else:
            form_pairs(body)
            reply = Reply(status=303, headers={"location": f"{END_SESSION}?{body.decode('ascii')}"})
        await send_reply(scope, send, reply)

    async def _answer(self, scope: Scope, form: bytes, *, confirmed: bool) -> Reply:
        try:
            fields, doubled = single(form_pairs(form))
            if doubled:
                raise InputError("a parameter is there twice", place=min(doubled))
            return await self._end(scope, fields, confirmed=confirmed)
        except Error as error:
            return problem_page(error)

    async def _end(self, scope: Scope, fields: dict[str, str], *, confirmed: bool) -> Reply:
        hint, sid = None, ""
        if "id_token_hint" in fields:
            hint = self._provider.tokens.read_hint(fields["id_token_hint"])
            sid = str(hint["sid"])
        client = self._client(fields, None if hint is None else str(hint["aud"]))
        uri = fields.get("post_logout_redirect_uri", "")
        if uri and (client is None or uri not in client.line.post_logout_redirect_uris):
            raise InputError("the address to go on to is not one of the client's", place="post_logout_redirect_uri")
        onwards = with_query(uri, state=fields.get("state", "")) if uri else ""
        session = self._browser.held(scope)
        if session is None:
            return _gone(onwards, client, cookie=False)
        known = hint is not None and hint.get("sub") == subject(session.principal) and await self._is_of(sid, session)
        if not (confirmed or known):
            return page(
                "end_session.html",
                targets=(origin(uri),) if uri else (),
                who=session.principal.id,
                client="" if client is None else client.title,
                fields=fields,
            )
        proof = self._sessions.proof(session.id)
        about = credential_resource(session.id, session.principal, proof, kind="session")
        allowed(
            await self._authorizer.authorize(
                proof, REVOKE, about, within=lambda tx: self._browser.end(tx, session.id, "signed out")
            )
        )
        return _gone(onwards, client, cookie=True)

    def _client(self, fields: dict[str, str], audience: str | None) -> Client | None:
        named = fields.get("client_id")
        if named is not None and audience is not None and named != audience:
            raise InputError("the id_token is that of another client", place="client_id")
        return self._provider.clients.find(audience or named or "")

    async def _is_of(self, sid: str, session: Session) -> bool:
        return await asyncio.to_thread(self._provider.sign_ins.is_of, sid, session.id)


def _gone(onwards: str, client: Client | None, *, cookie: bool) -> Reply:
    headers = {"set-cookie": CLEARED} if cookie else {}
    if onwards:
        return Reply(status=303, headers={"location": onwards, **headers})
    return page("signed_out.html", headers=headers, client="" if client is None else client.title)
