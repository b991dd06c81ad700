"""A person at a browser: the cookie that stands for a session, and what keeps other sites from using it.

The cookie is a secret of which only the hash is kept, made anew at each sign-in. It also carries the session's id and a
MAC, so that one which this server did not make costs it nothing. It is believed for a request that comes from a page of
this server; for one that changes nothing, also where somebody followed a link.
"""

import hashlib
import hmac
import secrets
from typing import Any, Final

from starlette.types import Scope

from everproof.identity.sessions import Beginning, Cookie, Kept, Session, SessionOverError, Sessions
from everproof.kernel.canonical import b64url, from_b64url
from everproof.kernel.clock import Clock
from everproof.kernel.errors import InputError, RefusedError, UnauthenticatedError
from everproof.kernel.words import Proof
from everproof.server.http.call import picked
from everproof.storage import Transaction

NAME: Final = "__Host-everproof"
"""The prefix makes browsers refuse it unless it is Secure, of this very host and of all its paths (RFC 6265bis)."""

_ATTRIBUTES: Final = "; Path=/; Secure; HttpOnly; SameSite=Lax"
"""No Max-Age: the cookie goes with the browser. Lax, since links in messages lead to our pages."""

CLEARED: Final = f"{NAME}={_ATTRIBUTES}; Max-Age=0"

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})

_SECRET_BYTES: Final = 32
_MAC_BYTES: Final = 16
_ID_BYTES: Final = 16
_BYTES: Final = _ID_BYTES + _SECRET_BYTES + _MAC_BYTES
_LENGTH: Final = len(b64url(bytes(_BYTES)))
_WANTED: Final = frozenset({b"cookie", b"origin", b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest"})
_PREFIX: Final = "cred_"


class CrossSiteError(RefusedError):
    """The request was not made by a page of this server."""

    code = "cross-site"

    def __init__(self, message: str) -> None:
        super().__init__(message, todo="do it on a page of this server, and with a browser of this decade")


class CookieOverError(SessionOverError):
    """The session that the cookie stands for is over: the browser may forget it."""

    headers: Final = {"set-cookie": CLEARED}


class KeyWantedError(UnauthenticatedError):
    """The cookie has to be renewed with the key that the page has made: ``POST /session/refresh``."""

    code = "session-key-wanted"

    def __init__(self) -> None:
        super().__init__(
            "the session's cookie has run out, and its key renews it", todo="let the page run its script, or sign in"
        )


class Browser:
    """The cookies of one server. ``key`` is what their MAC is made with, the same in every process of it."""

    def __init__(self, sessions: Sessions, clock: Clock, *, issuer: str, key: bytes) -> None:
        self._sessions = sessions
        self._clock = clock
        self._issuer = issuer
        self._key = key

    # ── within a commit ────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, tx: Transaction, beginning: Beginning, *, instead_of: Session | None = None) -> tuple[Session, str]:
        """Begin a session, and end the one that this browser was in; the session and the value of ``Set-Cookie``.

        Raises:
            RefusedError: as `Sessions.begin`.
        """
        secret = secrets.token_bytes(_SECRET_BYTES)
        session = self._sessions.begin(tx, beginning, cookie=_hash(secret))
        if instead_of is not None and self._sessions.find(instead_of.id) is not None:
            self._sessions.end(tx, instead_of.id, "signed in anew")
        return session, self._cookie(session.id, secret)

    def bind(self, tx: Transaction, id_: str, key: str) -> tuple[Session, str]:
        """Bind a session to the key that its page has made; as `begin`."""
        secret = secrets.token_bytes(_SECRET_BYTES)
        return self._sessions.bind_key(tx, id_, key, _hash(secret)), self._cookie(id_, secret)

    def renew(self, tx: Transaction, id_: str) -> tuple[Session, str]:
        """Give the browser another secret, as after a factor was shown; as `begin`."""
        secret = secrets.token_bytes(_SECRET_BYTES)
        return self._sessions.renew(tx, id_, _hash(secret)), self._cookie(id_, secret)

    def end(self, tx: Transaction, id_: str, reason: str = "signed out") -> str:
        """End a session; the value of the ``Set-Cookie`` that lets the browser forget it.

        Raises:
            NotFoundError: it is over already.
        """
        self._sessions.end(tx, id_, reason)
        return CLEARED

    # ── for each request ───────────────────────────────────────────────────────────────────────────────────────────

    def prove(self, scope: Scope) -> Proof | None:
        """The proof of who is in the session that the request's cookie stands for; None if it has none of ours.

        Raises:
            CrossSiteError: another site makes the request.
            UnauthenticatedError: the session is over, its person is nobody, or the cookie must be renewed.
        """
        found = picked(scope, _WANTED)
        value = _value(found)
        if value is None:
            return None
        self._require_own_site(scope["method"], found)
        kept = self._kept(value)
        if self._is_stale(kept):
            raise KeyWantedError
        id_ = kept.session.id
        proof = self._sessions.proof(id_)
        self._sessions.touch(id_)
        return proof

    def touch(self, id_: str) -> None:
        """Note that a session is used, as by a token that was made in it."""
        self._sessions.touch(id_)

    def session(self, scope: Scope) -> Session | None:
        """The session of the request, if `prove` would prove somebody by it.

        Raises:
            CrossSiteError: another site makes the request.
        """
        try:
            proof = self.prove(scope)
        except UnauthenticatedError:
            return None
        return None if proof is None or proof.credential is None else self._sessions.find(proof.credential)

    def holder(self, scope: Scope) -> Session:
        """The session whose cookie the request has, also where it has to be renewed: proves nobody by itself.

        Raises:
            CrossSiteError: another site makes the request.
            UnauthenticatedError: there is no cookie, or its session is over.
        """
        found = picked(scope, _WANTED)
        value = _value(found)
        if value is None:
            raise SessionOverError
        self._require_own_site(scope["method"], found)
        return self._kept(value).session

    def held(self, scope: Scope) -> Session | None:
        """The session that this browser is in, also where its cookie has to be renewed: to end it, and for no more.

        Raises:
            CrossSiteError: another site makes the request.
        """
        try:
            return self.holder(scope)
        except UnauthenticatedError:
            return None

    def wants_key(self, scope: Scope) -> bool:
        """Whether all that the request lacks is a renewed cookie: a page may send the browser to where it gets one."""
        try:
            self.prove(scope)
        except KeyWantedError:
            return True
        except (UnauthenticatedError, RefusedError):
            pass
        return False

    def _require_own_site(self, method: str, found: dict[bytes, bytes]) -> None:
        site, origin = found.get(b"sec-fetch-site"), found.get(b"origin")
        if method in SAFE:
            if site in {None, b"same-origin", b"none"}:
                return
            if found.get(b"sec-fetch-mode") == b"navigate" and found.get(b"sec-fetch-dest") == b"document":
                return  # a link was followed, and whoever made it does not see what comes back
            raise CrossSiteError("another site embeds this with the session of whoever looks at it")
        # A form of a page that sends no referrer has the origin "null": then the browser's own word counts.
        if origin is not None and origin != b"null" and origin.decode("latin-1") != self._issuer:
            raise CrossSiteError(f"a page of {origin.decode('latin-1')} makes this request")
        if site != b"same-origin" and (site is not None or origin in {None, b"null"}):
            raise CrossSiteError("the request does not say that a page of this server makes it")

    def _kept(self, value: str) -> Kept:
        """The session of a cookie's value.

        Raises:
            UnauthenticatedError: this server did not make it, another took its place, or its session is over.
        """
        try:
            parts = from_b64url(value) if len(value) == _LENGTH else b""
        except InputError:
            parts = b""
        head, mac = parts[:-_MAC_BYTES], parts[-_MAC_BYTES:]
        if len(parts) != _BYTES or not hmac.compare_digest(mac, self._mac(head)):
            raise SessionOverError
        kept = self._sessions.kept(_PREFIX + head[:_ID_BYTES].hex())
        if kept is None or kept.cookie is None:
            raise CookieOverError
        if not _is_secret_of(head[_ID_BYTES:], kept.cookie, self._clock):
            raise SessionOverError
        return kept

    def _is_stale(self, kept: Kept) -> bool:
        assert kept.cookie is not None
        return kept.cookie.until is not None and self._clock.now() >= kept.cookie.until

    def _cookie(self, id_: str, secret: bytes) -> str:
        head = bytes.fromhex(id_.removeprefix(_PREFIX)) + secret
        return f"{NAME}={b64url(head + self._mac(head))}{_ATTRIBUTES}"

    def _mac(self, head: bytes) -> bytes:
        return hmac.digest(self._key, b"session\0" + self._issuer.encode() + b"\0" + head, "sha256")[:_MAC_BYTES]


def seen_from(scope: Scope) -> dict[str, Any]:
    """``address`` and ``agent`` of a request, for a `Beginning`."""
    client = scope.get("client")
    agent = next((value for name, value in scope["headers"] if name == b"user-agent"), b"")
    text = "".join(one if one.isprintable() else "?" for one in agent.decode("latin-1")[:256])
    return {"address": str(client[0]) if client else "", "agent": text}


def _hash(secret: bytes) -> bytes:
    return hashlib.sha256(b"everproof session\0" + secret).digest()


def _is_secret_of(secret: bytes, cookie: Cookie, clock: Clock) -> bool:
    shown = _hash(secret)
    if hmac.compare_digest(shown, cookie.hash):
        return True
    until = cookie.previous_until
    return until is not None and clock.now() < until and hmac.compare_digest(shown, cookie.previous)


def _value(found: dict[bytes, bytes]) -> str | None:
    """The value of our cookie.

    Raises:
        InputError: it stands there twice.
    """
    given = found.get(b"cookie")
    if given is None or NAME.encode() not in given:
        return None
    values = [value for one in given.decode("latin-1").split(";") if (value := _of_ours(one)) is not None]
    if len(values) > 1:
        raise InputError("the cookie is given more than once", place=f"cookie {NAME}")
    return values[0] if values else None


def _of_ours(part: str) -> str | None:
    name, _, value = part.strip(" \t").partition("=")
    return value if name == NAME else None
