"""Showing a factor: within a session that has begun, or to begin one by a passkey alone."""

import asyncio
from datetime import datetime
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec

from everproof.authorize import Authorizer
from everproof.identity.directory import Directory
from everproof.identity.factors import (
    SIGN_IN,
    Assertion,
    Factor,
    Factors,
    Kind,
    Method,
    RejectedError,
    Shown,
    step_up_of,
)
from everproof.identity.factors.passkeys import Shown as PasskeyShown
from everproof.identity.sessions import SESSION, Beginning, Session, Sessions
from everproof.identity.ssh_login import SshLogin
from everproof.kernel.clock import Clock
from everproof.kernel.errors import InputError, RefusedError
from everproof.kernel.words import MAIN_SPACE, Action, Fact, Proof, Ref, Resource
from everproof.server.browser import Browser, seen_from
from everproof.server.caller import Callers
from everproof.server.denial import allowed
from everproof.server.entrance import Asked, LoginAnswer, asked
from everproof.server.http import Call, Reply, Route
from everproof.server.sign_on import OURSELVES
from everproof.server.sign_on import SIGN_IN as ENTER
from everproof.storage import Transaction

SHOW: Final = Action("factor:show")
PROOF: Final = "passkey"

Text = Annotated[str, msgspec.Meta(max_length=128)]
Code = Annotated[str, msgspec.Meta(max_length=64)]

SSH: Final = "ssh-security-key"
Shows: TypeAlias = Method | Literal["ssh-security-key"]

CODE_KINDS: Final[dict[str, Kind]] = {"totp": "totp", "recovery-code": "recovery-codes"}


class Where(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The session that is to be shown a factor; empty: the caller's own."""

    session: Text = ""


class Ways(msgspec.Struct, frozen=True):
    """What can be shown, and what to ask an authenticator for (``PublicKeyCredentialRequestOptionsJSON``), if anything.

    ``ssh`` is what to sign with an SSH key that is a security key, as for a login. ``wait_seconds``: in how long the
    next code of a method is looked at, where that is not now.
    """

    session: str
    methods: tuple[Shows, ...]
    options: dict[str, Any] | None
    wait_seconds: dict[str, int]
    ssh: Asked | None = None


class Showing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is shown: an authenticator's answer (``PublicKeyCredential.toJSON()``), a code, or a signature by SSH."""

    method: Shows
    session: Text = ""
    credential: Assertion | None = None
    code: Code = ""
    ssh: LoginAnswer | None = None

    def __repr__(self) -> str:
        return f"Showing({self.method})"


class SteppedUp(msgspec.Struct, frozen=True):
    """The session, what it was shown, and when."""

    session: str
    method: Shows
    at: datetime
    entry: str


class RequestOptions(msgspec.Struct, frozen=True):
    """``PublicKeyCredentialRequestOptionsJSON``, for ``PublicKeyCredential.parseRequestOptionsFromJSON``."""

    options: dict[str, Any]


class Entering(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A passkey's answer."""

    credential: Assertion


class Entered(msgspec.Struct, frozen=True):
    """Who has signed in, and the session."""

    principal: Ref
    session: str
    entry: str


class StepUpDoor:
    """Step-up, and signing in by a passkey."""

    def __init__(
        self,
        authorizer: Authorizer,
        factors: Factors,
        *,
        sessions: Sessions,
        directory: Directory,
        login: SshLogin,
        callers: Callers,
        browser: Browser,
        clock: Clock,
        issuer: str,
    ) -> None:
        self._authorizer = authorizer
        self._factors = factors
        self._sessions = sessions
        self._directory = directory
        self._login = login
        self._callers = callers
        self._browser = browser
        self._clock = clock
        self._issuer = issuer

    def routes(self) -> list[Route]:
        """What is served."""
        own: dict[str, Any] = {"door": "factors", "problems": (404,)}
        public: dict[str, Any] = {"door": "factors", "needs_proof": False}
        return [
            Route("POST", "/v1/step-up/options", self.options, **own),
            Route("POST", "/v1/step-up", self.step_up, door="factors", problems=(404, 429), answer=SteppedUp),
            Route("POST", "/v1/login/passkey/options", self.enter_options, **public),
            Route("POST", "/v1/login/passkey", self.enter, **public, problems=(401, 403), answer=Entered),
        ]

    async def options(self, call: Call, body: Where) -> Ways:
        """Ask which factors can be shown in a session, one's own or another of the same person's."""
        proof = self._callers.prove(call.scope)
        session = self._factors.session_of(proof, body.session)
        person = session.principal
        held = await asyncio.to_thread(self._factors.held, person)
        keys = [factor for factor in held.factors if factor.passkey is not None and factor.state == "live"]
        now = self._clock.now()
        waits: dict[str, int] = {}
        for method in held.methods:
            tried = await asyncio.to_thread(self._factors.attempts, person, method)
            if tried.until is not None and tried.until > now:
                waits[method] = -int((now - tried.until).total_seconds() // 1)
        options = self._factors.passkeys.request(step_up_of(session), keys) if keys else None
        if not self._signs(session):
            return Ways(session.id, held.methods, options, waits)
        return Ways(session.id, (*held.methods, SSH), options, waits, asked(self._login.challenge()))

    async def step_up(self, call: Call, body: Showing) -> Reply:
        """Show a factor in a session, one's own or another of the same person's."""
        proof = self._callers.prove(call.scope)
        session = self._factors.session_of(proof, body.session)
        if body.method == SSH:
            return await self._sign(proof, session, body.ssh)
        shown = await self._shown(session, body)
        here = proof.kind == SESSION and proof.credential == session.id

        def settle(tx: Transaction) -> tuple[Session, str]:
            found = self._factors.settle(tx, shown, session)
            return self._browser.renew(tx, session.id) if here else (found, "")

        about = self._about(shown.factor)
        outcome = allowed(await self._authorizer.authorize(proof, SHOW, about, within=settle))
        found, cookie = outcome.outcome
        view = SteppedUp(session.id, shown.method, found.factors[shown.method], outcome.receipt.entry_id)
        return Reply.of(view, headers={"set-cookie": cookie} if cookie else None)

    async def _sign(self, proof: Proof, session: Session, answer: LoginAnswer | None) -> Reply:
        """Show an SSH key that is a security key, by a signature over the key that the session is bound to."""
        if answer is None or session.key is None:
            raise InputError("there is no signature, or the session is bound to no key", place="body: ssh")
        found = self._login.verify(answer.challenge, answer.signature.encode(), key=session.key)
        if found.proof.principal.ref != session.principal:
            raise RejectedError("this SSH key is somebody else's")
        at, claims = found.proof.at, found.proof.claims
        if not (claims.get("user_present") and claims.get("user_verified")):
            raise RejectedError(
                "this SSH key did not verify its user", todo="use one made with: ssh-keygen -O verify-required"
            )

        def settle(tx: Transaction) -> Session:
            if self._sessions.find(session.id) is None:
                raise RefusedError("the session has ended", todo="log in again")
            found.settle(tx)
            return self._sessions.show_factor(tx, session.id, SSH, at, {"user_verified": True}, of=session.principal)

        attributes = {"kind": SSH, "own": True, "principal_id": session.principal.id}
        about = Resource(ref=Ref("Factor", str(claims["ssh_key"])), attributes=attributes, parents=(MAIN_SPACE,))
        outcome = allowed(await self._authorizer.authorize(proof, SHOW, about, within=settle))
        view = SteppedUp(session.id, "ssh-security-key", outcome.outcome.factors[SSH], outcome.receipt.entry_id)
        return Reply.of(view)

    def _signs(self, session: Session) -> bool:
        """Whether an SSH key can be shown in the session: it is of a terminal, and its person has one that counts."""
        now = self._clock.now()
        keys = self._directory.keys_of(session.principal) if session.key and session.kind == "cli" else ()
        return any(key.kind == "ssh" and key.public.startswith("sk-") and key.is_good(now) for key in keys)

    async def enter_options(self) -> RequestOptions:
        """Ask what to ask an authenticator for, to sign in by a passkey alone."""
        return RequestOptions(self._factors.passkeys.request(SIGN_IN, []))

    async def enter(self, call: Call, body: Entering) -> Reply:
        """Sign in by a passkey, which verifies its user: two factors in one."""
        if call.header(b"origin") != self._issuer:
            # Without a cookie there is nothing else that tells our page from one that signs people in as somebody else.
            raise RefusedError("the request does not say that a page of this server makes it", place="header origin")
        before = self._browser.held(call.scope)
        found = await asyncio.to_thread(self._factors.passkeys.shown, SIGN_IN, body.credential, person=None)
        shown = await self._factors.passkey_shown(found)
        proof = self._proof(shown)

        def settle(tx: Transaction) -> tuple[Session, str]:
            self._factors.passkeys.settle_shown(tx, shown)
            beginning = Beginning(
                principal=proof.principal.ref,
                kind="browser",
                provider=PROOF,
                authenticated=tx.now,
                factors={shown.method: tx.now},
                parent=proof.credential,
                **seen_from(call.scope),
            )
            session, cookie = self._browser.begin(tx, beginning, instead_of=before)
            self._sessions.show_factor(tx, session.id, shown.method, tx.now, shown.strength)
            return session, cookie

        facts = [
            Fact(name, value, proof.at, PROOF)
            for name, value in (("mfa_age", 0), ("mfa_method", shown.method), ("provider", PROOF))
        ]
        outcome = allowed(await self._authorizer.authorize(proof, ENTER, OURSELVES, facts=facts, within=settle))
        session, cookie = outcome.outcome
        view = Entered(proof.principal.ref, session.id, outcome.receipt.entry_id)
        return Reply.of(view, headers={"set-cookie": cookie})

    async def _shown(self, session: Session, body: Showing) -> Shown:
        """What was shown, verified, and not yet used up."""
        if (kind := CODE_KINDS.get(body.method)) is not None:
            if not body.code:
                raise InputError("there is no code", place="body: code")
            return await self._factors.passwords.shown(session.principal, kind, body.code)
        if body.credential is None:
            raise InputError("there is no answer of an authenticator", place="body: credential")
        found = await asyncio.to_thread(
            self._factors.passkeys.shown, step_up_of(session), body.credential, person=session.principal
        )
        return await self._factors.passkey_shown(found)

    def _about(self, factor: Factor) -> Resource:
        attributes = {"kind": factor.kind, "own": True, "principal_id": factor.person.id}
        return Resource(ref=Ref("Factor", factor.id), attributes=attributes, parents=(MAIN_SPACE,))

    def _proof(self, shown: PasskeyShown) -> Proof:
        """Who has shown a passkey."""
        principal = self._directory.principal(shown.factor.person)
        passkey = shown.factor.passkey
        if principal is None or passkey is None:
            raise RejectedError("whoever this authenticator belongs to is disabled", todo="ask an administrator")
        return Proof(
            kind=PROOF, principal=principal, at=self._clock.now(), credential=passkey.lineage,
            claims={"factor": shown.factor.id, "user_verified": shown.asserted.user_verified},
        )  # fmt: skip
