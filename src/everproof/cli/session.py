"""What `everproof login` leaves on this machine: a key, a token bound to it, and the server's own CA.

One file, mode 0600. The token is worthless without the key, and short-lived.
"""

import hashlib
import json
import os
import secrets
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from everproof.kernel.canonical import b64url
from everproof.kernel.errors import InputError, UnauthenticatedError

DEFAULT_FILE: Final = Path("~/.config/everproof/session.json")
COORDINATE_BYTES: Final = 32


class Session(msgspec.Struct, kw_only=True):
    """A server, how to know it, the key that was made for it, and the token if one is held. Times are Unix seconds."""

    server: str
    ca: str = ""
    key: str
    token: str = ""
    expires: float = 0
    principal: str = ""
    refresh: str = ""
    """What the next token is had for, where the session was begun at a browser."""

    def __repr__(self) -> str:
        return f"Session({self.server}, {self.principal or 'nobody'})"

    @property
    def private_key(self) -> ec.EllipticCurvePrivateKey:
        """The key that the token is bound to."""
        key = serialization.load_pem_private_key(self.key.encode(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return key


def file() -> Path:
    """Where the session is kept; ``EVERPROOF_SESSION`` names another place."""
    return Path(os.environ.get("EVERPROOF_SESSION") or DEFAULT_FILE).expanduser()


def load() -> Session:
    """The session of this machine.

    Raises:
        UnauthenticatedError: nobody has logged in here.
        InputError: the file cannot be read.
    """
    try:
        return msgspec.json.decode(file().read_bytes(), type=Session)
    except FileNotFoundError as error:
        todo = "run: everproof login --server https://…"
        raise UnauthenticatedError("nobody has logged in on this machine", todo=todo) from error
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(f"cannot be read: {error}", place=str(file()), todo="run: everproof login") from error


def save(session: Session) -> None:
    """Keep ``session``, whole or not at all."""
    target = file()
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as temporary:  # made with mode 0600
        temporary.write(msgspec.json.encode(session))
        temporary.flush()
        os.fsync(temporary.fileno())
    Path(temporary.name).replace(target)


def new_key() -> str:
    """A fresh P-256 key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    none = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, none).decode()


def public_jwk(key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    """The public half as a JWK (RFC 7518, section 6.2)."""
    numbers = key.public_key().public_numbers()
    x, y = (b64url(number.to_bytes(COORDINATE_BYTES)) for number in (numbers.x, numbers.y))
    return {"crv": "P-256", "kty": "EC", "x": x, "y": y}


def thumbprint(jwk: dict[str, str]) -> str:
    """The JWK's thumbprint (RFC 7638)."""
    return b64url(hashlib.sha256(json.dumps(jwk, sort_keys=True, separators=(",", ":")).encode()).digest())


def sign_jwt(key: ec.EllipticCurvePrivateKey, header: dict[str, Any], claims: dict[str, Any]) -> str:
    """A JWT signed with ES256."""
    parts = [b64url(json.dumps(part, separators=(",", ":")).encode()) for part in ({"alg": "ES256", **header}, claims)]
    signed = ".".join(parts)
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signed}.{b64url(r.to_bytes(COORDINATE_BYTES) + s.to_bytes(COORDINATE_BYTES))}"


def dpop_proof(
    key: ec.EllipticCurvePrivateKey, method: str, url: str, *, nonce: str | None = None, token: str | None = None
) -> str:
    """A DPoP proof for one request (RFC 9449, section 4.2)."""
    claims: dict[str, Any] = {"jti": secrets.token_urlsafe(16), "htm": method, "htu": url, "iat": int(time.time())}
    if nonce:
        claims["nonce"] = nonce
    if token:
        claims["ath"] = b64url(hashlib.sha256(token.encode()).digest())
    return sign_jwt(key, {"typ": "dpop+jwt", "jwk": public_jwk(key)}, claims)
