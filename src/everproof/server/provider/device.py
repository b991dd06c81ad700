"""Devices without a browser (RFC 8628): they ask here, and their users answer at `/device`, which the console draws."""

from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from starlette.types import Receive, Scope, Send

from everproof.authorize import Authorizer
from everproof.identity.dpop import Dpop
from everproof.identity.oauth import InvalidScopeError
from everproof.identity.provider import Provider, devices
from everproof.identity.provider.clients import Client
from everproof.identity.provider.devices import DeviceRequest, Waiting
from everproof.identity.provider.errors import UnauthorizedGrantError
from everproof.identity.sessions import SESSION, Session, Sessions
from everproof.kernel.errors import NotFoundError, RefusedError
from everproof.kernel.words import Proof
from everproof.server.browser import CrossSiteError, seen_from
from everproof.server.caller import Callers
from everproof.server.denial import allowed
from everproof.server.http import BareRoute, Call, Reply, Route
from everproof.server.http.call import send_reply
from everproof.server.http.route import Declaration
from everproof.server.provider.asking import SIGN_IN, flow, header, read_form
from everproof.server.provider.metadata import DEVICE
from everproof.storage import Storage, Transaction

PAGE: Final = "/device"
WARNING: Final = (
    "Go on only if you began this yourself, and the code stands on your own device. "
    "Whoever sent you a code wants to be you."
)


class DeviceCodes(msgspec.Struct, frozen=True, kw_only=True):
    """What a device is given (RFC 8628, section 3.2). Times are in seconds."""

    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_in: int
    interval: int

    def __repr__(self) -> str:
        return f"DeviceCodes({self.user_code})"


class DeviceAsked(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks: the client, the address and the program it was begun from, and when."""

    user_code: str
    client: str
    title: str
    own: bool
    address: str
    agent: str
    at: datetime
    expires: datetime
    warning: str = WARNING


class DeviceAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Yes or no."""

    answer: Literal["yes", "no"]


class DeviceAnswered(msgspec.Struct, frozen=True):
    """What was answered; ``entry`` of the ledger says so, where it was yes."""

    answer: Literal["yes", "no"]
    entry: str = ""


class DeviceDoor:
    """Devices that ask, and people who answer."""

    def __init__(
        self,
        authorizer: Authorizer,
        provider: Provider,
        sessions: Sessions,
        *,
        callers: Callers,
        dpop: Dpop,
        storage: Storage,
        issuer: str,
    ) -> None:
        self._authorizer = authorizer
        self._provider = provider
        self._sessions = sessions
        self._callers = callers
        self._dpop = dpop
        self._storage = storage
        self._issuer = issuer

    def routes(self) -> list[Route | BareRoute]:
        """What is served."""
        own: dict[str, Any] = {"door": "provider", "problems": (404, 429)}
        asks = Declaration(
            method="POST", path=DEVICE, summary="Ask for a code to sign in at another machine (RFC 8628)",
            door="provider", answers=(DeviceCodes,), needs_proof=False,
        )  # fmt: skip
        return [
            BareRoute(self.begin, asks),
            Route("GET", "/v1/device/{user_code}", self.show, answer=DeviceAsked, **own),
            Route("POST", "/v1/device/{user_code}", self.take, answer=DeviceAnswered, **own),
        ]

    async def begin(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Give a device its codes."""
        fields = await read_form(scope, receive)
        authenticated = self._provider.authentication.authenticate(fields, header(scope, b"authorization"))
        client = authenticated.client
        if not client.line.device:
            raise UnauthorizedGrantError(f"{client.id} has no devices", place="client_id")
        proof = header(scope, b"dpop")
        key = "" if proof is None and not client.own else self._key(proof)
        said = seen_from(scope)
        request = DeviceRequest(
            client=client.id, scope=_scope(client, fields.get("scope", "")), key=key, at=self._storage.clock.now(),
            **said,
        )  # fmt: skip

        def change(tx: Transaction) -> devices.Codes:
            authenticated.settle(tx)
            return devices.begin(tx, request)

        made = await self._storage.write(change)
        uri = self._issuer + PAGE
        answer = DeviceCodes(
            device_code=made.device_code,
            user_code=made.user_code,
            verification_uri=uri,
            verification_uri_complete=f"{uri}?user_code={made.user_code}",
            expires_in=int(devices.LIFETIME.total_seconds()),
            interval=devices.PACE_SECONDS,
        )
        await send_reply(scope, send, Reply.of(answer, headers={"dpop-nonce": self._dpop.nonce}))

    async def show(self, call: Call, user_code: str) -> DeviceAsked:
        """Ask which device waits under a code."""
        if call.header(b"sec-fetch-site") in {"cross-site", "same-site"}:
            raise CrossSiteError("a page of another site asks, and wrong codes are counted")
        return await self.asked(self._callers.prove(call.scope), user_code)

    async def take(self, call: Call, user_code: str, body: DeviceAnswer) -> DeviceAnswered:
        """Sign a device in, or refuse it."""
        return await self.answer(self._callers.prove(call.scope), user_code, gives=body.answer == "yes")

    async def asked(self, proof: Proof, user_code: str) -> DeviceAsked:
        """Which device waits under the code that a person has typed.

        Raises:
            NotFoundError: none does.
            TooManyGuessesError: too many codes were wrong.
            RefusedError: ``proof`` is not that of a person at a browser.
        """
        self._at_browser(proof)
        waiting, client = await self._waiting(proof, user_code)
        asked = waiting.request
        return DeviceAsked(
            user_code=waiting.user_code, client=client.id, title=client.title, own=client.own, address=asked.address,
            agent=asked.agent, at=asked.at, expires=waiting.expires,
        )  # fmt: skip

    async def answer(self, proof: Proof, user_code: str, *, gives: bool) -> DeviceAnswered:
        """Answer a device; as `asked`. It is signed in from the session that ``proof`` is made in, and no other."""
        session = self._at_browser(proof)
        waiting, client = await self._waiting(proof, user_code)
        if not gives:
            await self._storage.write(lambda tx: devices.answer(tx, waiting, session=None))
            return DeviceAnswered("no")
        detail = {"step": "device", "address": waiting.request.address, "scope": list(waiting.request.scope)}
        outcome = await self._authorizer.authorize(
            proof,
            SIGN_IN,
            client.resource,
            facts=flow(proof, "device"),
            detail=detail,
            within=lambda tx: devices.answer(tx, waiting, session=session.id),
        )
        return DeviceAnswered("yes", allowed(outcome).receipt.entry_id)

    def _at_browser(self, proof: Proof) -> Session:
        """The browser's session that ``proof`` is made in: a terminal's token lets no other terminal in."""
        session = self._sessions.find(proof.credential or "") if proof.kind == SESSION else None
        if session is None or session.kind != "browser":
            raise RefusedError("only a person at a browser answers a device", todo=f"open {self._issuer}{PAGE}")
        return session

    async def _waiting(self, proof: Proof, user_code: str) -> tuple[Waiting, Client]:
        waiting = await self._storage.write(lambda tx: devices.guess(tx, user_code, proof.principal.ref))
        if not isinstance(waiting, Waiting):
            raise waiting
        client = self._provider.clients.find(waiting.request.client)
        if client is None:
            raise NotFoundError("the client is known no more")
        return waiting, client

    def _key(self, proof: str | None) -> str:
        return self._dpop.verify(proof or "", method="POST", url=self._issuer + DEVICE)


def _scope(client: Client, text: str) -> tuple[str, ...]:
    if client.own:
        return ()
    asked = dict.fromkeys(text.split())
    if "openid" not in asked:
        raise InvalidScopeError("the scope must have openid", place="scope")
    return tuple(one for one in asked if one in client.line.scopes)
