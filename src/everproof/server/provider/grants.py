"""What the token endpoint answers to codes, to devices that ask, and to the command line's refresh tokens."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from starlette.types import Scope, Send

from everproof.authorize import Authorizer, Denied
from everproof.identity import Identity
from everproof.identity.dpop import DpopError
from everproof.identity.oauth import InvalidRequestError
from everproof.identity.provider import CLI, Client, Provider, codes, devices, renewals
from everproof.identity.provider.authentication import Authenticated
from everproof.identity.provider.codes import CodeGrant, Replayed
from everproof.identity.provider.errors import InvalidGrantError, UnauthorizedGrantError
from everproof.identity.provider.issuing import Given, SignedIn
from everproof.identity.sessions import Session
from everproof.kernel.errors import RefusedError, UnauthenticatedError
from everproof.kernel.words import Principal, Proof
from everproof.server.http.call import send_json
from everproof.server.provider.asking import SIGN_IN, RefusedGrantError, flow, header, once, required
from everproof.server.provider.metadata import CODE, DEVICE_CODE, TOKEN
from everproof.storage import Storage, Transaction

_PRAGMA: Final = (b"pragma", b"no-cache")
_encode: Final = msgspec.json.Encoder().encode

Issue = Callable[[Transaction, Session, Principal], Given]
"""What is done in the commit of the decision that somebody signs in."""


class GrantsDoor:
    """The grants of the provider."""

    def __init__(
        self, authorizer: Authorizer, provider: Provider, identity: Identity, storage: Storage, *, issuer: str
    ) -> None:
        self._authorizer = authorizer
        self._provider = provider
        self._identity = identity
        self._storage = storage
        self._endpoint = issuer + TOKEN

    async def token(self, scope: Scope, send: Send, pairs: list[tuple[str, str]]) -> None:
        """Answer a token request of one of these grants."""
        fields = once(pairs)
        authenticated = self._provider.authentication.authenticate(fields, header(scope, b"authorization"))
        # Before anything is used up: the first proof is answered with a nonce.
        key = self._key(scope, authenticated.client)
        grant = fields["grant_type"]
        if grant == CODE:
            reply = await self._code(authenticated, fields, key)
        elif grant == DEVICE_CODE:
            reply = await self._device(authenticated, fields, key)
        else:
            reply = await self._refresh(authenticated, fields, key)
        nonce = (b"dpop-nonce", self._identity.dpop.nonce.encode())
        await send_json(scope, send, _encode(reply), (nonce, _PRAGMA))

    def _key(self, scope: Scope, client: Client) -> str | None:
        """The key that the client shows. The command line must; of others, a token is bound to it if they do."""
        proof = header(scope, b"dpop")
        if proof is not None:
            return self._identity.dpop.verify(proof, method="POST", url=self._endpoint)
        if client.own:
            raise DpopError("no key was shown", todo="send a DPoP proof: its tokens are bound to a key")
        return None

    async def _code(self, authenticated: Authenticated, fields: dict[str, str], key: str | None) -> SignedIn:
        code, client = required(fields, "code"), authenticated.client
        uri, verifier = required(fields, "redirect_uri"), required(fields, "code_verifier")

        def take(tx: Transaction) -> CodeGrant | Replayed | InvalidGrantError:
            authenticated.settle(tx)
            return codes.take_code(tx, code, client=client, redirect_uri=uri, verifier=verifier)

        found = await self._storage.write(take)
        if isinstance(found, InvalidGrantError):
            raise found
        if isinstance(found, Replayed):
            if (sign_in := found.sign_in) is not None:
                await self._storage.write(lambda tx: self._provider.sign_ins.end(tx, ids=[sign_in]))
            raise InvalidGrantError("the code was used before; what it gave was taken back", place="code")
        request = found.request
        if request.dpop_jkt and request.dpop_jkt != key:
            raise InvalidGrantError("the code was given for another key", place="code")

        def issue(tx: Transaction, session: Session, principal: Principal) -> Given:
            codes.require_unreplayed(tx, code)
            given = self._given(
                tx, client, session, principal, scope=found.scope, nonce=request.nonce, key=key,
                address=found.address, agent=found.agent,
            )  # fmt: skip
            codes.settle_code(tx, code, credential=given.credential, sign_in=given.sign_in)
            return given

        return await self._sign_in(client, found.session, issue)

    async def _device(self, authenticated: Authenticated, fields: dict[str, str], key: str | None) -> SignedIn:
        code, client = required(fields, "device_code"), authenticated.client
        if not client.line.device:
            raise UnauthorizedGrantError(f"{client.id} has no devices", place="grant_type")

        def ask(tx: Transaction) -> Any:
            authenticated.settle(tx)
            return devices.poll(tx, code, client=client, key=key or "")

        found = await self._storage.write(ask)
        if not isinstance(found, devices.Waiting):
            raise found
        assert found.session is not None
        asked = found.request

        def issue(tx: Transaction, session: Session, principal: Principal) -> Given:
            return self._given(
                tx, client, session, principal, scope=asked.scope, key=key, address=asked.address, agent=asked.agent
            )

        return await self._sign_in(client, found.session, issue)

    async def _refresh(self, authenticated: Authenticated, fields: dict[str, str], key: str | None) -> SignedIn:
        token, client = required(fields, "refresh_token"), authenticated.client
        if client.id != CLI or key is None:
            raise UnauthorizedGrantError(f"{client.id} has no refresh tokens", place="grant_type")
        found = await self._storage.write(lambda tx: renewals.renew(tx, token, client=client.id, key=key))
        if isinstance(found, InvalidGrantError):
            raise found
        proof = self._proof(found.session)
        plan = self._provider.issuing.renewal(proof)
        outcome = await self._authorizer.authorize(
            plan.proof,
            plan.action,
            plan.resource,
            detail={"step": "renewal"},
            within=lambda tx: self._identity.exchange.issue(tx, plan),
        )
        if isinstance(outcome, Denied):
            raise RefusedGrantError(outcome)
        self._identity.sessions.touch(found.session)
        made = outcome.outcome
        return SignedIn(
            access_token=made.access_token, token_type=made.token_type, expires_in=made.expires_in,
            refresh_token=found.token, session=found.session,
        )  # fmt: skip

    async def _sign_in(self, client: Client, session: str, issue: Issue) -> SignedIn:
        """Decide once more, now that the client has proven itself, and issue in the same commit."""
        proof = self._proof(session)

        def within(tx: Transaction) -> Given:
            found = self._identity.sessions.find(session)
            if found is None:
                raise RefusedError("the session is over", todo="sign in again")
            return issue(tx, found, proof.principal)

        outcome = await self._authorizer.authorize(
            proof, SIGN_IN, client.resource, facts=flow(proof, "token"), detail={"step": "token"}, within=within
        )
        if isinstance(outcome, Denied):
            raise RefusedGrantError(outcome)
        reply: SignedIn = outcome.outcome.reply
        return reply

    def _given(
        self, tx: Transaction, client: Client, session: Session, principal: Principal, *,
        scope: tuple[str, ...], key: str | None, address: str, agent: str, nonce: str = "",
    ) -> Given:  # fmt: skip
        issuing = self._provider.issuing
        if not client.own:
            return issuing.for_client(tx, client, session, principal, scope=scope, nonce=nonce, key=key)
        if key is None:  # pragma: no cover - `_key` has seen to it
            raise InvalidRequestError("no key was shown", place="header dpop")
        return issuing.for_cli(tx, session, principal, key=key, address=address, agent=agent)

    def _proof(self, session: str) -> Proof:
        try:
            return self._identity.sessions.proof(session)
        except UnauthenticatedError as error:
            raise InvalidGrantError(error.message, todo="sign in again") from error
