"""Consent: what a person is asked for a client, and what they answer. The page is drawn by the console."""

import asyncio
from typing import Annotated, Any, Final, Literal

import msgspec

from everproof.authorize import Authorizer
from everproof.identity.provider import Provider, consents
from everproof.identity.provider.clients import Client
from everproof.identity.provider.consents import Question
from everproof.identity.provider.redirects import origin, with_query
from everproof.identity.provider.resuming import Seen
from everproof.kernel.errors import NotFoundError
from everproof.kernel.words import Proof
from everproof.server.caller import Callers
from everproof.server.denial import allowed
from everproof.server.http import Call, Reply, Route
from everproof.server.provider.asking import SIGN_IN, flow
from everproof.server.provider.metadata import AUTHORIZE
from everproof.storage import Storage, Transaction

_TOLD: Final = {
    "openid": "that you are you, by a name that is always the same",
    "profile": "your name and your id here",
    "email": "your e-mail address",
    "groups": "the groups that you are in",
}
_ACTS: Final = "nothing; it becomes you: it may do all that you may, until its session ends"

Answer = Literal["yes", "no"]


class ConsentAsked(msgspec.Struct, frozen=True, kw_only=True):
    """What a client wants to know. ``leads_to`` is the origin that the browser goes on to."""

    id: str
    client: str
    title: str
    url: str
    own: bool
    scopes: tuple[str, ...]
    told: tuple[str, ...]
    leads_to: str


class ConsentAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Yes or no."""

    answer: Answer


class Onwards(msgspec.Struct, frozen=True):
    """Where the browser goes next: an address of this server, or of the client."""

    location: str


class ConsentGiven(msgspec.Struct, frozen=True):
    """What a client may know of the caller."""

    client: str
    title: str
    scopes: tuple[str, ...]


class ConsentsGiven(msgspec.Struct, frozen=True):
    """What the caller lets clients know."""

    consents: tuple[ConsentGiven, ...]


class ConsentDoor:
    """Consents, asked for and given."""

    def __init__(
        self, authorizer: Authorizer, provider: Provider, callers: Callers, storage: Storage, *, issuer: str
    ) -> None:
        self._authorizer = authorizer
        self._provider = provider
        self._callers = callers
        self._storage = storage
        self._issuer = issuer

    def routes(self) -> list[Route]:
        """What is served."""
        own: dict[str, Any] = {"door": "provider", "problems": (404,)}
        return [
            Route("GET", "/v1/consent/{id}", self.show, answer=ConsentAsked, **own),
            Route("POST", "/v1/consent/{id}", self.take, answer=Onwards, **own),
            Route("GET", "/v1/consents", self.given, door="provider", answer=ConsentsGiven),
            Route("DELETE", "/v1/consents/{client}", self.withdraw, status=204, **own),
        ]

    async def show(self, call: Call, id: Annotated[str, "a question's id"]) -> ConsentAsked:  # noqa: A002 - the path's
        """Ask what a client wants to know of the caller."""
        return await self.asked(self._callers.prove(call.scope), id)

    async def take(self, call: Call, id: str, body: ConsentAnswer) -> Onwards:  # noqa: A002 - the path's
        """Let a client know what it asks for, or not."""
        return await self.answer(self._callers.prove(call.scope), id, gives=body.answer == "yes")

    async def given(self, call: Call) -> ConsentsGiven:
        """List what the caller lets clients know."""
        return ConsentsGiven(await self.of(self._callers.prove(call.scope)))

    async def withdraw(self, call: Call, client: str) -> Reply:
        """Let a client know no more, and end the caller's sign-ins to it."""
        await self.forget(self._callers.prove(call.scope), client)
        return Reply(status=204)

    async def asked(self, proof: Proof, id_: str) -> ConsentAsked:
        """What is asked of whoever ``proof`` proves, in their browser's session.

        Raises:
            NotFoundError: nothing is, in this session.
        """
        question, client = await self._question(proof, id_)
        scopes = question.request.scope
        return ConsentAsked(
            id=id_,
            client=client.id,
            title=client.title,
            url=client.line.url,
            own=client.own,
            scopes=scopes,
            told=(_ACTS,) if client.own else tuple(_TOLD[one] for one in scopes),
            leads_to=origin(question.request.redirect_uri),
        )

    async def answer(self, proof: Proof, id_: str, *, gives: bool) -> Onwards:
        """Answer what was asked; as `asked`."""
        question, client = await self._question(proof, id_)
        request = question.request
        if not gives:
            await self._storage.write(lambda tx: consents.answer(tx, id_, question, gives=False))
            refused = with_query(
                request.redirect_uri, error="access_denied", error_description="its user has refused",
                state=request.state, iss=self._issuer,
            )  # fmt: skip
            return Onwards(refused)
        outcome = await self._authorizer.authorize(
            proof,
            SIGN_IN,
            client.resource,
            facts=flow(proof, "code"),
            detail={"step": "consent", "scope": list(request.scope)},
            within=lambda tx: consents.answer(tx, id_, question, gives=True),
        )
        allowed(outcome)
        session = str(proof.claims.get("session"))
        query = self._provider.resuming.mark(request.query(), Seen(question.seen), consented=session)
        return Onwards(f"{AUTHORIZE}?{query}")

    async def of(self, proof: Proof) -> tuple[ConsentGiven, ...]:
        """What whoever ``proof`` proves lets clients know."""
        user = proof.principal.ref.id
        known = await asyncio.to_thread(self._read, lambda connection: consents.consents_of(connection, user))
        found = [(self._provider.clients.find(id_), one) for id_, one in known.items()]
        return tuple(
            ConsentGiven(client.id, client.title, tuple(sorted(one.scope)))
            for client, one in found
            if client is not None
        )

    async def forget(self, proof: Proof, client: str) -> None:
        """Let ``client`` know no more of whoever ``proof`` proves, and end their sign-ins to it.

        Raises:
            NotFoundError: it may know nothing.
        """
        user = proof.principal.ref.id

        def change(tx: Transaction) -> bool:
            if not consents.withdraw(tx, user, client):
                return False
            self._provider.sign_ins.end_at(tx, user, client)
            return True

        if not await self._storage.write(change):
            raise NotFoundError("you let no client of this name know anything", place="client")

    async def _question(self, proof: Proof, id_: str) -> tuple[Question, Client]:
        session = proof.claims.get("session", "")
        now = self._storage.clock.now()
        question = await asyncio.to_thread(
            self._read, lambda connection: consents.question_of(connection, id_, session, now)
        )
        client = self._provider.clients.find(question.request.client_id)
        if client is None:
            raise NotFoundError("the client is known no more")
        return question, client

    def _read(self, query: Any) -> Any:
        with self._storage.reading() as connection:
            return query(connection)
