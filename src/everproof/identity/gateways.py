"""Gateways: nginx and its like, which can show a secret with each request and make no signature.

The secret is a bearer of 256 bits: whoever has it is the gateway. So it is worth as little as can be: it lets its
holder ask about requests whose callers prove themselves, and nothing else. What is on record is the public half of a
key that the secret is turned into, which tells nothing of the secret and ends like any other key.
"""

import hashlib
import secrets
from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ed25519

from everproof.identity.directory import Directory
from everproof.identity.proofs import require_good
from everproof.identity.records import GATEWAY
from everproof.kernel.canonical import b64url, from_b64url
from everproof.kernel.clock import Clock
from everproof.kernel.errors import InputError, RefusedError, UnauthenticatedError
from everproof.kernel.words import Proof
from everproof.keys import public_jwk, thumbprint

KIND: Final = "gateway-secret"
PREFIX: Final = "egw_"
"""By which scanners for leaked secrets know one."""
MAX_KNOWN: Final = 256
"""Secrets that are remembered with their keys: turning one into its key costs 40 µs."""

_SECRET_BYTES: Final = 32
_LENGTH: Final = len(PREFIX) + 43


class UnprovenGatewayError(RefusedError):
    """Whoever asks is no gateway of ours. Not 401: that would tell the gateway's own caller to log in."""

    code = "unproven-gateway"

    def __init__(self, message: str) -> None:
        super().__init__(
            message, place="header X-Everproof-Gateway", todo="make a secret with: everproof identity gateway add"
        )


def new_secret() -> str:
    """A secret for a gateway, of 256 random bits."""
    return PREFIX + b64url(secrets.token_bytes(_SECRET_BYTES))


def gateway_jwk(secret: str) -> dict[str, str]:
    """The public key to put on record for ``secret``: made from it, and telling nothing of it.

    Raises:
        InputError: not a gateway's secret.
    """
    data = from_b64url(secret.removeprefix(PREFIX)) if len(secret) == _LENGTH and secret.startswith(PREFIX) else b""
    if len(data) != _SECRET_BYTES:
        raise InputError("not a gateway's secret", todo="make one with: everproof identity gateway add")
    seed = hashlib.sha256(b"everproof gateway\0" + data).digest()
    key = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
    return {**public_jwk(key.public_key()), "kid": GATEWAY}


class Gateways:
    """Knows gateways by their secrets."""

    def __init__(self, directory: Directory, clock: Clock, *, is_live: Callable[[str], bool]) -> None:
        self._directory = directory
        self._clock = clock
        self._is_live = is_live
        self._known: dict[bytes, str] = {}

    def verify(self, secret: str | None) -> Proof:
        """The gateway that ``secret`` is of.

        Raises:
            UnprovenGatewayError: it is nobody's, or was ended.
        """
        if secret is None:
            raise UnprovenGatewayError("the gateway shows no secret")
        mark = hashlib.sha256(secret.encode()).digest()
        name = self._known.get(mark)
        if name is None:
            try:
                name = thumbprint(gateway_jwk(secret))
            except InputError as error:
                raise UnprovenGatewayError(error.message) from error
        key = self._directory.key(name)
        if key is None or not key.is_gateway:
            raise UnprovenGatewayError("the gateway's secret is not known here")
        if len(self._known) < MAX_KNOWN:
            self._known[mark] = name
        now = self._clock.now()
        principal = self._directory.principal(key.principal)
        try:
            require_good(key, now)
        except UnauthenticatedError as error:
            raise UnprovenGatewayError(f"the gateway's secret: {error.message}") from error
        if principal is None or not self._is_live(key.credential):
            raise UnprovenGatewayError(f"{key.principal} is disabled, or its secret was revoked")
        return Proof(
            kind=KIND, principal=principal, at=now, credential=key.credential, expires=key.valid_until,
        )  # fmt: skip
