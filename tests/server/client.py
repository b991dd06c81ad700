"""A caller with a key of its own, whose JOSE is joserfc's and not ours."""

import base64
import hashlib
import secrets
from typing import Any
from urllib.parse import urlencode

from joserfc import jwt
from joserfc.jwk import ECKey
from starlette.types import ASGIApp

from tests.conftest import SettableClock
from tests.server.asgi import Answer, call

FORM = "application/x-www-form-urlencoded"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT_TYPE = "urn:ietf:params:oauth:token-type:jwt"
TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Client:
    """Sends requests with DPoP proofs, and once more with the server's nonce where it is told one."""

    def __init__(self, app: ASGIApp, issuer: str, clock: SettableClock) -> None:
        self.app = app
        self.issuer = issuer
        self.clock = clock
        self.key = ECKey.generate_key("P-256")
        self.jwk: dict[str, str] = self.key.as_dict(private=False)  # type: ignore[assignment]
        self.thumbprint = self.key.thumbprint()
        self.token = ""
        self.nonce = ""

    def proof(self, method: str, path: str, token: str = "", **changes: Any) -> str:
        claims: dict[str, Any] = {
            "jti": secrets.token_urlsafe(12),
            "htm": method,
            "htu": self.issuer + path,
            "iat": int(self.clock.now().timestamp()),
            **({"nonce": self.nonce} if self.nonce else {}),
            **({"ath": _hash(token)} if token else {}),
            **changes,
        }
        return jwt.encode({"alg": "ES256", "typ": "dpop+jwt", "jwk": self.jwk}, claims, self.key)

    def assertion(self, client_id: str, audience: str = "") -> str:
        now = int(self.clock.now().timestamp())
        claims = {
            "iss": client_id,
            "sub": client_id,
            "aud": audience or self.issuer,
            "iat": now,
            "exp": now + 60,
            "jti": secrets.token_urlsafe(12),
        }
        return jwt.encode({"alg": "ES256", "typ": "JWT"}, claims, self.key)

    async def send(
        self,
        method: str,
        path: str,
        body: object = b"",
        *,
        form: dict[str, str] | None = None,
        query: str = "",
        token: str | None = None,
    ) -> Answer:
        held = self.token if token is None else token
        answer = await self._once(method, path, body, form, query, held)
        nonce = answer.headers.get("dpop-nonce", "")
        if answer.status in {400, 401} and nonce not in {"", self.nonce}:
            self.nonce = nonce
            answer = await self._once(method, path, body, form, query, held)
        return answer

    async def exchange(self, token: str, **more: str) -> Answer:
        form = {"grant_type": EXCHANGE, "subject_token": token, "subject_token_type": JWT_TYPE, **more}
        return await self.take(form)

    async def credentials(self, client_id: str, **more: str) -> Answer:
        form = {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_assertion_type": ASSERTION_TYPE,
            **more,
        }
        if not self.nonce:  # an assertion is good once, so the nonce is asked for before
            await self.send("POST", "/oauth/token", form=form | {"client_assertion": self.assertion(client_id)})
        form.setdefault("client_assertion", self.assertion(client_id))
        return await self.take(form)

    async def take(self, form: dict[str, str]) -> Answer:
        """Ask for a token, and hold it."""
        answer = await self.send("POST", "/oauth/token", form=form, token="")
        if answer.status == 200:
            self.token = answer.json["access_token"]
        return answer

    async def _once(  # noqa: PLR0917 - as `send`
        self, method: str, path: str, body: object, form: dict[str, str] | None, query: str, token: str
    ) -> Answer:
        headers = {"dpop": self.proof(method, path, token)}
        if token:
            headers["authorization"] = f"DPoP {token}"
        if form is not None:
            body = urlencode(form).encode()
            headers["content-type"] = FORM
        return await call(self.app, method, path, body, headers, query=query)


def _hash(token: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode()
