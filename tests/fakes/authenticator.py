"""An authenticator in software (WebAuthn Level 3, CTAP 2.1), with the browser in front of it: our own, for tests.

It makes and shows credentials as a browser's ``PublicKeyCredential.toJSON()`` gives them. Everything that an honest one
would not do can be told it by ``Lies``.
"""

import hashlib
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import cbor2
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import NameOID, ObjectIdentifier

from everproof.kernel.canonical import b64url, from_b64url

Algorithm = Literal["ES256", "EdDSA", "RS256"]
Attestation = Literal["none", "self", "x5c"]
Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

COSE: dict[Algorithm, int] = {"ES256": -7, "EdDSA": -8, "RS256": -257}
AAGUID = bytes.fromhex("0af1c3d28b5e4f6091a7b2c3d4e5f607")

UP, UV, BE, BS, AT = 0x01, 0x04, 0x08, 0x10, 0x40
YEAR = timedelta(days=365)


@dataclass
class Lies:
    """What it does otherwise than an honest one, at the next answer alone."""

    origin: str | None = None
    rp_id: str | None = None
    type: str | None = None
    challenge: str | None = None
    flags_off: int = 0
    flags_on: int = 0
    count: int | None = None
    client_data: Mapping[str, Any] = field(default_factory=dict)
    handle: bytes | None = None
    credential: bytes | None = None
    algorithm: int | None = None
    statement: Callable[[dict[str, Any]], dict[str, Any]] | None = None


@dataclass
class Held:
    """A credential that it holds."""

    id: bytes
    key: Key
    algorithm: Algorithm
    rp_id: str
    handle: bytes
    discoverable: bool
    count: int = 0


class Maker:
    """Whoever makes authenticators: a root, and the certificate of a model."""

    def __init__(self, name: str = "Example Authenticators") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} Root")])
        now = datetime.now(UTC)
        self.root = (
            x509.CertificateBuilder()
            .subject_name(self._name)
            .issuer_name(self._name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + 10 * YEAR)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def pem(self) -> str:
        from cryptography.hazmat.primitives.serialization import Encoding

        return self.root.public_bytes(Encoding.PEM).decode()

    def certify(
        self, *, aaguid: bytes = AAGUID, unit: str = "Authenticator Attestation", ca: bool = False
    ) -> tuple[ec.EllipticCurvePrivateKey, list[bytes]]:
        """The key of a model, with its chain (DER), the leaf first."""
        from cryptography.hazmat.primitives.serialization import Encoding

        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.COUNTRY_NAME, "SE"),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example Authenticators"),
                x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
                x509.NameAttribute(NameOID.COMMON_NAME, "Example Model One"),
            ]
        )
        said = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.45724.1.1.4"), b"\x04\x10" + aaguid)
        leaf = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + YEAR)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(said, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return key, [leaf.public_bytes(Encoding.DER)]


class Authenticator:
    """One authenticator, in the hands of somebody who touches it, and gives it their finger where ``verifies``."""

    def __init__(
        self,
        *,
        origin: str,
        algorithm: Algorithm = "ES256",
        verifies: bool = True,
        synced: bool = False,
        counts: bool = True,
        attestation: Attestation = "none",
        aaguid: bytes = AAGUID,
        maker: Maker | None = None,
    ) -> None:
        self.origin = origin
        self.algorithm = algorithm
        self.verifies = verifies
        self.synced = synced
        self.counts = counts
        self.attestation = attestation
        self.aaguid = aaguid
        self.model = (maker or Maker()).certify(aaguid=aaguid) if attestation == "x5c" else None
        self.held: list[Held] = []
        self.lies = Lies()

    # ── what a browser asks ────────────────────────────────────────────────────────────────────────────────────────

    def create(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """``navigator.credentials.create()``."""
        lies, self.lies = self.lies, Lies()
        excluded = {from_b64url(one["id"]) for one in options.get("excludeCredentials", ())}
        if excluded & {one.id for one in self.held}:
            raise ValueError("InvalidStateError: one of these credentials is mine already")
        wanted = [one["alg"] for one in options["pubKeyCredParams"]]
        if COSE[self.algorithm] not in wanted:
            raise ValueError("NotSupportedError: none of these algorithms")
        selection = options.get("authenticatorSelection", {})
        held = Held(
            id=lies.credential or os.urandom(32),
            key=_new_key(self.algorithm),
            algorithm=self.algorithm,
            rp_id=options["rp"]["id"],
            handle=from_b64url(options["user"]["id"]),
            discoverable=selection.get("residentKey") != "discouraged",
        )
        self.held.append(held)
        cose = _cose(held.key, lies.algorithm)
        attested = self.aaguid + struct.pack(">H", len(held.id)) + held.id + cbor2.dumps(cose)
        data = self._data(held, selection.get("userVerification"), lies, attested)
        client = self._client("webauthn.create", options["challenge"], lies)
        statement = self._statement(held, data + hashlib.sha256(client).digest())
        if lies.statement is not None:
            statement = lies.statement(statement)
        name = "none" if self.attestation == "none" else "packed"
        return {
            "id": b64url(held.id),
            "rawId": b64url(held.id),
            "type": "public-key",
            "authenticatorAttachment": "platform" if self.synced else "cross-platform",
            "clientExtensionResults": {"credProps": {"rk": held.discoverable}},
            "response": {
                "clientDataJSON": b64url(client),
                "attestationObject": b64url(cbor2.dumps({"fmt": name, "attStmt": statement, "authData": data})),
                "transports": ["internal", "hybrid"] if self.synced else ["usb", "nfc"],
            },
        }

    def get(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """``navigator.credentials.get()``."""
        lies, self.lies = self.lies, Lies()
        allowed = [from_b64url(one["id"]) for one in options.get("allowCredentials", ())]
        fitting = [one for one in self.held if one.rp_id == options["rpId"]]
        held = next(one for one in fitting if (one.id in allowed if allowed else one.discoverable))
        data = self._data(held, options.get("userVerification"), lies)
        client = self._client("webauthn.get", options["challenge"], lies)
        handle = lies.handle if lies.handle is not None else held.handle if held.discoverable else None
        return {
            "id": b64url(lies.credential or held.id),
            "rawId": b64url(lies.credential or held.id),
            "type": "public-key",
            "authenticatorAttachment": "cross-platform",
            "clientExtensionResults": {},
            "response": {
                "clientDataJSON": b64url(client),
                "authenticatorData": b64url(data),
                "signature": b64url(_sign(held.key, data + hashlib.sha256(client).digest())),
                "userHandle": None if handle is None else b64url(handle),
            },
        }

    def clone(self) -> "Authenticator":
        """Another one with the same keys, from now on on its own."""
        twin = Authenticator(
            origin=self.origin, algorithm=self.algorithm, verifies=self.verifies, synced=self.synced, counts=self.counts
        )
        twin.aaguid = self.aaguid
        twin.held = [Held(**vars(one)) for one in self.held]
        return twin

    # ── what it makes ──────────────────────────────────────────────────────────────────────────────────────────────

    def _data(self, held: Held, verification: str | None, lies: Lies, attested: bytes = b"") -> bytes:
        flags = UP
        if self.verifies and verification != "discouraged":
            flags |= UV
        if self.synced:
            flags |= BE | BS
        if attested:
            flags |= AT
        if self.counts and not attested:
            held.count += 1
        count = held.count if lies.count is None else lies.count
        rp_id = lies.rp_id or held.rp_id
        flags = (flags | lies.flags_on) & ~lies.flags_off
        return hashlib.sha256(rp_id.encode()).digest() + struct.pack(">BI", flags, count) + attested

    def _client(self, type_: str, challenge: str, lies: Lies) -> bytes:
        said = {
            "type": lies.type or type_,
            "challenge": lies.challenge or challenge,
            "origin": lies.origin or self.origin,
            "crossOrigin": False,
            **lies.client_data,
        }
        return msgspec.json.encode(said)

    def _statement(self, held: Held, signed: bytes) -> dict[str, Any]:
        if self.attestation == "none":
            return {}
        if self.attestation == "self":
            return {"alg": COSE[self.algorithm], "sig": _sign(held.key, signed)}
        assert self.model is not None
        key, chain = self.model
        return {"alg": COSE["ES256"], "sig": _sign(key, signed), "x5c": chain}


def _new_key(algorithm: Algorithm) -> Key:
    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _cose(key: Key, algorithm: int | None) -> dict[int, Any]:
    """The public key as COSE has it (RFC 9052, RFC 8230)."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        point = key.public_key().public_numbers()
        return {1: 2, 3: algorithm or -7, -1: 1, -2: point.x.to_bytes(32), -3: point.y.to_bytes(32)}
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return {1: 1, 3: algorithm or -8, -1: 6, -2: key.public_key().public_bytes_raw()}
    numbers = key.public_key().public_numbers()
    return {1: 3, 3: algorithm or -257, -1: numbers.n.to_bytes(256), -2: numbers.e.to_bytes(3)}


def _sign(key: Key, message: bytes) -> bytes:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(message, ec.ECDSA(hashes.SHA256()))
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(message)
    return key.sign(message, padding.PKCS1v15(), hashes.SHA256())
