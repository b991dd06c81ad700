"""A sign-on under way. It lies in the browser that began it, sealed, and nowhere else until it ends.

So an answer counts in that browser alone (RFC 9700, section 4.7), and whoever begins a million of them fills nothing.
"""

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from everproof.identity.sign_on.errors import SignOnError
from everproof.identity.sign_on.files import Provider
from everproof.kernel.canonical import b64url, encode, from_b64url
from everproof.kernel.clock import MAX_SKEW, Clock
from everproof.kernel.errors import InputError

LIFETIME: Final = timedelta(minutes=10)
"""Long enough to find a phone and to be asked for a password anew."""
COOKIE: Final = "__Host-everproof-sign-on-"
"""With the browser's own promise that no other host has set it (RFC 6265bis, section 4.1.3.2)."""
AGAIN: Final = "sign on again, from the beginning and in one browser"

_STATE_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_MAX_SEALED: Final = 3_800
"""Characters; browsers keep a cookie of 4,096 bytes."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was asked of a provider, and what for. All of it is secret but the provider and the address to go on to."""

    provider: str
    issuer: str
    client_id: str
    state: str
    nonce: str
    verifier: str
    at: datetime
    next: str = "/"
    max_age: int | None = None
    step_up: str = ""
    """The session that is to be shown a factor; empty: a new one begins."""
    link: str = ""
    """The secret of an invitation."""

    @property
    def expires(self) -> datetime:
        """From when on nothing comes of it."""
        return self.at + LIFETIME

    @property
    def id(self) -> bytes:
        """What it is spent under."""
        return hashlib.sha256(b"sign-on\0" + self.state.encode()).digest()

    @property
    def challenge(self) -> str:
        """What PKCE shows of the verifier (RFC 7636, section 4.2)."""
        return b64url(hashlib.sha256(self.verifier.encode()).digest())

    def __repr__(self) -> str:
        return f"Attempt({self.provider})"


class SignOnAttempts:
    """Begins attempts, and knows them again."""

    def __init__(self, clock: Clock, *, key: bytes) -> None:
        """Seal them with ``key``, which all processes of a server share."""
        self._clock = clock
        self._cipher = AESGCM(key)

    def new(
        self, provider: Provider, *, next_: str = "/", max_age: int | None = None, step_up: str = "", link: str = ""
    ) -> Attempt:
        """A fresh attempt."""
        return Attempt(
            provider=provider.name, issuer=provider.issuer, client_id=provider.client_id,
            state=secrets.token_urlsafe(_STATE_BYTES), nonce=secrets.token_urlsafe(_STATE_BYTES),
            verifier=secrets.token_urlsafe(_STATE_BYTES), at=self._clock.now(), next=next_, max_age=max_age,
            step_up=step_up, link=link,
        )  # fmt: skip

    def seal(self, attempt: Attempt) -> tuple[str, str]:
        """The name and the value of the cookie that the browser keeps it in."""
        name = cookie_name(attempt.state)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        value = b64url(nonce + self._cipher.encrypt(nonce, encode(attempt), name.encode()))
        if len(value) > _MAX_SEALED:
            raise InputError("longer than a browser keeps", place="next")
        return name, value

    def open(self, state: str, value: str | None) -> Attempt:
        """The attempt that ``state`` names, if this is the browser that began it.

        Raises:
            SignOnError: it is not, or it is too long ago.
        """
        found = None if value is None else self._opened(state, value)
        if found is None or not secrets.compare_digest(found.state, state):
            raise SignOnError("this browser has not begun this sign-on", place="state", todo=AGAIN)
        if not found.at - MAX_SKEW <= self._clock.now() < found.expires:
            raise SignOnError("the sign-on took too long", place="state", todo=AGAIN)
        return found

    def _opened(self, state: str, value: str) -> Attempt | None:
        try:
            data = from_b64url(value) if len(value) <= _MAX_SEALED else b""
            plain = self._cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], cookie_name(state).encode())
            return msgspec.json.decode(plain, type=Attempt)
        except (InputError, InvalidTag, ValueError, msgspec.DecodeError):
            return None


def cookie_name(state: str) -> str:
    """The name of the cookie that the attempt of ``state`` lies in; each has one of its own, for browsers with tabs."""
    return COOKIE + b64url(hashlib.sha256(b"sign-on cookie\0" + state.encode(errors="replace")).digest()[:12])
