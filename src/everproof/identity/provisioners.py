"""Provisioners: company directories such as Okta and Entra, which can send a fixed secret and make no signature.

The secret is a bearer of 256 bits: whoever has it is the provisioner. So it is taken at the door of SCIM alone, and
proves the kind ``scim-bearer``, of which policy may think what it likes. What is on record is the public half of a key
that the secret is turned into: it tells nothing of the secret, has a window, and ends like any other key, so that a
secret is renewed while the old one is still good. The key signs nothing: its ``kid`` says what it is.
"""

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ed25519

from everproof.identity.directory import Directory
from everproof.identity.proofs import require_good
from everproof.identity.records import PROVISIONER
from everproof.kernel.canonical import b64url, from_b64url
from everproof.kernel.clock import Clock
from everproof.kernel.errors import Error, InputError, UnauthenticatedError
from everproof.kernel.words import Proof
from everproof.keys import public_jwk, thumbprint

KIND: Final = "scim-bearer"
PREFIX: Final = "esc_"
"""By which scanners for leaked secrets know one."""
MAX_KNOWN: Final = 256
"""Secrets that are remembered with their keys: turning one into its key costs 40 µs."""
MAX_FAILURES: Final = 10
"""Wrong secrets from one address before it is made to wait: nobody mistypes what is pasted more often."""
WINDOW_SECONDS: Final = 60.0
MAX_ADDRESSES: Final = 4_096

_SECRET_BYTES: Final = 32
_LENGTH: Final = len(PREFIX) + 43
_NO_BEARER: Final = 'Bearer error="invalid_token"'


class UnprovenProvisionerError(UnauthenticatedError):
    """Whoever asks is no provisioner of ours."""

    headers: Final = {"www-authenticate": _NO_BEARER}

    def __init__(self, message: str) -> None:
        super().__init__(message, todo="make a secret with: everproof identity provisioner renew")


class TooManyFailuresError(Error):
    """Too many wrong secrets came from one address lately."""

    code = "too-many-failures"
    status = 429

    def __init__(self) -> None:
        super().__init__("too many wrong secrets from this address", todo="wait a minute")
        self.headers = {"retry-after": str(int(WINDOW_SECONDS))}


def new_secret() -> str:
    """A secret for a provisioner, of 256 random bits."""
    return PREFIX + b64url(secrets.token_bytes(_SECRET_BYTES))


def provisioner_jwk(secret: str) -> dict[str, str]:
    """The public key to put on record for ``secret``: made from it, and telling nothing of it.

    Raises:
        InputError: not a provisioner's secret.
    """
    data = from_b64url(secret.removeprefix(PREFIX)) if len(secret) == _LENGTH and secret.startswith(PREFIX) else b""
    if len(data) != _SECRET_BYTES:
        raise InputError("not a provisioner's secret", todo="make one with: everproof identity provisioner add")
    seed = hashlib.sha256(b"everproof provisioner\0" + data).digest()
    key = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
    return {**public_jwk(key.public_key()), "kid": PROVISIONER}


class Provisioners:
    """Knows provisioners by their secrets."""

    def __init__(self, directory: Directory, clock: Clock, *, is_live: Callable[[str], bool]) -> None:
        self._directory = directory
        self._clock = clock
        self._is_live = is_live
        self._known: dict[bytes, str] = {}
        self._failures: OrderedDict[str, list[float]] = OrderedDict()

    def verify(self, secret: str, *, address: str) -> Proof:
        """The provisioner that ``secret`` is of; ``address`` is where it came from.

        Raises:
            UnprovenProvisionerError: it is nobody's, or was ended.
            TooManyFailuresError: too many such came from there.
        """
        failures = self._lately(address)
        if len(failures) >= MAX_FAILURES:
            raise TooManyFailuresError
        try:
            return self._verified(secret)
        except UnauthenticatedError:
            self._failures[address] = [*failures, self._clock.now().timestamp()]
            if len(self._failures) > MAX_ADDRESSES:
                self._failures.popitem(last=False)
            raise

    def _verified(self, secret: str) -> Proof:
        mark = hashlib.sha256(secret.encode()).digest()
        name = self._known.get(mark)
        if name is None:
            try:
                name = thumbprint(provisioner_jwk(secret))
            except InputError as error:
                raise UnprovenProvisionerError(error.message) from error
        key = self._directory.key(name)
        if key is None or not key.is_provisioner:
            raise UnprovenProvisionerError("the secret is not known here")
        if len(self._known) < MAX_KNOWN:
            self._known[mark] = name
        now = self._clock.now()
        require_good(key, now)
        principal = self._directory.principal(key.principal)
        if principal is None or not self._is_live(key.credential):
            raise UnprovenProvisionerError(f"{key.principal} is disabled, or its secret was revoked")
        return Proof(kind=KIND, principal=principal, at=now, credential=key.credential, expires=key.valid_until)

    def _lately(self, address: str) -> list[float]:
        since = self._clock.now().timestamp() - WINDOW_SECONDS
        found = [at for at in self._failures.get(address, ()) if at > since]
        if address in self._failures and not found:
            del self._failures[address]
        return found
