"""Signing a browser in from a terminal: how whoever proves themself with an SSH key alone comes to the pages.

The terminal asks for a link that is good once, for two minutes, and opens it. What makes it good stands behind the
``#``, so no server is sent it with an address, and the page says who is to be signed in before anybody is: a link that
somebody else sends signs nobody in unseen. The browser's session descends from the terminal's, and ends with it.
"""

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec

from everproof.authorize import Authorizer
from everproof.identity import Identity
from everproof.identity.challenges import Challenge, Challenges
from everproof.identity.replay_store import spend
from everproof.identity.sessions import Beginning, Session
from everproof.kernel.clock import Clock
from everproof.kernel.errors import RefusedError, UnauthenticatedError
from everproof.kernel.words import Proof, Ref
from everproof.server.browser import Browser, CrossSiteError, seen_from
from everproof.server.caller import Callers
from everproof.server.console.paths import FROM_TERMINAL
from everproof.server.denial import allowed
from everproof.server.http import Call, Reply, Route
from everproof.server.sign_on import OURSELVES, SIGN_IN
from everproof.storage import Transaction

KEY: Final = "everproof/handover/v1"
"""What the key of the codes is derived for: no other door's challenge is one of these."""

Code = Annotated[str, msgspec.Meta(max_length=256)]


class HandoverLink(msgspec.Struct, frozen=True):
    """The link, good once. It is a secret."""

    link: str
    expires: datetime

    def __repr__(self) -> str:
        return "HandoverLink()"


class Handover(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands in the link behind the ``#``."""

    code: Code

    def __repr__(self) -> str:
        return "Handover()"


class HandedOver(msgspec.Struct, frozen=True):
    """Who is to be, or was, signed in, and where their terminal is."""

    principal: Ref
    address: str


class HandoverDoor:
    """From the terminal to the browser."""

    def __init__(
        self,
        authorizer: Authorizer,
        identity: Identity,
        callers: Callers,
        browser: Browser,
        clock: Clock,
        *,
        issuer: str,
        key: bytes,
    ) -> None:
        self._authorizer = authorizer
        self._sessions = identity.sessions
        self._callers = callers
        self._browser = browser
        self._challenges = Challenges(clock, server=issuer, key=key)
        self._issuer = issuer

    def routes(self) -> list[Route]:
        """What is served."""
        public: dict[str, Any] = {"door": "sessions", "needs_proof": False, "problems": (401, 403)}
        return [
            Route("POST", "/v1/login/handover", self.begin, door="sessions", status=201),
            Route("POST", "/v1/login/handover/look", self.look, **public),
            Route("POST", "/v1/login/handover/take", self.take, answer=HandedOver, **public),
        ]

    async def begin(self, call: Call) -> HandoverLink:
        """Get a link that signs a browser of the caller's in, from a session in a terminal."""
        proof = self._callers.prove(call.scope)
        session = self._sessions.find(str(proof.claims.get("session", "")))
        if session is None or session.kind != "cli" or session.principal != proof.principal.ref:
            raise RefusedError("only a session in a terminal hands over to a browser", todo="run: everproof login")
        if proof.claims.get("scope") is not None:
            raise RefusedError("a token that was narrowed to a scope hands over no whole session", todo="log in anew")
        allowed(await self._authorizer.authorize(proof, SIGN_IN, OURSELVES, detail={"step": "handover"}))
        challenge = self._challenges.new(session.id)
        return HandoverLink(f"{self._issuer}{FROM_TERMINAL}#{session.id}.{challenge.text}", challenge.expires)

    async def look(self, call: Call, body: Handover) -> HandedOver:
        """Ask whom a link would sign in; it stays good."""
        self._require_own_page(call)
        session, _, proof = self._read(body.code)
        return HandedOver(proof.principal.ref, session.address)

    async def take(self, call: Call, body: Handover) -> Reply:
        """Sign this browser in by a link."""
        self._require_own_page(call)
        before = self._browser.held(call.scope)
        session, challenge, proof = self._read(body.code)
        beginning = Beginning(
            principal=session.principal, kind="browser", provider=session.provider,
            authenticated=session.authenticated, parent=session.id, **seen_from(call.scope),
        )  # fmt: skip

        def begin(tx: Transaction) -> str:
            spend(tx, challenge.id, challenge.expires)
            return self._browser.begin(tx, beginning, instead_of=before)[1]

        outcome = await self._authorizer.authorize(
            proof, SIGN_IN, OURSELVES, within=begin, detail={"step": "handover", "terminal": session.id}
        )
        cookie = allowed(outcome).outcome
        return Reply.of(HandedOver(session.principal, session.address), headers={"set-cookie": cookie})

    def _read(self, code: str) -> tuple[Session, Challenge, Proof]:
        id_, _, text = code.partition(".")
        try:
            challenge = self._challenges.read(text, id_)
        except UnauthenticatedError as error:
            raise UnauthenticatedError(
                "the link is not one of this server, or is too old", place="code", todo="run again: everproof open"
            ) from error
        proof = self._sessions.proof(id_)
        session = self._sessions.find(id_)
        if session is None or session.kind != "cli":
            raise UnauthenticatedError("the terminal's session is over", todo="run: everproof login")
        return session, challenge, proof

    def _require_own_page(self, call: Call) -> None:
        if call.header(b"origin") != self._issuer:
            raise CrossSiteError("the request does not say that a page of this server makes it")
