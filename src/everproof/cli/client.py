"""How commands speak to the server: HTTPS, a DPoP proof for each request, and its errors as errors of ours."""

import secrets
import ssl
import time
from collections.abc import Mapping
from typing import Any, Final

import httpx
import msgspec

from everproof.cli import renewal
from everproof.cli import session as sessions
from everproof.kernel.errors import (
    BY_STATUS,
    Error,
    InputError,
    UnauthenticatedError,
    UnavailableError,
)

TIMEOUT_SECONDS: Final = 30
RENEW_SECONDS: Final = 30
"""A token that ends sooner might end on its way."""
ASSERTION_SECONDS: Final = 60
STEP_UP: Final = "insufficient_user_authentication"
"""The code of what is denied until a factor was shown (RFC 9470)."""


class Client:
    """The server, as the holder of a session sees it."""

    def __init__(self, session: sessions.Session) -> None:
        self.session = session
        context = ssl.create_default_context(cadata=session.ca or None)
        self._http = httpx.Client(base_url=session.server, verify=context, timeout=TIMEOUT_SECONDS, trust_env=False)
        self._key = session.private_key
        self._nonce: str | None = None
        self.told: dict[str, Any] = {}
        """What the server said beside the error it answered last, as data."""
        self._stepped_up = False
        self.said = ""
        """The code of the error it answered last, ours or OAuth's."""

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        form: dict[str, str] | None = None,
        query: Mapping[str, str | int] | None = None,
        proven: bool = True,
    ) -> Any:
        """The decoded answer to one request, proven by the session's token unless told otherwise.

        Raises:
            Error: what the server answered, in its own words.
        """
        response = self._send(method, path, json, form, query, proven=proven)
        nonce = response.headers.get("dpop-nonce")
        if nonce and nonce != self._nonce and response.status_code in {400, 401}:
            self._nonce = nonce  # the server asks for a proof that is made with its nonce
            response = self._send(method, path, json, form, query, proven=proven)
        self._nonce = response.headers.get("dpop-nonce", self._nonce)
        if response.is_success:
            kind = response.headers.get("content-type", "")
            return response.json() if "json" in kind and "jsonl" not in kind else response.content
        error, self.told, self.said = _error(response)
        if proven and self.said == STEP_UP and self._step_up():
            return self.request(method, path, json=json, form=form, query=query)
        raise error

    def _step_up(self) -> bool:
        """Show the factor that is wanted, if somebody is there to do it; whether it was shown. Once in a command."""
        from everproof.cli import step_up

        wanted = self.told.get("step_up")
        if wanted is None or self._stepped_up:
            return False
        self._stepped_up = True
        return step_up.offer(self, wanted)

    def _send(self, method: str, path: str, json: Any, form: Any, query: Any, *, proven: bool) -> httpx.Response:
        if proven and renewal.is_due(self.session):
            renewal.renew(self)
        token = self.session.token if proven else None
        if proven and self.session.expires < time.time():
            raise UnauthenticatedError("your session is over", todo="run: everproof login")
        url = f"{self.session.server}{path}"
        headers = {"dpop": sessions.dpop_proof(self._key, method, url, nonce=self._nonce, token=token)}
        if token:
            headers["authorization"] = f"DPoP {token}"
        try:
            return self._http.request(method, path, json=json, data=form, params=query, headers=headers)
        except httpx.TransportError as error:
            todo = "start it with: everproof up"
            raise UnavailableError(f"the server cannot be reached: {error}", place=url, todo=todo) from error


def connect() -> Client:
    """The server of this machine's session. A machine's own session is renewed by its key, which asks nobody.

    Raises:
        UnauthenticatedError: nobody has logged in here.
    """
    session = sessions.load()
    if session.principal.startswith("Machine::") and session.expires < time.time() + RENEW_SECONDS:
        renew_by_key(session)
    return Client(session)


def renew_by_key(session: sessions.Session) -> None:
    """Get a token for the machine that proves itself by the session's own key (RFC 7523), and keep it."""
    kind, _, name = session.principal.partition("::")
    id_ = name.strip('"')
    client = f"{kind.lower()}:{id_}"
    now = int(time.time())
    claims = {"iss": client, "sub": client, "aud": session.server, "iat": now, "exp": now + ASSERTION_SECONDS}
    key = session.private_key
    assertion = sessions.sign_jwt(key, {"typ": "JWT"}, {**claims, "jti": secrets.token_urlsafe(16)})
    form = {
        "grant_type": "client_credentials",
        "client_id": client,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": assertion,
    }
    answer = Client(session).request("POST", "/oauth/token", form=form, proven=False)
    session.token, session.expires = answer["access_token"], time.time() + answer["expires_in"]
    sessions.save(session)


def _error(response: httpx.Response) -> tuple[Error, dict[str, Any], str]:
    try:
        problem = msgspec.json.decode(response.content, type=dict[str, Any])
    except msgspec.DecodeError:
        problem = {}
    message = problem.get("detail") or problem.get("error_description") or problem.get("title") or problem.get("error")
    kind = BY_STATUS.get(response.status_code, InputError)
    error = kind(
        str(message or f"the server answered {response.status_code}"),
        place=problem.get("place"),
        todo=problem.get("todo"),
    )
    extra = problem.get("extra")
    return error, extra if isinstance(extra, dict) else {}, str(problem.get("code") or problem.get("error") or "")
