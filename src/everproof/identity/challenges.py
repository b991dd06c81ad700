"""Challenges that only this server can have made, and the words that people sign over them.

A challenge needs no row until it is used: it carries its time and a MAC.
"""

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta
from typing import Final

import msgspec

from everproof.kernel.canonical import b64url, from_b64url
from everproof.kernel.clock import MAX_SKEW, Clock, from_milliseconds, milliseconds
from everproof.kernel.errors import InputError, UnauthenticatedError

LOGIN_NAMESPACE: Final = "login@everproof"
ENROL_NAMESPACE: Final = "enrol@everproof"
"""SSHSIG namespaces of our own: what is signed here is no commit, and no commit is a login."""

LIFETIME: Final = timedelta(minutes=2)
"""Long enough to find and touch a security key."""

_TIME_BYTES: Final = 8
_RANDOM_BYTES: Final = 16
_MAC_BYTES: Final = 32
_BYTES: Final = _TIME_BYTES + _RANDOM_BYTES + _MAC_BYTES


class Challenge(msgspec.Struct, frozen=True):
    """A challenge, and when this server made it."""

    text: str
    at: datetime

    @property
    def expires(self) -> datetime:
        """From when on it is not accepted."""
        return self.at + LIFETIME

    @property
    def id(self) -> bytes:
        """What it is spent under."""
        return hashlib.sha256(b"challenge\0" + self.text.encode()).digest()


class Challenges:
    """Makes and knows the challenges of this server. That each is used once is decided in the commit."""

    def __init__(self, clock: Clock, *, server: str, key: bytes | None = None) -> None:
        """Make them with ``key``, which all processes of a server share; without one, with a key of this process."""
        self._clock = clock
        self.server = server
        self._key = key or secrets.token_bytes(_MAC_BYTES)

    def new(self, about: str = "") -> Challenge:
        """A fresh challenge; with ``about``, good for nothing else."""
        now = milliseconds(self._clock.now())
        head = now.to_bytes(_TIME_BYTES) + secrets.token_bytes(_RANDOM_BYTES)
        return Challenge(b64url(head + self._mac(head, about)), from_milliseconds(now))

    def read(self, text: str, about: str = "") -> Challenge:
        """The challenge that ``text`` is, if this server made it ``about`` this and it is fresh.

        Whether it was used, the commit says.

        Raises:
            UnauthenticatedError: another server's, or too old.
        """
        again = "log in again"
        try:
            data = (
                from_b64url(text) if len(text) == len(b64url(bytes(_TIME_BYTES + _RANDOM_BYTES + _MAC_BYTES))) else b""
            )
        except InputError:
            data = b""
        head, mac = data[:-_MAC_BYTES], data[-_MAC_BYTES:]
        if len(data) != _BYTES or not hmac.compare_digest(mac, self._mac(head, about)):
            raise UnauthenticatedError("the challenge is not one of this server", place="challenge", todo=again)
        challenge = Challenge(text, from_milliseconds(int.from_bytes(head[:_TIME_BYTES])))
        if not challenge.at - MAX_SKEW <= self._clock.now() < challenge.expires:
            raise UnauthenticatedError("the challenge is too old", place="challenge", todo=again)
        return challenge

    def _mac(self, head: bytes, about: str) -> bytes:
        # The head has one length, so nothing of what follows it can be taken for a part of it.
        said = b"challenge\0" + self.server.encode() + b"\0" + head + about.encode()
        return hmac.digest(self._key, said, "sha256")


def login_message(*, server: str, challenge: str, at: datetime, key: str) -> bytes:
    """What a person signs, in namespace ``login@everproof``, to log in at ``server`` with a fresh key.

    ``key`` is the thumbprint (RFC 7638) of the key that the token will be bound to: who takes the signature away
    cannot use it for a key of their own, nor at another server.
    """
    return _message("Everproof login", server, challenge, at, f"key: {key}")


def enrolment_message(*, server: str, challenge: str, at: datetime, user: str) -> bytes:
    """What a person signs, in namespace ``enrol@everproof``, with the key to be enrolled as that of ``user``."""
    return _message("Everproof enrolment", server, challenge, at, f"user: {user}")


def _message(title: str, server: str, challenge: str, at: datetime, last: str) -> bytes:
    time = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"{title}\nserver: {server}\nchallenge: {challenge}\ntime: {time}\n{last}\n".encode()
