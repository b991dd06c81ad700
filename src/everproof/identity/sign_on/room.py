"""Sign-on put together: what the door and the floors above ask of it."""

import asyncio
import hmac
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple
from urllib.parse import urlencode

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection

from everproof.identity.credentials import end_credentials
from everproof.identity.directory import Directory
from everproof.identity.jose import JoseError
from everproof.identity.oauth import ReplayedError
from everproof.identity.outbound import Outbound, OutboundError
from everproof.identity.replay_store import spend
from everproof.identity.sessions import Session, Sessions
from everproof.identity.sessions.store import ids_of_provider
from everproof.identity.sign_on import store
from everproof.identity.sign_on.arrivals import Arrival, ProvisionedAs, arrival
from everproof.identity.sign_on.attempts import AGAIN, Attempt, SignOnAttempts, cookie_name
from everproof.identity.sign_on.client import RelyingParty, Response
from everproof.identity.sign_on.client_authentication import ClientAuthentication, NoSecretError, SecretOf
from everproof.identity.sign_on.errors import ProviderFailedError, SignOnError
from everproof.identity.sign_on.files import Provider
from everproof.identity.sign_on.id_token import Assertion
from everproof.identity.sign_on.logout import REMEMBERED, LogoutToken, names_of, verify_logout
from everproof.identity.tickets import look_up_ticket
from everproof.kernel.canonical import b64url, encode
from everproof.kernel.errors import NotFoundError, RefusedError, UnavailableError
from everproof.kernel.words import Ref
from everproof.keys import SigningKeys
from everproof.storage import Storage, Transaction

MAX_HINT: Final = 4_096
"""Bytes of an ID token that is sent in an address; longer ones many a server does not take."""

_NONCE_BYTES: Final = 12


class Begun(NamedTuple):
    """Where to send the browser, and the cookie that it keeps meanwhile."""

    address: str
    cookie_name: str
    cookie_value: str


class SignOn:
    """The providers that people sign on with. Nobody is asked or believed until `trust` has named them."""

    def __init__(
        self,
        storage: Storage,
        directory: Directory,
        sessions: Sessions,
        signing: SigningKeys,
        outbound: Outbound,
        *,
        issuer: str,
    ) -> None:
        """``issuer`` is this server's own address."""
        self._storage = storage
        self._directory = directory
        self._sessions = sessions
        self._issuer = issuer
        self._providers: dict[str, Provider] = {}
        self._secret: SecretOf = _no_secret
        self._provisioned: ProvisionedAs = _nobody
        self._attempts = SignOnAttempts(storage.clock, key=signing.derived("everproof/sign-on/v1"))
        self._hints = AESGCM(signing.derived("everproof/sign-on-hints/v1"))
        self._marks = signing.derived("everproof/sign-on-step-up/v1")
        self._client = RelyingParty(
            outbound,
            storage.clock,
            ClientAuthentication(signing, storage.clock, self._read_secret),
            server=issuer,
        )

    # ── what rules ─────────────────────────────────────────────────────────────────────────────────────────────────

    def use_secrets(self, secret: SecretOf) -> None:
        """Read clients' secrets by ``secret``."""
        self._secret = secret

    def _read_secret(self, provider: Provider) -> str:
        return self._secret(provider)

    def use_provisioned(self, provisioned: ProvisionedAs) -> None:
        """Ask ``provisioned`` whom a provisioner knows by an ``externalId``."""
        self._provisioned = provisioned

    def trust(self, providers: Mapping[str, Provider]) -> None:
        """Trust ``providers`` from now on, and no others."""
        self._providers = dict(providers)
        issuers = frozenset(one.issuer for one in providers.values())
        self._client.keys.forget(issuers)
        self._client.discovery.forget(issuers)

    def settle(self, tx: Transaction, providers: Mapping[str, Provider]) -> tuple[str, ...]:
        """End the sessions of providers that are trusted no more, in the commit in which ``providers`` come to rule."""
        ended: list[str] = []
        for name, before in self._providers.items():
            after = providers.get(name)
            if after is None or (after.issuer, after.client_id) != (before.issuer, before.client_id):
                ids = ids_of_provider(tx.connection, name, "", "", tx.now)
                ended += end_credentials(tx, ids, f"{name} is trusted no more")
        return tuple(ended)

    def providers(self) -> list[tuple[str, str]]:
        """The providers by name and title, for people to choose from."""
        return sorted((one.name, one.title) for one in self._providers.values())

    def provider(self, name: str) -> Provider:
        """The provider called ``name``.

        Raises:
            NotFoundError: there is none.
        """
        if (found := self._providers.get(name)) is None:
            raise NotFoundError("there is no sign-on provider of this name", todo="see /login")
        return found

    # ── signing on ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def begin(
        self, name: str, *, next_: str = "/", step_up: str = "", invitation: str = "", anew: bool = False
    ) -> Begun:
        """Begin a sign-on. With ``step_up``, or ``anew``, the provider is told to ask for everything anew.

        Raises:
            NotFoundError: there is no such provider.
            UnauthenticatedError: the invitation is not good.
            OutboundError: the provider cannot be asked.
            UnavailableError: this server cannot prove itself to it now.
        """
        provider = self.provider(name)
        if invitation:
            await asyncio.to_thread(look_up_ticket, self._storage, invitation, "enrol")
        max_age = 0 if step_up or anew else provider.table.max_age_seconds
        attempt = self._attempts.new(provider, next_=next_, max_age=max_age, step_up=step_up, link=invitation)
        cookie = self._attempts.seal(attempt)
        try:
            return Begun(await self._client.address(provider, attempt), *cookie)
        except OutboundError as error:
            todo = error.todo or "sign in with a passkey or your SSH key meanwhile; whoever is signed in stays so"
            raise OutboundError(
                f"{provider.title} cannot be asked: {error.message}", place=error.place, todo=todo
            ) from error

    def step_up_mark(self, own: str, target: str) -> str:
        """What stands in the link by which the page of session ``own`` has a factor shown to session ``target``.

        No other page, and nobody who leads a browser to one that goes on by itself, can make such a link.
        """
        return b64url(hmac.digest(self._marks, encode([own, target]), "sha256"))

    def cookie_name(self, response: Response) -> str:
        """The name of the cookie that must come with a response."""
        return cookie_name(response.state)

    async def complete(self, name: str, response: Response, cookie: str | None) -> Arrival:
        """Who has come, by what the provider called ``name`` has answered to the browser that holds ``cookie``.

        Raises:
            SignOnError: it does not hold, was used before, or says nobody who is known here.
            ProviderFailedError: the provider cannot be asked about it.
        """
        attempt = self._attempts.open(response.state, cookie)
        if attempt.provider != name:
            raise SignOnError("another provider has answered than the one that was asked", place="path", todo=AGAIN)
        provider = self._providers.get(name)
        if provider is None or (provider.issuer, provider.client_id) != (attempt.issuer, attempt.client_id):
            raise SignOnError("the provider was changed meanwhile", place="state", todo=AGAIN)
        try:
            await self._client.require_iss(provider, response)
            # Used up before anything is asked with it, so that of two answers at once one is nothing.
            await self._storage.write(lambda tx: spend(tx, attempt.id, attempt.expires))
            if response.error or not response.code:
                why = f"{provider.title} did not sign you on{_said(response.error)}"
                raise SignOnError(why, place="error", todo=AGAIN)
            assertion = await self._client.redeem(provider, attempt, response)
        except ReplayedError as error:
            raise SignOnError("this sign-on was used before", place="state", todo=AGAIN) from error
        except UnavailableError as error:
            raise ProviderFailedError(error.message, place=error.place, todo=error.todo or AGAIN) from error
        if attempt.step_up and assertion.second_factor is None:
            raise SignOnError(
                f"{provider.title} does not say that a second factor was shown", place="id_token: claims.amr",
                todo=f"use another factor, or ask an administrator to look at [mfa] in sign-on/{name}.toml",
            )  # fmt: skip
        come = await asyncio.to_thread(self._arrived, assertion, attempt)
        if attempt.step_up and come.is_new:
            raise SignOnError(
                "another account than the one that was asked for", place="id_token: claims.sub", todo=AGAIN
            )
        return come

    def require_trusted(self, come: Arrival) -> None:
        """Check that the provider was not changed while this was on its way.

        Raises:
            RefusedError: it was.
        """
        said = come.assertion.provider
        now = self._providers.get(said.name)
        if now is None or (now.issuer, now.client_id) != (said.issuer, said.client_id):
            raise RefusedError("the provider was changed meanwhile", todo=AGAIN)

    def again(self, come: Arrival) -> Arrival:
        """``come``, a newcomer who has been put on record meanwhile, as somebody known."""
        return self._arrived(come.assertion, msgspec.structs.replace(come.attempt, link=""))  # which is used up by now

    def _arrived(self, assertion: Assertion, attempt: Attempt) -> Arrival:
        now = self._storage.clock.now()
        ticket = look_up_ticket(self._storage, attempt.link, "enrol") if attempt.link else None
        groups = {group.id: group for group in self._directory.groups()}
        with self._storage.reading() as connection:
            return arrival(
                connection, assertion, attempt, ticket=ticket, provisioned=self._provisioned, at=now, groups=groups
            )

    # ── signing out ────────────────────────────────────────────────────────────────────────────────────────────────

    async def logged_out(self, name: str, token: str) -> LogoutToken:
        """What a provider's logout token says; to be settled by `sign_out`.

        Raises:
            NotFoundError: there is no such provider.
            SignOnError: the token does not hold.
            OutboundError: the provider's keys cannot be had.
        """
        provider = self.provider(name)
        try:
            return await verify_logout(self._client.keys, token, provider, now=self._storage.clock.now())
        except JoseError as error:
            raise SignOnError(error.message, place=f"logout_token: {error.place}") from error

    def sign_out(self, tx: Transaction, token: LogoutToken) -> tuple[str, ...]:
        """End what the token says; the ids of the credentials that ended.

        Raises:
            ReplayedError: it was used before. Nothing was written.
        """
        spend(tx, token.id, token.expires)
        for name in names_of(token.provider.issuer, sub="" if token.sid else token.sub, sid=token.sid):
            store.put_signed_out(tx, name, tx.now + REMEMBERED)
        return self._sessions.end_by_provider(tx, token.provider.name, subject=token.sub, session=token.sid)

    def keep_hint(self, tx: Transaction, session: Session, come: Arrival) -> None:
        """Keep what the provider wants to see when the session's person signs out there too, if an address has room."""
        if len(come.assertion.raw) > MAX_HINT:
            return
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = nonce + self._hints.encrypt(nonce, come.assertion.raw.encode(), session.id.encode())
        store.put_hint(tx, session.id, sealed, session.expires)

    async def end_session_address(self, session: Session) -> str:
        """Where to send the browser to sign out at the provider of ``session`` too; empty where there is no such place.

        It comes back to ``/login``. (OpenID Connect RP-Initiated Logout 1.0, section 2.)

        Raises:
            OutboundError: the provider cannot be asked.
        """
        provider = self._providers.get(session.provider)
        if provider is None:
            return ""
        endpoint = await self._client.end_session_endpoint(provider)
        if not endpoint:
            return ""
        asked = {"client_id": provider.client_id, "post_logout_redirect_uri": f"{self._issuer}/login"}
        if hint := await asyncio.to_thread(self._hint, session.id):
            asked["id_token_hint"] = hint
        return f"{endpoint}?{urlencode(asked)}"

    def _hint(self, session: str) -> str:
        with self._storage.reading() as connection:
            sealed = store.find_hint(connection, session)
        if sealed is None:
            return ""
        try:
            return self._hints.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], session.encode()).decode()
        except (InvalidTag, ValueError):  # of another key: the provider will ask who it is
            return ""

    def forget(self, tx: Transaction, _before: datetime | None = None) -> None:
        """Remove what nobody asks about any more."""
        store.forget_over(tx, tx.now)


def _no_secret(provider: Provider) -> str:
    raise NoSecretError(f"the settings name no secret for {provider.name}", todo="see docs/people.md")


def _nobody(_connection: Connection, _provisioner: str, _subject: str) -> Ref | None:
    return None


def _said(error: str) -> str:
    """The error that a response names, if it is one of the words that there are: a stranger may have written it."""
    return f" ({error})" if error in _ERRORS else ""


_ERRORS: Final = frozenset(
    {
        "access_denied", "account_selection_required", "consent_required", "interaction_required",
        "invalid_request", "invalid_scope", "login_required", "server_error", "temporarily_unavailable",
        "unauthorized_client", "unmet_authentication_requirements",
    }
)  # fmt: skip
