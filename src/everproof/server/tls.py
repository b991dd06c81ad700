"""The server's own certificate: a small CA made at the first start, and a leaf that is renewed before it ends.

A server that has a name in the world is given a certificate from its own CA by a proxy or by files of its operator;
this one is for working in five seconds, and for callers who are given ``ca.pem``.

Whatever changes, a leaf or whose clients' certificates are believed, changes for the next handshake: the context that
the sockets listen with swaps itself for the current one at each, and connections that are open stay open.
"""

import ipaddress
import os
import ssl
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from everproof.kernel.clock import MAX_SKEW, Clock
from everproof.kernel.errors import InputError
from everproof.kernel.settings import Settings

CA_FILE: Final = "ca.pem"
CA_KEY_FILE: Final = "ca.key"
LEAF_FILE: Final = "server.pem"

CA_LIFE: Final = timedelta(days=3650)
"""Callers are given this CA once; its key signs nothing but the leaf."""
LEAF_LIFE: Final = timedelta(days=30)
LEAF_RENEWAL: Final = timedelta(days=10)
"""Renewed when less than this is left: ten tries a day apart before anyone notices a failure."""


class Certificates:
    """The CA and the leaf in the state folder; ``context`` serves whatever leaf is current."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._folder = settings.state
        self._names = _names(settings)
        self._clock = clock
        self._given = settings.tls
        self._authorities: tuple[bytes, ...] = ()
        self._files: tuple[object, ...] = ()
        self._changing = threading.Lock()
        self._chain: tuple[Path, Path | None] = (self._folder / LEAF_FILE, None)
        self.context = _context()
        self.context.sni_callback = self._swap
        self._current = self.context
        self.renew()

    @property
    def ca_file(self) -> Path:
        """The CA's certificate, for callers to trust."""
        return self._folder / CA_FILE

    def renew(self) -> bool:
        """Make the CA and the leaf where they are missing or near their end, and serve them; says whether it made one.

        Raises:
            InputError: a file in the state folder is not what it should be.
        """
        now = self._clock.now()
        try:
            ca, ca_key = self._load_ca() if self.ca_file.exists() else self._make_ca(now)
            if made := not self._leaf_is_good(ca, now):
                self._make_leaf(ca, ca_key, now)
            if self._given.certificate is None:
                self._load(self._folder / LEAF_FILE, None)
        except (ValueError, ssl.SSLError, OSError) as error:
            raise InputError(
                f"the server's certificate cannot be used: {error}",
                place=str(self._folder),
                todo=f"remove {CA_FILE}, {CA_KEY_FILE} and {LEAF_FILE} there, and new ones are made at the next start",
            ) from error
        if self._given.certificate is not None:
            self.reload()
        return made

    def reload(self) -> bool:
        """Serve the operator's certificate anew if its files have changed; says whether it did.

        Raises:
            InputError: they cannot be read; what was served before still is.
        """
        certificate, key = self._given.certificate, self._given.key
        if certificate is None or (now := _marks(certificate, key)) == self._files:
            return False
        try:
            self._load(certificate, key)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise InputError(
                f"the server's certificate cannot be used: {error}", place=str(certificate),
                todo="give PEM: the chain, leaf first, and its key (tls.certificate, tls.key)",
            ) from error  # fmt: skip
        self._files = now
        return True

    def trust(self, authorities: Sequence[bytes]) -> None:
        """Ask clients for certificates of ``authorities`` (DER) from the next handshake on; with none, ask nobody."""
        with self._changing:
            self._authorities = tuple(authorities)
            self._current = self._made(self._chain)

    def _swap(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._current

    def _load(self, certificate: Path, key: Path | None) -> None:
        with self._changing:
            made = self._made((certificate, key))
            self.context.load_cert_chain(certificate, key)
            self._current, self._chain = made, (certificate, key)

    def _made(self, chain: tuple[Path, Path | None]) -> ssl.SSLContext:
        context = _context()
        context.load_cert_chain(*chain)
        mode = ssl.CERT_NONE
        if self._authorities:
            context.load_verify_locations(cadata=b"".join(self._authorities))
            # A trust domain may publish an authority that another has signed: it is trusted as it stands.
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            mode = ssl.CERT_OPTIONAL
        # Whether a client is asked is settled before the contexts are swapped, by the one that listens.
        context.verify_mode = self.context.verify_mode = mode
        return context

    def _load_ca(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        certificate = x509.load_pem_x509_certificate(self.ca_file.read_bytes())
        key = serialization.load_pem_private_key((self._folder / CA_KEY_FILE).read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise ValueError(f"{CA_KEY_FILE} is not the key of {CA_FILE}")
        return certificate, key

    def _make_ca(self, now: datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Everproof server CA")])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - MAX_SKEW)
            .not_valid_after(now + CA_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        _write(self._folder / CA_KEY_FILE, _private_pem(key), 0o600)
        _write(self.ca_file, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
        return certificate, key

    def _leaf_is_good(self, ca: x509.Certificate, now: datetime) -> bool:
        file = self._folder / LEAF_FILE
        if not file.exists():
            return False
        leaf = x509.load_pem_x509_certificate(file.read_bytes())
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return (
            leaf.issuer == ca.subject and list(names) == self._names and leaf.not_valid_after_utc - now > LEAF_RENEWAL
        )

    def _make_leaf(self, ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey, now: datetime) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(ca.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - MAX_SKEW)
            .not_valid_after(min(now + LEAF_LIFE, ca.not_valid_after_utc))
            .add_extension(x509.SubjectAlternativeName(self._names), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
            .sign(ca_key, hashes.SHA256())
        )
        _write(self._folder / LEAF_FILE, _private_pem(key) + leaf.public_bytes(serialization.Encoding.PEM), 0o600)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A resumed session would carry an identity that was not proven anew; tickets also cost CPU at each connection.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    return context


def _marks(*files: Path | None) -> tuple[object, ...]:
    """What changes when a file is written or replaced."""
    found: list[object] = []
    for file in files:
        try:
            state = None if file is None else file.stat()
        except OSError:
            state = None
        found.append(state and (state.st_ino, state.st_mtime_ns, state.st_size))
    return tuple(found)


def _names(settings: Settings) -> list[x509.GeneralName]:
    wanted = ["localhost", "127.0.0.1", "::1", settings.host, urlsplit(settings.issuer).hostname or ""]
    names: list[x509.GeneralName] = []
    for text in dict.fromkeys(wanted):
        if text in {"", "0.0.0.0", "::"}:  # noqa: S104 - the wildcard address is nobody's name
            continue
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(text)))
        except ValueError:
            names.append(x509.DNSName(text))
    return names


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(file: Path, content: bytes, mode: int) -> None:
    # Written aside and moved into place: whoever reads it sees the old one or the new one.
    aside = file.with_name(f"{file.name}.new")
    aside.unlink(missing_ok=True)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(descriptor)
    aside.replace(file)
