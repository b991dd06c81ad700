"""The token endpoint and what goes with it: exchange, client credentials, introspection, revocation, metadata."""

from collections.abc import Iterable
from typing import Any, Final, Protocol

import msgspec
from starlette.types import Receive, Scope, Send

from everproof.authorize import Authorizer, Denied, Outcome
from everproof.identity.access_tokens import AccessTokens
from everproof.identity.dpop import Dpop, DpopError
from everproof.identity.exchange import EXCHANGE, Exchange, Plan, TokenReply
from everproof.identity.introspection import INACTIVE, Introspection, find_token, introspect
from everproof.identity.oauth import InvalidClientError, InvalidRequestError
from everproof.identity.token_request import read_token_request
from everproof.kernel.errors import Error, RefusedError, UnavailableError
from everproof.kernel.words import Action, Fact
from everproof.keys import SigningKeys
from everproof.server.caller import Callers
from everproof.server.denial import explained
from everproof.server.forwarded import HEADERS
from everproof.server.http import BareRoute, Call, Reply, Route
from everproof.server.http.body import form_pairs, read_body, require_media
from everproof.server.http.call import FORM, picked, send_json
from everproof.server.http.route import Declaration
from everproof.server.provider.metadata import GRANTS, INTROSPECT, JWKS, REVOKE, TOKEN, metadata
from everproof.server.resources import SERVER, credential_resource
from everproof.storage import Transaction

MAX_FORM: Final = 64 * 1024
"""Bytes: two tokens of 16 kB and an assertion."""

_INTROSPECTION: Final = Action("token:introspect")
_REVOCATION: Final = Action("credential:revoke")
_SHOWN: Final = HEADERS | {b"dpop"}
_PRAGMA: Final = (b"pragma", b"no-cache")
_CACHED: Final = "public, max-age=300"
"""Keys are published a day before they sign, so nobody who keeps them for minutes is surprised."""


class TokenForm(msgspec.Struct, frozen=True):
    """A token request (RFC 6749, sections 4.1 and 4.4; RFC 7523, section 2.2; RFC 8628; RFC 8693, section 2.1)."""

    grant_type: str
    code: str = ""
    redirect_uri: str = ""
    code_verifier: str = ""
    device_code: str = ""
    refresh_token: str = ""
    client_secret: str = ""
    subject_token: str = ""
    subject_token_type: str = ""
    actor_token: str = ""
    actor_token_type: str = ""
    requested_token_type: str = ""
    client_id: str = ""
    client_assertion: str = ""
    client_assertion_type: str = ""
    audience: str = ""
    resource: str = ""
    scope: str = ""
    expires_in: str = ""
    may_act: str = ""


class GivenToken(msgspec.Struct, frozen=True):
    """A token to look at or to revoke."""

    token: str
    token_type_hint: str = ""

    def __repr__(self) -> str:
        return "GivenToken()"


class OAuthProblem(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error in OAuth's own form (RFC 6749, section 5.2), with ours beside it."""

    error: str
    error_description: str = ""
    place: str = ""
    todo: str = ""
    explanation: dict[str, Any] = {}


class Revokes(Protocol):
    """Ends credentials."""

    def revoke(self, tx: Transaction, credential: str, reason: str) -> Iterable[str]:
        """End ``credential`` and all that descends from it; the ids that were ended."""
        ...


class Grants(Protocol):
    """Answers token requests of further grants."""

    async def token(self, scope: Scope, send: Send, pairs: list[tuple[str, str]]) -> None:
        """Answer the request whose form has these fields."""
        ...


class UnauthorizedClientError(RefusedError):
    """Policy does not give this token to this caller."""

    code = "denied"
    status = 400
    oauth_error = "unauthorized_client"

    def __init__(self, denied: Denied, *, exchange: bool) -> None:
        super().__init__(denied.reason)
        if exchange:  # RFC 8693, section 2.2.2: also where policy does not accept the token
            self.oauth_error = "invalid_request"
        self.extra: dict[str, Any] = {"explanation": explained(denied)}


class OAuth:
    """The endpoints of RFC 6749, 7009, 7662, 8414 and 8693."""

    def __init__(
        self,
        *,
        authorizer: Authorizer,
        exchange: Exchange,
        tokens: AccessTokens,
        credentials: Revokes,
        dpop: Dpop,
        signing: SigningKeys,
        callers: Callers,
        issuer: str,
        grants: Grants | None = None,
    ) -> None:
        """``grants`` answers the grants of people who have signed in at a browser."""
        self._authorizer = authorizer
        self._exchange = exchange
        self._tokens = tokens
        self._credentials = credentials
        self._dpop = dpop
        self._signing = signing
        self._callers = callers
        self._metadata = metadata(issuer)
        self._grants = grants
        self._encode = msgspec.json.Encoder().encode

    def routes(self) -> list[Route | BareRoute]:
        """What is served."""
        token = Declaration(
            method="POST",
            path=TOKEN,
            summary="Get a token for what is presented",
            description="Shown with a DPoP proof, made with the nonce that the first answer gives.",
            door="oauth",
            body=TokenForm,
            body_media=FORM,
            answers=(TokenReply,),
            problems=(401,),
            needs_proof=False,
        )
        public: dict[str, Any] = {"door": "oauth", "needs_proof": False, "answer": dict[str, Any]}
        return [
            BareRoute(self.token, token),
            Route("POST", INTROSPECT, self.introspect, door="oauth", answer=Introspection),
            Route("POST", REVOKE, self.revoke, door="oauth"),
            Route("GET", JWKS, self.jwks, **public),
            Route("GET", "/.well-known/oauth-authorization-server", self.metadata, **public),
            Route("GET", "/.well-known/openid-configuration", self.metadata, **public),
        ]

    async def token(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Exchange what is presented for a token bound to the caller's key."""
        require_media(scope, FORM)
        pairs = form_pairs(await read_body(scope, receive, limit=MAX_FORM))
        request = read_token_request(pairs)
        if request.grant_type in GRANTS and self._grants is not None:
            await self._grants.token(scope, send, pairs)
            return
        found = picked(scope, _SHOWN)
        dpop = found.get(b"dpop")
        plan = await self._exchange.prepare(
            request,
            dpop=None if dpop is None else dpop.decode("latin-1"),
            shown=self._callers.certificate(scope, found),
        )
        outcome = await self._authorizer.authorize(
            plan.proof,
            plan.action,
            plan.resource,
            facts=facts_of(plan),
            within=lambda tx: self._exchange.issue(tx, plan),
        )
        if isinstance(outcome, Denied):
            raise UnauthorizedClientError(outcome, exchange=request.grant_type == EXCHANGE)
        nonce = (b"dpop-nonce", self._dpop.nonce.encode())
        await send_json(scope, send, self._encode(outcome.outcome), (nonce, _PRAGMA))

    async def introspect(self, call: Call, form: GivenToken) -> Reply:
        """Say what a token is worth now (RFC 7662); to those who may not know, that it is worth nothing."""
        proof = self._callers.prove(call.scope)
        found = find_token(self._tokens, form.token)
        about = SERVER if found is None else credential_resource(found.credential, found.proof.principal.ref, proof)
        outcome: Outcome = await self._authorizer.authorize(proof, _INTROSPECTION, about)
        told = INACTIVE if isinstance(outcome, Denied) else introspect(self._tokens, form.token)
        return Reply.of(told)

    async def revoke(self, call: Call, form: GivenToken) -> Reply:
        """End a token and all that descends from it (RFC 7009); one that is unknown or over has nothing to end."""
        proof = self._callers.prove(call.scope)
        found = find_token(self._tokens, form.token)
        if found is None:
            return Reply()
        about = credential_resource(found.credential, found.proof.principal.ref, proof)
        reason = f"revoked by {proof.principal.ref}"
        outcome = await self._authorizer.authorize(
            proof, _REVOCATION, about, within=lambda tx: self._credentials.revoke(tx, found.credential, reason)
        )
        if isinstance(outcome, Denied):
            raise UnauthorizedClientError(outcome, exchange=False)
        return Reply()

    async def jwks(self) -> Reply:
        """The keys that tokens are signed with: those of now, of before and of soon."""
        return Reply.of(self._signing.public_jwks(), headers={"cache-control": _CACHED})

    async def metadata(self) -> Reply:
        """What this authorization server does (RFC 8414, OpenID Connect Discovery 1.0)."""
        return Reply.of(self._metadata, headers={"cache-control": _CACHED})


def facts_of(plan: Plan) -> list[Fact]:
    """What is known of a token that is asked for."""
    return [Fact(name, value, plan.proof.at, "token-request") for name, value in plan.context.items()]


def error_form(path: str, error: Error) -> Reply | None:
    """An error of the OAuth endpoints as OAuth says it."""
    if not path.startswith("/oauth/"):
        return None
    status = error.status
    name = getattr(error, "oauth_error", None)
    if name is None:
        name = "temporarily_unavailable" if isinstance(error, UnavailableError) else "invalid_request"
    if path == TOKEN:
        if isinstance(error, DpopError) or (isinstance(error, RefusedError) and status == RefusedError.status):
            status = 400
    elif isinstance(error, InvalidRequestError | InvalidClientError):
        status = error.status
    problem = OAuthProblem(
        error=name,
        error_description=_ascii(error.message),
        place=error.place or "",
        todo=error.todo or "",
        explanation=getattr(error, "extra", {}).get("explanation", {}),
    )
    headers = {"pragma": "no-cache", **getattr(error, "headers", {})}
    if status == InvalidClientError.status:
        headers.setdefault("www-authenticate", 'DPoP algs="ES256 EdDSA"')
    return Reply.of(problem, status=status, headers=headers)


def _ascii(text: str) -> str:
    """``text`` in the characters that a description may have (RFC 6749, section 5.2)."""
    return "".join(one if " " <= one <= "~" else "?" for one in text.replace("\\", "/").replace('"', "'"))
