"""One client's standing with the server: its token, kept fresh, and each request with the proof of its key."""

import time
from collections import deque
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import msgspec

from everproof.client.answers import Issued, malformed, read
from everproof.client.credentials import Credentials, HeldToken
from everproof.client.flow import Answer, Flow, LateError, LostError, Pause, Request
from everproof.client.keys import Key, origin
from everproof.kernel.errors import (
    BY_STATUS,
    InputError,
    UnauthenticatedError,
    UnavailableError,
)

JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"
TOKEN: Final = "/oauth/token"  # noqa: S105 - an address

FRESH_SHARE: Final = 0.2
"""A token is renewed in the last fifth of its life, so that none ends on its way."""
BACKOFF: Final = (0.05, 0.2, 0.5, 1.0)
"""Seconds between attempts; after the last of them the client gives up."""
NONCES: Final = 3
"""How often a proof is made anew for one request: behind a balancer each server has a nonce of its own."""
REMEMBERED: Final = 16
"""Credentials of our own whose revocation is still looked out for."""

_BUSY: Final = frozenset({429, 500, 502, 503, 504})
_OK: Final = 200


class Held(NamedTuple):
    """A token, when it was asked for and when it ends, by the monotonic clock."""

    token: str
    asked: float
    ends: float

    def __repr__(self) -> str:
        return f"Held(ends={self.ends:.0f})"


class Session:
    """Sends requests as one client. Its state is replaced whole, so that threads may share it."""

    def __init__(
        self, server: str, credentials: Credentials, *, audience: str = "", own_connection: bool = False
    ) -> None:
        """``audience`` is a service that the token is for; empty: the server itself."""
        self.server = origin(server)
        self._audience = audience
        self.own_credentials: deque[str] = deque(maxlen=REMEMBERED)
        self.subject = ""
        self._credentials = credentials
        self._own = own_connection
        self._nonce = ""
        self._held: Held | None = None
        self._shown = ""
        """The token that was shown on a connection of our own."""
        if isinstance(credentials, HeldToken):
            left = credentials.expires - time.time()
            self._held = Held(credentials.token, time.monotonic(), time.monotonic() + left)

    def __repr__(self) -> str:
        return f"Session({self.server}, {self._credentials})"

    @property
    def key(self) -> Key:
        """The key that tokens are bound to."""
        return self._credentials.key

    def ask(self, method: str, path: str, *, json: Any = None, form: dict[str, str] | None = None) -> Flow[bytes]:
        """The body of a good answer to a request that may be sent twice without harm.

        Raises:
            UnavailableError: there was none in time, or it was a fault of the server's.
            UnauthenticatedError: the server does not take this client for anybody.
            Error: what the server answered, in its own words.
        """
        body = urlencode(form).encode() if form is not None else msgspec.json.encode(json) if json is not None else b""
        media = FORM if form is not None else JSON
        renewed = False
        for pause in (*BACKOFF, None):
            try:
                answer = yield from self._proven(method, path, body, media)
            except LateError:
                raise
            except LostError:
                if pause is None:
                    raise
                yield Pause(pause)
                continue
            if answer.status == 401 and not renewed:  # noqa: PLR2004
                renewed = self._forget()
                if renewed:
                    continue
            if answer.status in _BUSY and pause is not None:
                yield Pause(pause)
                continue
            return _good(answer, f"{self.server}{path}")
        raise UnavailableError("the server cannot be reached")  # pragma: no cover - the last round ends otherwise

    def headers(self, method: str, path: str, *, prove: bool = True) -> Flow[tuple[dict[str, str], str]]:
        """What says who asks, a token that is good for a while and a proof for this request; and the proof's nonce."""
        token = yield from self._token()
        headers, nonce = {"authorization": f"DPoP {token}"}, self._nonce
        if prove or self._shown != token:
            url = f"{self.server}{path}"
            headers["dpop"] = self.key.dpop(method, url, nonce=nonce, token=token, own_connection=self._own)
        return headers, nonce

    def shown_to(self, method: str, url: str, nonce: str) -> Flow[dict[str, str]]:
        """What a request to the service at ``url`` is proven with."""
        token = yield from self._token()
        bare = url.partition("#")[0].partition("?")[0]
        return {"authorization": f"DPoP {token}", "dpop": self.key.dpop(method, bare, nonce=nonce, token=token)}

    def heard(self, answer: Answer, sent: str) -> bool:
        """Note the nonce of an answer; whether the request, which ``sent`` another, is to be sent again with it."""
        nonce = answer.headers.get("dpop-nonce", "")
        self._nonce = nonce or self._nonce
        return nonce not in {"", sent} and answer.status in {400, 401}

    def _proven(self, method: str, path: str, body: bytes, media: str) -> Flow[Answer]:
        prove = not self._own
        answer: Answer | None = None
        for _ in range(NONCES):
            headers, sent = yield from self.headers(method, path, prove=prove)
            if body:
                headers["content-type"] = media
            answer = yield Request(method=method, url=f"{self.server}{path}", headers=headers, body=body)
            assert answer is not None
            again = self.heard(answer, sent)
            if answer.status == 401 and "dpop" not in headers:  # noqa: PLR2004
                prove = True  # another connection of ours, on which the key was not shown yet
                continue
            if not again:
                if self._own and answer.status == _OK:
                    self._shown = headers["authorization"].removeprefix("DPoP ")
                break
        assert answer is not None
        return answer

    def _token(self) -> Flow[str]:
        held, now = self._held, time.monotonic()
        if held is not None and now < held.ends - FRESH_SHARE * (held.ends - held.asked):
            return held.token
        try:
            fresh = yield from self._issued()
        except UnavailableError:
            if held is not None and now < held.ends:
                return held.token  # the server says whether it is still good
            raise
        if fresh is None:
            if held is None or now >= held.ends:
                raise UnauthenticatedError("the token is over", todo="get a new one")
            return held.token
        self._held = fresh
        return fresh.token

    def _issued(self) -> Flow[Held | None]:
        url = f"{self.server}{TOKEN}"
        for _ in range(NONCES):
            form = yield from self._credentials.form(self.server)
            if form is None:
                return None
            if self._audience:
                form["audience"] = self._audience
            sent = self._nonce
            headers = {"content-type": FORM, "dpop": self.key.dpop("POST", url, nonce=sent)}
            asked = time.monotonic()
            answer = yield Request(method="POST", url=url, headers=headers, body=urlencode(form).encode())
            assert answer is not None
            if not self.heard(answer, sent):
                break
        else:
            raise UnavailableError("the server wants a nonce, and takes none that it gave", place=url)
        issued = read(_good(answer, url), Issued)
        if issued.token_type.lower() != "dpop" or issued.expires_in <= 0 or not issued.access_token:
            raise malformed("a token that is not bound to the key")
        if issued.credential:
            self.own_credentials.append(issued.credential)
        return Held(issued.access_token, asked, asked + issued.expires_in)

    def _forget(self) -> bool:
        """Give up a token that the server does not take any more; whether another can be had."""
        if isinstance(self._credentials, HeldToken):
            return False
        self._held = None
        return True


def _good(answer: Answer, url: str) -> bytes:
    media = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if answer.status == _OK:
        if media not in {JSON, ""} or (media == "" and answer.body):
            raise malformed("an answer that is not JSON")
        return answer.body
    if 300 <= answer.status < 400 or answer.status < 200:  # noqa: PLR2004
        raise UnavailableError(f"the server sent us elsewhere ({answer.status})", place=url)
    message, todo = _said(answer, media)
    if answer.status in _BUSY or answer.status >= 500:  # noqa: PLR2004
        raise UnavailableError(message, place=url, todo=todo)
    raise BY_STATUS.get(answer.status, InputError)(message, place=url, todo=todo)


def _said(answer: Answer, media: str) -> tuple[str, str | None]:
    """What an error says, and what to do: in problem details, in OAuth's form, or in AuthZEN's lines of text."""
    fallback = f"the server answered {answer.status}"
    if media.endswith("json"):
        try:
            told = msgspec.json.decode(answer.body, type=dict[str, Any])
        except msgspec.DecodeError:
            return fallback, None
        message = told.get("detail") or told.get("error_description") or told.get("title") or told.get("error")
        return str(message or fallback), str(told["todo"]) if told.get("todo") else None
    if media == "text/plain":
        first, _, rest = answer.body.decode("utf-8", "replace").strip().partition("\n")
        return first[:1000] or fallback, rest[:1000].strip() or None
    return fallback, None
