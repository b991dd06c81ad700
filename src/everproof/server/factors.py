"""People's own factors: adding, naming and removing them. Each change is done in the commit that decides it."""

import asyncio
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec

from everproof.authorize import Authorizer
from everproof.identity.factors import (
    Codes,
    Enrolling,
    Factor,
    Factors,
    Held,
    Kind,
    Method,
    NewCredential,
    Secret,
    name_of,
)
from everproof.identity.factors.totp import Drawn
from everproof.identity.sessions import Session, Sessions
from everproof.kernel.errors import NotFoundError
from everproof.kernel.words import Action, Attributes, Fact, Proof, Ref, Resource
from everproof.server.caller import Callers
from everproof.server.denial import allowed
from everproof.server.http import Call, Route
from everproof.storage import Transaction

READ: Final = Action("factor:read")
ENROL: Final = Action("factor:enrol")
RENAME: Final = Action("factor:rename")
REMOVE: Final = Action("factor:remove")

Text = Annotated[str, msgspec.Meta(max_length=512)]
Ticket = Annotated[str, msgspec.Meta(max_length=64)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Code = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class FactorView(msgspec.Struct, frozen=True, kw_only=True):
    """A factor as its owner sees it. ``attested``: its maker vouches for what it is."""

    id: str
    kind: Kind
    name: str
    state: str
    created: datetime
    used: datetime | None
    suspended_for: str
    aaguid: str = ""
    attested: bool = False
    transports: tuple[str, ...] = ()
    backup_eligible: bool = False
    backed_up: bool = False


class HeldView(msgspec.Struct, frozen=True):
    """What a person has, what of it can be shown now, and how many recovery codes are left."""

    factors: tuple[FactorView, ...]
    methods: tuple[Method, ...]
    codes_left: int


class Whose(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose factors; empty: the caller's own."""

    person: Text = ""


class WantedPasskey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be added: a passkey verifies its user, a security key is touched.

    ``recovery``, here and below, is the ticket of a recovery that is good.
    """

    kind: Literal["passkey", "security-key"] = "passkey"
    recovery: Ticket = ""

    def __repr__(self) -> str:
        return f"WantedPasskey({self.kind})"


class CreationOptions(msgspec.Struct, frozen=True):
    """``PublicKeyCredentialCreationOptionsJSON``, for ``PublicKeyCredential.parseCreationOptionsFromJSON``."""

    options: dict[str, Any]


class NewPasskey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the authenticator has made (``PublicKeyCredential.toJSON()``), and what to call it."""

    credential: NewCredential
    name: Name
    kind: Literal["passkey", "security-key"] = "passkey"
    recovery: Ticket = ""

    def __repr__(self) -> str:
        return f"NewPasskey({self.kind})"


class NewTotp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to call the app."""

    name: Name = "authenticator app"
    recovery: Ticket = ""

    def __repr__(self) -> str:
        return f"NewTotp({self.name!a})"


class SecretView(msgspec.Struct, frozen=True):
    """The secret for an app, given once: as people type it, as an address, and as a QR code. It is a secret."""

    id: str
    secret: str
    uri: str
    qr: Drawn

    def __repr__(self) -> str:
        return f"SecretView({self.id})"


class FirstCode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first code of an app, which shows that it has its secret."""

    id: Text
    code: Code
    recovery: Ticket = ""

    def __repr__(self) -> str:
        return f"FirstCode({self.id})"


class CodesView(msgspec.Struct, frozen=True):
    """New recovery codes, given once. They are secrets; those before are worth nothing any more."""

    factor: FactorView
    codes: tuple[str, ...]

    def __repr__(self) -> str:
        return f"CodesView({self.factor.id})"


class Renaming(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a factor is to be called."""

    name: Name


class Removed(msgspec.Struct, frozen=True):
    """The factor that was removed, and the entry that records it."""

    id: str
    entry: str


class FactorsDoor:
    """Factors."""

    def __init__(self, authorizer: Authorizer, factors: Factors, sessions: Sessions, callers: Callers) -> None:
        self._authorizer = authorizer
        self._factors = factors
        self._sessions = sessions
        self._callers = callers

    def routes(self) -> list[Route]:
        """What is served."""
        given: dict[str, Any] = {"door": "factors"}
        made: dict[str, Any] = {**given, "status": 201, "problems": (409,)}
        one: dict[str, Any] = {**given, "problems": (404,)}
        return [
            Route("GET", "/v1/factors", self.held, **one),
            Route("POST", "/v1/factors/passkeys/options", self.passkey_options, **given),
            Route("POST", "/v1/factors/passkeys", self.add_passkey, **made),
            Route("POST", "/v1/factors/totp", self.begin_totp, **made),
            Route("POST", "/v1/factors/totp/confirm", self.confirm_totp, door="factors", problems=(409, 429)),
            Route("POST", "/v1/factors/recovery-codes", self.make_codes, **made),
            Route("PATCH", "/v1/factors/{id}", self.rename, **one),
            Route("DELETE", "/v1/factors/{id}", self.remove, **one),
        ]

    async def held(self, call: Call, query: Whose) -> HeldView:
        """List a person's factors."""
        proof = self._callers.prove(call.scope)
        person = Ref("User", query.person) if query.person else proof.principal.ref
        held = await self._held(person)
        about = self._factors.resource(person, proof.principal.ref, held)
        allowed(await self._authorizer.authorize(proof, READ, about))
        return _view_held(held)

    async def passkey_options(self, call: Call, body: WantedPasskey) -> CreationOptions:
        """Ask what to ask an authenticator for, to add a passkey or a security key."""
        proof, session, about = await self._enrolling(call, body.kind)
        outcome = await self._authorizer.authorize(
            proof,
            ENROL,
            about,
            facts=await self._facts(proof, body.recovery),
            within=lambda tx: self._factors.passkeys.options(tx, proof.principal, body.kind, session.id),
        )
        return CreationOptions(allowed(outcome).outcome)

    async def add_passkey(self, call: Call, body: NewPasskey) -> FactorView:
        """Add the passkey or security key that an authenticator has made."""
        proof, session, about = await self._enrolling(call, body.kind)
        name, person = name_of(body.name), proof.principal.ref
        made: Enrolling = await asyncio.to_thread(
            self._factors.passkeys.read, person, body.kind, session.id, body.credential
        )

        def settle(tx: Transaction) -> Factor:
            self._factors.require_still(tx, about, person)
            recovery = self._factors.recoveries.require(tx, person, body.recovery)
            factor = self._factors.passkeys.settle(tx, person, name, made)
            if recovery is not None:
                self._factors.recoveries.use(tx, recovery, factor, session.id)
            self._shown_first(tx, session, body.kind, made.strength)
            return factor

        facts = await self._facts(proof, body.recovery)
        outcome = await self._authorizer.authorize(proof, ENROL, about, facts=facts, within=settle)
        return _view(allowed(outcome).outcome)

    async def begin_totp(self, call: Call, body: NewTotp) -> SecretView:
        """Begin to add an app for one-time passwords: its secret, given once."""
        proof, _, about = await self._enrolling(call, "totp")
        name, person = name_of(body.name), proof.principal.ref
        facts = tuple(await self._facts(proof, body.recovery))
        outcome = await self._authorizer.authorize(
            proof,
            ENROL,
            about,
            facts=facts,
            within=lambda tx: self._factors.passwords.begin(tx, person, name, instead=bool(facts)),
        )
        secret: Secret = allowed(outcome).outcome
        return SecretView(secret.id, secret.secret, secret.uri, secret.qr)

    async def confirm_totp(self, call: Call, body: FirstCode) -> FactorView:
        """Add the app, which has shown its first code."""
        proof, session, about = await self._enrolling(call, "totp")
        person = proof.principal.ref
        shown = await self._factors.passwords.shown(person, "totp", body.code, pending=body.id)

        def settle(tx: Transaction) -> Factor:
            self._factors.require_still(tx, about, person)
            recovery = self._factors.recoveries.require(tx, person, body.recovery)
            factor = self._factors.passwords.confirm(tx, shown)
            if recovery is not None:
                self._factors.recoveries.use(tx, recovery, factor, session.id)
            self._shown_first(tx, session, shown.method, shown.strength)
            return factor

        facts = await self._facts(proof, body.recovery)
        outcome = await self._authorizer.authorize(proof, ENROL, about, facts=facts, within=settle)
        return _view(allowed(outcome).outcome)

    async def make_codes(self, call: Call) -> CodesView:
        """Make new recovery codes, given once; those before end."""
        proof, _, about = await self._enrolling(call, "recovery-codes")
        person = proof.principal.ref
        outcome = await self._authorizer.authorize(
            proof, ENROL, about, within=lambda tx: self._factors.passwords.make_codes(tx, person)
        )
        made: Codes = allowed(outcome).outcome
        return CodesView(_view(made.factor), made.codes)

    async def rename(self, call: Call, id: str, body: Renaming) -> FactorView:  # noqa: A002 - as it stands in the path
        """Call a factor of one's own something else."""
        proof = self._callers.prove(call.scope)
        person = proof.principal.ref
        held = await self._held(person)
        about = self._factors.resource(person, person, held, held.find(id))
        outcome = await self._authorizer.authorize(
            proof, RENAME, about, within=lambda tx: self._factors.rename(tx, person, id, body.name)
        )
        return _view(allowed(outcome).outcome)

    async def remove(self, call: Call, id: str) -> Removed:  # noqa: A002 - as above
        """Remove a factor; the sessions that it began end."""
        proof = self._callers.prove(call.scope)
        by = proof.principal.ref
        person = await asyncio.to_thread(self._factors.owner, id)
        held = await self._held(person)
        about = self._factors.resource(person, by, held, held.find(id))

        def change(tx: Transaction) -> Factor:
            self._factors.require_still(tx, about, person)
            return self._factors.remove(tx, person, id, by, session=str(proof.claims.get("session", "")))

        outcome = await self._authorizer.authorize(proof, REMOVE, about, within=change)
        return Removed(id, allowed(outcome).receipt.entry_id)

    async def _enrolling(self, call: Call, kind: Kind) -> tuple[Proof, Session, Resource]:
        """Who adds a factor, in which session, as the object of an action. Nobody adds one for another."""
        proof = self._callers.prove(call.scope)
        session = self._factors.session_of(proof)
        person = proof.principal.ref
        held = await self._held(person)
        if kind != "recovery-codes":
            self._factors.require_room(held)
        return proof, session, self._factors.resource(person, person, held, kind=kind)

    def _shown_first(self, tx: Transaction, session: Session, method: Method, strength: Attributes) -> None:
        """Whoever adds their first factor has shown it. Any other session is no more than what was shown in it."""
        if session.second_factor is None:
            self._sessions.show_factor(tx, session.id, method, tx.now, strength, of=session.principal)

    async def _held(self, person: Ref) -> Held:
        if person.type != "User":
            raise NotFoundError("only people have factors")
        return await asyncio.to_thread(self._factors.held, person)

    async def _facts(self, proof: Proof, ticket: str) -> Iterable[Fact]:
        return await asyncio.to_thread(self._factors.recoveries.facts, proof.principal.ref, ticket)


def _view(factor: Factor) -> FactorView:
    passkey = factor.passkey
    view = FactorView(
        id=factor.id,
        kind=factor.kind,
        name=factor.name,
        state=factor.state,
        created=factor.created,
        used=factor.used,
        suspended_for=factor.suspended_for,
    )
    if passkey is None:
        return view
    return msgspec.structs.replace(
        view,
        aaguid=passkey.aaguid,
        attested=passkey.attested,
        transports=passkey.transports,
        backup_eligible=passkey.backup_eligible,
        backed_up=passkey.backed_up,
    )


def _view_held(held: Held) -> HeldView:
    shown = tuple(_view(factor) for factor in held.factors if factor.state != "pending")
    return HeldView(shown, held.methods, held.codes_left)
