"""How people and machines come in: logging in with an SSH key, enrolling by a link, joining by a token.

Each is decided by policy, recorded, and done in the same commit. The certificate authority that callers know this
server by is given to anyone: who has its fingerprint from a link can tell whether it is the right one.
"""

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from everproof.authorize import Authorizer
from everproof.identity import Identity, PrincipalRecord
from everproof.identity.access_tokens import subject
from everproof.identity.challenges import Challenge
from everproof.identity.enrolment import ACTION as ENROL
from everproof.identity.enrolment import EnrolmentRequest, invite, link
from everproof.identity.exchange import TokenReply, in_session
from everproof.identity.machines import JoinRequest, join_token
from everproof.identity.tickets import Issued
from everproof.identity.token_request import TokenRequest
from everproof.kernel.errors import NotFoundError
from everproof.kernel.words import Attributes, Proof, Ref
from everproof.server.browser import seen_from
from everproof.server.caller import Callers
from everproof.server.denial import allowed
from everproof.server.http import Call, Reply, Route
from everproof.server.oauth import facts_of
from everproof.server.resources import ANYONE, members
from everproof.server.tls import CA_FILE
from everproof.storage import Change, Transaction

LOGIN: Final = "/v1/login"
JOIN: Final = "/v1/identity/join"
SESSION: Final = timedelta(minutes=60)
"""As long as any token lives: the key that a person signs with is asked for once an hour."""
DAY_SECONDS: Final = 24 * 3600
HOUR_SECONDS: Final = 3600
WEEK_SECONDS: Final = 7 * DAY_SECONDS

Text = Annotated[str, msgspec.Meta(max_length=512)]
Texts = Annotated[tuple[Text, ...], msgspec.Meta(max_length=500)]
Seconds = Annotated[int, msgspec.Meta(ge=1, le=WEEK_SECONDS)]


class Asked(msgspec.Struct, frozen=True):
    """What is to be signed over; ``at`` stands in what is signed."""

    challenge: str
    at: datetime


class LoginAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The challenge, and the armoured SSH signature over it in namespace ``login@everproof``."""

    challenge: Text
    signature: Annotated[str, msgspec.Meta(max_length=32_768)]


class Invitation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom to invite: ``user`` fixes the id, else the person chooses it; ``emails`` are what they may commit as."""

    user: Text = ""
    emails: Texts = ()
    groups: Texts = ()
    lifetime_seconds: Seconds = DAY_SECONDS


class Invited(msgspec.Struct, frozen=True):
    """The link, good once. It is a secret."""

    id: str
    link: str
    expires: datetime

    def __repr__(self) -> str:
        return f"Invited({self.id})"


class JoinToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which machine may join: ``machine`` fixes its name, else it chooses it."""

    machine: Text = ""
    groups: Texts = ()
    lifetime_seconds: Seconds = HOUR_SECONDS


class JoinTokenMade(msgspec.Struct, frozen=True):
    """The token, good once. It is a secret."""

    id: str
    token: str
    expires: datetime

    def __repr__(self) -> str:
        return f"JoinTokenMade({self.id})"


class Entrance:
    """The ways in."""

    def __init__(
        self, authorizer: Authorizer, identity: Identity, callers: Callers, *, issuer: str, state: Path
    ) -> None:
        self._authorizer = authorizer
        self._identity = identity
        self._callers = callers
        self._issuer = issuer
        self._ca = state / CA_FILE

    def routes(self) -> list[Route]:
        """What is served."""
        public: dict[str, Any] = {"door": "entrance", "needs_proof": False, "problems": (401, 403, 409)}
        own: dict[str, Any] = {"door": "entrance", "status": 201}
        pem = "application/pem-certificate-chain"
        return [
            Route("GET", "/ca.pem", self.ca, door="entrance", needs_proof=False, media=pem, problems=(404,)),
            Route("POST", f"{LOGIN}/challenge", self.login_challenge, door="entrance", needs_proof=False),
            Route("POST", LOGIN, self.login, **public),
            Route("POST", "/v1/enrol/challenge", self.enrol_challenge, door="entrance", needs_proof=False),
            Route("POST", "/v1/enrol", self.enrol, status=201, **public),
            Route("POST", JOIN, self.join, status=201, **public),
            Route("POST", "/v1/identity/invitations", self.invite, **own),
            Route("POST", "/v1/identity/join-tokens", self.join_token, **own),
        ]

    async def ca(self) -> Reply:
        """The certificate authority of this server's own certificate, to be believed by its fingerprint alone."""
        try:
            return Reply(await asyncio.to_thread(self._ca.read_bytes), media="application/pem-certificate-chain")
        except FileNotFoundError as error:
            raise NotFoundError("this server has no certificate authority of its own") from error

    async def login_challenge(self) -> Asked:
        """Ask for something to sign over, to log in."""
        return asked(self._identity.login.challenge())

    async def login(self, call: Call, body: LoginAnswer) -> TokenReply:
        """Log in: an SSH signature for a token, bound to the key of the request's DPoP proof."""
        key = self._callers.key(call.scope)
        found = self._identity.login.verify(body.challenge, body.signature.encode(), key=key)
        exchange, proof = self._identity.exchange, found.proof
        request = TokenRequest(grant_type="login", lifetime=SESSION)
        client, latest = subject(proof.principal.ref), proof.expires
        plan = exchange.plan(request, proof, source=None, client=client, latest=latest, recorded=True)

        def issue(tx: Transaction) -> TokenReply:
            found.settle(tx)
            session = self._identity.sessions.begin(tx, found.beginning(**seen_from(call.scope)))
            return exchange.issue(tx, in_session(plan, session.id))

        outcome = await self._authorizer.authorize(
            plan.proof, plan.action, plan.resource, facts=facts_of(plan), within=issue
        )
        reply: TokenReply = allowed(outcome).outcome
        return reply

    async def enrol_challenge(self) -> Asked:
        """Ask for something to sign over, to enrol."""
        return asked(self._identity.enrolment.challenge())

    async def enrol(self, body: EnrolmentRequest) -> PrincipalRecord:
        """Enrol by a link that is good once, with the SSH key that signed."""
        found = await asyncio.to_thread(self._identity.enrolment.verify, body)
        outcome = await self._authorizer.authorize(found.proof, ENROL, found.resource, within=found.settle)
        record: PrincipalRecord = allowed(outcome).outcome
        return record

    async def join(self, call: Call, body: JoinRequest) -> PrincipalRecord:
        """Join as a machine by a token that is good once, with the key of the request's DPoP proof."""
        shown = self._callers.key(call.scope)
        found = await asyncio.to_thread(lambda: self._identity.machines.verify(body, shown=shown))
        outcome = await self._authorizer.authorize(found.proof, ENROL, found.resource, within=found.settle)
        record: PrincipalRecord = allowed(outcome).outcome
        return record

    async def invite(self, call: Call, body: Invitation) -> Invited:
        """Make a link by which one person enrols."""
        proof = self._callers.prove(call.scope)
        who = Ref("User", body.user or ANYONE)
        detail = {"groups": list(body.groups), "emails": list(body.emails)}
        lifetime = timedelta(seconds=body.lifetime_seconds)
        made = await self._let_in(
            proof,
            who,
            body.groups,
            lambda tx: invite(
                tx,
                groups=body.groups,
                user=body.user,
                emails=body.emails,
                by=proof.principal.ref,
                lifetime=lifetime,
            ),
            detail,
        )
        return Invited(made.ticket.id, link(self._issuer, made.secret), made.ticket.expires)

    async def join_token(self, call: Call, body: JoinToken) -> JoinTokenMade:
        """Make a token by which one machine joins."""
        proof = self._callers.prove(call.scope)
        machine = Ref("Machine", body.machine or ANYONE)
        lifetime = timedelta(seconds=body.lifetime_seconds)
        made = await self._let_in(
            proof,
            machine,
            body.groups,
            lambda tx: join_token(
                tx, groups=body.groups, machine=body.machine, by=proof.principal.ref, lifetime=lifetime
            ),
            {"groups": list(body.groups)},
        )
        return JoinTokenMade(made.ticket.id, made.secret, made.ticket.expires)

    async def _let_in(self, proof: Proof, who: Ref, groups: Texts, make: Change[Issued], detail: Attributes) -> Issued:
        """Let ``who`` into ``groups``, if the caller may let it into each of them."""
        *others, last = members(self._identity.directory, who, groups)
        for one in others:
            allowed(await self._authorizer.authorize(proof, ENROL, one, detail=detail))
        return allowed(await self._authorizer.authorize(proof, ENROL, last, within=make, detail=detail)).outcome


def asked(challenge: Challenge) -> Asked:
    """A challenge as callers are told it."""
    return Asked(challenge.text, challenge.at)
