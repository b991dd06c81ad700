"""One call for every gateway: who asks whom for what, decided and recorded before the gateway lets it pass."""

from collections.abc import Callable
from typing import Any, Final, NoReturn
from urllib.parse import quote

import msgspec
import structlog
from starlette.types import Receive, Scope, Send

from everproof.authorize import Authorizer, Denied
from everproof.identity import Identity
from everproof.identity.access_tokens import subject
from everproof.identity.assertions import Assertions, groups_of
from everproof.identity.gateways import Gateways
from everproof.kernel.clock import Clock
from everproof.kernel.errors import Error, RefusedError
from everproof.kernel.words import Mode, Proof
from everproof.keys import SigningKeys
from everproof.policy import Bundle
from everproof.routes import Match, RouteMap, load_routes
from everproof.server.caller import Callers
from everproof.server.denial import denial
from everproof.server.gateway.asked import ENVOY, FORWARDED, GATEWAY, NGINX, Asked, Form, Headers, asked, headers_of
from everproof.server.gateway.refusal import REFUSAL, Refusal, packed, refusal, reply, unpacked
from everproof.server.http import BareRoute, Call, Reply, Route
from everproof.server.http.call import SECURITY_HEADERS, address_of, request_id, send_reply
from everproof.server.http.route import Declaration
from everproof.storage import Transaction

DOOR: Final = "gateway"
MAX_RECORDED: Final = 1024
"""Characters of a path that stand in its entry."""

_log: Final = structlog.get_logger("everproof.gateway")
_EMPTY: Final = [*SECURITY_HEADERS, (b"cache-control", b"no-store"), (b"content-length", b"0")]


class NoServiceError(RefusedError):
    """Nothing behind this gateway is called what was asked for."""

    code = "no-service"


class RefusedRouteError(RefusedError):
    """What is refused whatever policy says, and recorded."""

    def __init__(self, error: RefusedError, denied: Denied) -> None:
        super().__init__(error.message, place=error.place, todo=error.todo or "ask for what the service's routes name")
        self.code = error.code  # type: ignore[misc]  # the code of what it stands for
        self.extra: dict[str, Any] = {"reason": denied.reason, "receipt": msgspec.to_builtins(denied.receipt)}


class GatewayDoor:
    """What gateways ask. `follow` gives it the routes of the bundle that rules."""

    def __init__(
        self,
        authorizer: Authorizer,
        identity: Identity,
        callers: Callers,
        signing: SigningKeys,
        clock: Clock,
        *,
        issuer: str,
        mode: Callable[[str], Mode],
        noted: Callable[[str, str, Error], None] = lambda _route, _address, _error: None,
    ) -> None:
        self._authorizer = authorizer
        self._callers = callers
        self._dpop = identity.dpop
        self._gateways = Gateways(identity.directory, clock, is_live=identity.credentials.is_live)
        self._assertions = Assertions(signing, clock, issuer=issuer)
        self._mode = mode
        self._noted = noted
        self._routes = RouteMap()

    def follow(self, bundle: Bundle) -> None:
        """Decide by the routes of ``bundle`` from now on."""
        self._routes = load_routes(bundle.files, bundle.schema)

    def routes(self) -> list[Route | BareRoute]:
        """What is served."""
        forms = [self._route(NGINX), self._route(FORWARDED), self._route(ENVOY)]
        problems = (401, 403)
        page = Route(
            "GET", "/v1/gateway/refusal", self.told, door=DOOR, needs_proof=False, problems=problems, answer=Refusal
        )
        return [*forms, page]

    async def told(self, call: Call) -> Reply:
        """Say again, with its body, what an answer to nginx was refused with."""
        headers = headers_of(call.scope, frozenset({GATEWAY, REFUSAL, b"accept"}))
        self._gateways.verify(headers.get(GATEWAY))
        return reply(unpacked(headers.get(REFUSAL) or ""), headers.get(b"accept") or "")

    def _route(self, form: Form) -> BareRoute:
        wanted = form.wanted

        async def decide(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - a gateway sends no body
            headers = Headers({})
            about: Asked | None = None
            try:
                headers = headers_of(scope, wanted)
                gateway = self._gateways.verify(headers.get(GATEWAY))
                about = asked(form, scope, headers)
                given = await self._decide(gateway, about, request_id(scope))
            except Error as error:
                self._noted(form.path, address_of(scope), error)
                await send_reply(scope, send, self._refused(form, error, about, headers.get(b"accept") or ""))
                return
            await send({"type": "http.response.start", "status": 200, "headers": given})
            await send({"type": "http.response.body", "body": b""})

        declaration = Declaration(
            method="GET",
            path=form.path,
            summary=f"Decide about a request that a gateway holds back ({form.name})",
            description="The gateway proves itself by a secret in X-Everproof-Gateway, its caller by token and proof.",
            door=DOOR,
            needs_proof=False,
            problems=(401, 403),
        )
        return BareRoute(decide, declaration, prefix=form.prefix)

    async def _decide(self, gateway: Proof, about: Asked, request: bytes | None) -> list[tuple[bytes, bytes]]:
        """The headers for the service, where the request may go on to it."""
        known = self._routes.service(about.host)
        if known is None:
            raise NoServiceError("no service here is called that", place="host", todo="see docs/gateways.md: routes")
        service, origin = known
        caller = self._callers.prove_relayed(
            about.authorization, about.dpop, method=about.method, url=origin + about.path
        )
        match = service.find(about.method, about.target, about.host)
        refusal = about.forged or match.refusal
        outcome = await self._authorizer.authorize(
            msgspec.structs.replace(caller, vouched_by=gateway.principal.ref),
            match.action,
            match.resource,
            detail={
                "gateway": str(gateway.principal.ref),
                "gateway_proof": gateway.kind,
                "method": about.method,
                "host": about.host,
                "path": _plain(about.path),
            },
            within=None if refusal is None else _refusing(refusal),
            mode="enforce" if about.forged is not None else self._mode_of(match),
            request=None if request is None else request.decode(),
        )
        if isinstance(outcome, Denied) and not outcome.lets_pass:
            raise denial(outcome) if refusal is None else RefusedRouteError(refusal, outcome)
        assertion = self._assertions.make(caller, audience=service.audience, route=match.name)
        return [
            (b"x-everproof-principal", _value(subject(caller.principal.ref))),
            (b"x-everproof-groups", _value(",".join(groups_of(caller.principal)))),
            (b"x-everproof-entry", outcome.receipt.entry_id.encode()),
            (b"x-everproof-assertion", assertion.encode()),
            *_EMPTY,
        ]

    def _mode_of(self, match: Match) -> Mode:
        """What nobody can tell the meaning of is refused even by a door that only observes."""
        if match.is_ambiguous:
            return "enforce"
        modes = {self._mode(DOOR), self._mode(f"{DOOR}-{match.service.name}")}
        return "observe" if "observe" in modes else "enforce"

    def _refused(self, form: Form, error: Error, about: Asked | None, accept: str) -> Reply:
        text = f"{about.method} {about.host}{_plain(about.path)}" if about is not None else ""
        if about is None:
            _log.warning("gateway not heard", form=form.name, code=error.code, detail=error.message, place=error.place)
        told = refusal(error, asked=text, nonce=self._dpop.nonce)
        if form.has_body:
            return reply(told, accept)
        headers = {**told.headers, REFUSAL.decode(): packed(told)}
        return Reply(status=told.problem.status, headers=headers)


def _refusing(error: RefusedError) -> Callable[[Transaction], NoReturn]:
    def refuse(_tx: Transaction) -> NoReturn:
        raise RefusedError(error.message, place=error.place)

    return refuse


def _plain(path: str) -> str:
    """A path as it came, in characters that can stand anywhere."""
    return path[:MAX_RECORDED].encode("ascii", "backslashreplace").decode()


def _value(text: str) -> bytes:
    """``text`` as a header's value: what is not visible ASCII is escaped as in a path."""
    return text.encode() if text.isascii() and text.isprintable() and " " not in text else quote(text).encode()
