"""Stands before a service: who calls it, proven by a token and its key, and whether they may.

The service's own address is what tokens must be for and proofs must be made for. What a token is worth is asked of the
server, so that a revoked one is refused; that its key was shown, and only once, is judged here.
"""

import hashlib
import os
import secrets
import threading
import time
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any, Final, Protocol, TypeAlias
from urllib.parse import unquote, urlsplit

import msgspec

from everproof.client.answers import Decision, DeniedError, Entity, Introspection, entity
from everproof.client.keys import origin, token_hash, verified
from everproof.client.routes import Found, UnclearPathError
from everproof.kernel.errors import Error, InputError, UnauthenticatedError, UnavailableError

MAX_TOKEN: Final = 16 * 1024
MAX_PROOF: Final = 4096
MAX_JTI: Final = 256
LIFETIME_SECONDS: Final = 60.0
"""How old a proof may be, beyond the skew of two clocks (as at the server itself)."""
SKEW_SECONDS: Final = 30.0
WINDOW_SECONDS: Final = LIFETIME_SECONDS + 2 * SKEW_SECONDS
MAX_SEEN: Final = 400_000
"""Proofs remembered in a window: 40 MB."""
NONCE_SECONDS: Final = 300.0

CHALLENGE: Final = 'DPoP algs="ES256 EdDSA"'

Headers: TypeAlias = Iterable[tuple[str, str]]


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever calls: proven, and allowed what it came for. ``credential`` is the id of its token."""

    subject: Entity
    credential: str
    scope: tuple[str, ...] = ()
    decision: Decision | None = None


caller: Final[ContextVar[Caller | None]] = ContextVar("everproof_caller", default=None)
"""Who makes the request that is being answered, where a middleware of ours has let it in."""


class NotProvenError(UnauthenticatedError):
    """Nobody is proven. ``headers`` say how to do it (RFC 9449, section 7.1)."""

    def __init__(self, message: str, error: str = "", *, nonce: str = "", todo: str | None = None) -> None:
        super().__init__(message, todo=todo)
        self.headers = {"www-authenticate": f'DPoP error="{error}", {CHALLENGE[5:]}' if error else CHALLENGE}
        if nonce:
            self.headers["dpop-nonce"] = nonce


class Replays(Protocol):
    """Remembers which proofs were seen. One that several processes share makes a nonce of each needless."""

    def first(self, mark: bytes, seconds: float) -> bool:
        """Whether ``mark`` is seen for the first time; it is remembered for ``seconds``."""
        ...


class SeenHere:
    """Remembers in this process alone."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()
        self._before: set[bytes] = set()
        self._turned = time.monotonic()
        self._lock = threading.Lock()

    def first(self, mark: bytes, seconds: float) -> bool:
        """Whether ``mark`` is new.

        Raises:
            UnavailableError: more than can be remembered.
        """
        now = time.monotonic()
        with self._lock:  # of two threads with one mark, one is the first
            if now - self._turned >= seconds:
                self._before = self._seen if now - self._turned < 2 * seconds else set()
                self._seen, self._turned = set(), now
            if mark in self._before or mark in self._seen:
                return False
            if len(self._seen) >= MAX_SEEN:
                raise UnavailableError("more proofs than can be remembered", todo="try again in two minutes")
            self._seen.add(mark)
            return True


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """What a request shows of its caller: a token, the key that made its proof, and how the proof is called."""

    token: str
    key: str
    mark: bytes

    def __repr__(self) -> str:
        return "Shown()"


class Guard:
    """Judges requests for one service. ``audience`` is the service's own address, ``server`` the one that is asked."""

    def __init__(self, audience: str, *, server: str, replays: Replays | None = None) -> None:
        """Without ``replays``, proofs are remembered in this process, and must carry a nonce that it gave."""
        self.audience = origin(audience)
        self._server = server
        self._seen: Replays = replays or SeenHere()
        self._wants_nonce = replays is None
        self._secret = secrets.token_bytes(16)

    def shown(self, headers: Headers, *, method: str, path: str) -> Shown:
        """The token of a request, and the key that its proof shows; ``path`` is decoded.

        Raises:
            NotProvenError: there is none, or the proof is not for this request.
        """
        authorization, proof = _one(headers, "authorization"), _one(headers, "dpop")
        if authorization is None:
            raise NotProvenError("there is no access token", todo=f"send a token for {self.audience} and a DPoP proof")
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "dpop" or not token or len(token) > MAX_TOKEN or not token.isascii():
            raise NotProvenError("tokens are taken with the scheme DPoP alone", "invalid_token")
        if proof is None or len(proof) > MAX_PROOF:
            raise NotProvenError("the key that the token is bound to was not shown", "invalid_dpop_proof")
        try:
            key, claims = verified(proof)
        except InputError as error:
            raise NotProvenError(error.message, "invalid_dpop_proof") from error
        self._require(claims, method, path, token)
        jti = claims["jti"]
        return Shown(token=token, key=key, mark=hashlib.sha256(f"{key}.{jti}".encode()).digest()[:16])

    def prove(self, shown: Shown, found: Introspection) -> Caller:
        """Whoever showed it, by what the server says of its token; the proof is used up.

        Raises:
            NotProvenError: the token is not good, for somebody else, or not of this key; or the proof was used.
        """
        if not found.active:
            raise NotProvenError("the token is not good, or not any more", "invalid_token", todo="get a new one")
        if found.iss != self._server or found.aud != self.audience:
            todo = f"get a token for the audience {self.audience}"
            raise NotProvenError("the token is for somebody else", "invalid_token", todo=todo)
        if found.exp <= time.time():
            raise NotProvenError("the token is over", "invalid_token", todo="get a new one")
        if found.token_type != "DPoP" or set(found.cnf) != {"jkt"} or found.cnf["jkt"] != shown.key or not found.jti:  # noqa: S105 - a kind
            raise NotProvenError("the token belongs to another key than the one that was shown", "invalid_token")
        if not self._seen.first(shown.mark, WINDOW_SECONDS):
            raise NotProvenError("the proof was used before", "invalid_dpop_proof", todo="make one for each request")
        return Caller(subject=found.subject, credential=found.jti, scope=tuple(found.scope.split()))

    def _require(self, claims: dict[str, Any], method: str, path: str, token: str) -> None:
        jti, issued = claims.get("jti"), claims.get("iat")
        if claims.get("htm") != method or not self._is_for(claims.get("htu"), path):
            raise NotProvenError("the proof is for another request", "invalid_dpop_proof")
        if claims.get("ath") != token_hash(token):
            raise NotProvenError("the proof is not for this token", "invalid_dpop_proof")
        if not isinstance(jti, str) or not 0 < len(jti) <= MAX_JTI:
            raise NotProvenError("the proof has no id of a sensible length", "invalid_dpop_proof")
        if type(issued) is not int or not -SKEW_SECONDS <= time.time() - issued <= LIFETIME_SECONDS + SKEW_SECONDS:
            raise NotProvenError("the proof is not of now", "invalid_dpop_proof", todo="check the clock")
        if self._wants_nonce and claims.get("nonce") not in self._nonces():
            raise NotProvenError(
                "the proof must carry this service's nonce",
                "use_dpop_nonce",
                nonce=self._nonces()[0],
                todo="send it again",
            )

    def _is_for(self, url: object, path: str) -> bool:
        if not isinstance(url, str):
            return False
        try:
            parts = urlsplit(url)
            base = origin(f"{parts.scheme}://{parts.netloc}")
        except (ValueError, InputError):
            return False
        return base == self.audience and (unquote(parts.path, errors="strict") or "/") == path

    def _nonces(self) -> tuple[str, str]:
        """The nonce of now, and the one before. No other process has them, nor has what this one has not seen."""
        period, process = (
            int(time.monotonic() // NONCE_SECONDS),
            os.getpid(),
        )  # workers may be forked from where we began
        made = [
            hashlib.sha256(self._secret + b"%d.%d" % (process, one)).hexdigest()[:32] for one in (period, period - 1)
        ]
        return made[0], made[1]


def require_scope(caller: Caller, action: str) -> None:
    """Hold that the caller's token was not narrowed to something else.

    Raises:
        DeniedError: it was.
    """
    if caller.scope and action not in caller.scope:
        reason = f"the token's scope, {' '.join(caller.scope)}, does not include {action}"
        raise DeniedError(Decision(allowed=False, reason=reason, todo=f"get a token with the scope {action}"))


def admitted(caller: Caller, decision: Decision, found: Found) -> Caller:
    """The caller with the decision that lets it in.

    Raises:
        DeniedError: it does not.
    """
    if not decision.allowed:
        raise DeniedError(decision, place=f"{found.action} on {entity(found.resource)}")
    return msgspec.structs.replace(caller, decision=decision)


def problem(error: Exception) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of a refusal (RFC 9457). What is no error of ours is a fault: 503, and nothing more."""
    headers = {"content-type": "application/problem+json", "cache-control": "no-store"}
    if not isinstance(error, Error):
        error = UnavailableError("it cannot be decided now whether you may")
    status, told = error.status, error
    if isinstance(error, UnauthenticatedError | DeniedError | UnclearPathError):
        if isinstance(error, UnauthenticatedError) and not isinstance(error, NotProvenError):
            # It is this service that the server does not take for anybody, not the caller.
            status, told = 503, UnavailableError("it cannot be decided now whether you may")
    else:
        status, told = 503, UnavailableError("it cannot be decided now whether you may", todo="try again")
    body: dict[str, Any] = {
        "type": f"urn:everproof:error:{told.code}",
        "title": told.code.replace("-", " ").capitalize(),
        "status": status,
        "detail": told.message,
        "code": told.code,
    }
    if told.todo:
        body["todo"] = told.todo
    if isinstance(told, DeniedError):
        decision = told.decision
        extra: dict[str, Any] = {"explanation": decision.explanation}
        if decision.receipt is not None:
            extra["receipt"] = msgspec.to_builtins(decision.receipt)
        body["extra"] = extra
    if isinstance(told, NotProvenError):
        headers |= told.headers
    return status, headers, msgspec.json.encode(body)


def _one(headers: Headers, name: str) -> str | None:
    """The one value of a header.

    Raises:
        NotProvenError: it stands there twice, so that two readers could take different ones.
    """
    found = [value for key, value in headers if key.lower() == name]
    if len(found) > 1:
        raise NotProvenError(f"the header {name} is given more than once", "invalid_request")
    return found[0] if found else None
