"""Certificate authorities of other organisations, and what they issue: also what they should not."""

import base64
import json
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from joserfc import jwt
from joserfc.jwk import ECKey

CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER = ExtendedKeyUsageOID.SERVER_AUTH
HOUR = timedelta(hours=1)


class Leaf:
    """A certificate with its key and the intermediates that go with it."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, chain: Sequence[x509.Certificate]) -> None:
        self.key = key
        self.chain = tuple(one.public_bytes(Encoding.DER) for one in chain)

    @property
    def der(self) -> bytes:
        return self.chain[0]

    @property
    def pem(self) -> str:
        return "".join(ssl.DER_cert_to_PEM_cert(one) for one in self.chain)

    def write(self, folder: Path, name: str = "client") -> Path:
        """A file with chain and key, as OpenSSL wants them."""
        file = folder / f"{name}.pem"
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file.write_text(self.pem + key.decode())
        return file


class Authority:
    """An authority: a root of its own, or under ``parent``."""

    def __init__(
        self, name: str = "Root", *, uri: str = "", parent: "Authority | None" = None, more: Sequence[Any] = ()
    ) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.parent = parent
        names = [x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])] if uri else []
        self.certificate = self.issue_with(
            parent or self,
            self.name,
            self.key.public_key(),
            [
                (x509.BasicConstraints(ca=True, path_length=None), True),
                (usage(signs_certificates=True), True),
                *((one, False) for one in names),
                *((one, True) for one in more),
            ],
            life=24 * HOUR,
        )

    @staticmethod
    def issue_with(
        issuer: "Authority",
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        extensions: Sequence[tuple[x509.ExtensionType, bool]],
        *,
        life: timedelta = HOUR,
        now: datetime | None = None,
    ) -> x509.Certificate:
        now = now or datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=1))
            .not_valid_after(now + life)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(issuer.key, hashes.SHA256())

    def leaf(
        self,
        *uris: str,
        dns: Sequence[str] = (),
        cn: str = "",
        purposes: Sequence[x509.ObjectIdentifier] = (CLIENT, SERVER),
        ca: bool = False,
        keys: x509.KeyUsage | None = None,
        more: Sequence[tuple[x509.ExtensionType, bool]] = (),
        life: timedelta = HOUR,
        now: datetime | None = None,
    ) -> Leaf:
        """A certificate for a client."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn)] if cn else [])
        names = [*map(x509.UniformResourceIdentifier, uris), *map(x509.DNSName, dns)]
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (x509.BasicConstraints(ca=ca, path_length=None), True),
            (keys or usage(), True),
            *more,
        ]
        if names:
            extensions.append((x509.SubjectAlternativeName(names), not cn))
        if purposes:
            extensions.append((x509.ExtendedKeyUsage(list(purposes)), False))
        made = self.issue_with(self, subject, key.public_key(), extensions, life=life, now=now)
        return Leaf(key, [made, *self.above()])

    def above(self) -> list[x509.Certificate]:
        """This authority and those above it, without the root."""
        return [] if self.parent is None else [self.certificate, *self.parent.above()]

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)


class TrustDomain(Authority):
    """A SPIFFE trust domain: an authority, a key for JWTs, and the bundle with both."""

    def __init__(self, name: str = "partner.example") -> None:
        super().__init__(f"{name} CA", uri=f"spiffe://{name}")
        self.domain = name
        self.jwt_key = ECKey.generate_key("P-256", {"kid": "jwt-1"})

    def svid(self, path: str, **more: Any) -> Leaf:
        return self.leaf(f"spiffe://{self.domain}/{path}", **more)

    def jwt_svid(self, path: str, audience: Any, now: datetime, **changes: Any) -> str:
        at = int(now.timestamp())
        claims = {"sub": f"spiffe://{self.domain}/{path}", "aud": audience, "iat": at, "exp": at + 300, **changes}
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode({"alg": "ES256", "typ": "JWT", "kid": "jwt-1"}, claims, self.jwt_key)

    def bundle(self, *authorities: Authority, sequence: int = 1, refresh: int = 60) -> bytes:
        """The bundle as it is published."""
        keys: list[dict[str, Any]] = [
            {"kty": "EC", "use": "x509-svid", "x5c": [base64.b64encode(one.der).decode()]}
            for one in (authorities or (self,))
        ]
        keys.append({**self.jwt_key.as_dict(private=False), "use": "jwt-svid"})
        return json.dumps({"keys": keys, "spiffe_sequence": sequence, "spiffe_refresh_hint": refresh}).encode()


def usage(*, signs_certificates: bool = False, **more: bool) -> x509.KeyUsage:
    """What a key is for."""
    given = {
        "digital_signature": not signs_certificates,
        "key_cert_sign": signs_certificates,
        "crl_sign": signs_certificates,
        "content_commitment": False,
        "key_encipherment": False,
        "data_encipherment": False,
        "key_agreement": False,
        "encipher_only": False,
        "decipher_only": False,
    }
    return x509.KeyUsage(**{**given, **more})


def spiffe_file(domain: str, *, more: str = "", path: str = "billing") -> bytes:
    """A trust file for a trust domain, with its bundle beside it."""
    word = domain.partition(".")[0]
    return f"""
[spiffe]
trust_domain = "{domain}"
bundle = "trust/{word}.json"
{more}
[[binding]]
name = "{word}-{path}"
id = "{word}/{{path}}"
groups = ["builders"]
claims.path = "{path}"
""".encode()


def x509_file(name: str, *, wanted: str = 'claims.dns = "batch.acme.example"') -> bytes:
    """A trust file for an organisation's authority."""
    return f"""
[x509]
name = "{name}"
bundle = "trust/{name}.pem"
[[binding]]
name = "{name}-hosts"
id = "{name}/{{dns}}"
principal = "Machine"
{wanted}
""".encode()
