"""Userinfo: who has signed in, for the client that was given a token for this and nothing else (OIDC Core, 5.3)."""

from typing import Any, Final

from everproof.identity.access_tokens import AccessToken, AccessTokens, subject
from everproof.identity.dpop import Dpop
from everproof.identity.jose import JoseError
from everproof.identity.provider import Provider
from everproof.identity.provider.tokens import USERINFO, claims_of
from everproof.kernel.errors import RefusedError, UnauthenticatedError
from everproof.server.http import Call, Reply, Route


class BearerError(UnauthenticatedError):
    """The token does not hold here (RFC 6750, section 3)."""

    code = "invalid-token"
    oauth_error = "invalid_token"

    def __init__(self, message: str, *, todo: str | None = None) -> None:
        super().__init__(message, todo=todo)
        said = "" if message == _MISSING else ' error="invalid_token"'
        self.headers = {"www-authenticate": f"Bearer{said}"}


_MISSING: Final = "there is no access token"


class UserinfoDoor:
    """Tells a client what its user let it know."""

    def __init__(self, provider: Provider, tokens: AccessTokens, dpop: Dpop) -> None:
        self._provider = provider
        self._tokens = tokens
        self._dpop = dpop

    def routes(self) -> list[Route]:
        """What is served."""
        public: dict[str, Any] = {"door": "provider", "needs_proof": False, "answer": dict[str, Any]}
        return [
            Route("GET", USERINFO, self.userinfo, problems=(401, 403), **public),
            Route("POST", USERINFO, self.userinfo, problems=(401, 403), **public),
        ]

    async def userinfo(self, call: Call) -> Reply:
        """Tell who has signed in."""
        token = self._verified(call)
        client = self._provider.clients.find(token.client)
        if client is None:
            raise BearerError("the client that the token was given to is known no more")
        if "openid" not in token.scope:
            raise RefusedError("the token is not for this")
        principal = token.proof.principal
        return Reply.of({"sub": subject(principal.ref), **claims_of(client, principal, token.scope)})

    def _verified(self, call: Call) -> AccessToken:
        scheme, _, value = (call.header(b"authorization") or "").partition(" ")
        if scheme.lower() not in {"bearer", "dpop"}:
            raise BearerError(_MISSING, todo="send it as `Authorization: Bearer …`")
        try:
            token = self._tokens.inspect(value)
        except JoseError as error:
            raise BearerError(error.message, todo=error.todo) from error
        if token.audience != self._provider.tokens.userinfo:
            raise BearerError("the token is not for this address")
        if token.key is not None or scheme.lower() == "dpop":
            proof = call.header(b"dpop")
            if token.key is None or proof is None or scheme.lower() != "dpop":
                raise BearerError("the key that the token is bound to was not shown")
            self._dpop.verify(proof, method=call.method, url=self._provider.tokens.userinfo, token=value, key=token.key)
        return token
