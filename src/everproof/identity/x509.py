"""Whether a client's certificate leads to an authority that is trusted: RFC 5280 by `cryptography`, and what it leaves.

The library judges path, times, signatures, name constraints, basic constraints and critical extensions it does not
know. Ours is what it lets pass and no client of ours needs: a certificate without a stated purpose or for any, weak or
odd keys, names with wildcards, chains and certificates of a size that only serves to keep us busy. CRLs are not read,
and a common name is not a name.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, Subject, VerificationError

from everproof.identity.jwk import MAX_RSA_BITS, MIN_RSA_BITS
from everproof.kernel.canonical import b64url
from everproof.kernel.errors import InputError, UnauthenticatedError

MAX_BYTES: Final = 16 * 1024
"""Of one certificate: one with a hundred names is 5 kB."""
MAX_INTERMEDIATES: Final = 4
"""Between leaf and authority. An organisation's PKI has one or two; each more is a signature to check."""
MAX_NAMES: Final = 64
MAX_ANCHORS: Final = 50
"""Authorities in one bundle: while one is replaced there are two."""

_CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_BITS_IN_BYTE: Final = 8
_UNREADABLE: Final = (
    ValueError, TypeError, NotImplementedError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)  # fmt: skip
"""How the library says that a part of a certificate cannot be read, which it may find late (found by mutation)."""
_ANY: Final = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
_PEM: Final = b"-----BEGIN CERTIFICATE-----"


class CertificateError(UnauthenticatedError):
    """A client's certificate that proves nothing here."""

    code = "bad-certificate"
    headers: Final = {"www-authenticate": 'DPoP algs="ES256 EdDSA"'}


class Path(msgspec.Struct, frozen=True):
    """A chain that holds: from the leaf to the authority, and when the first of them expires."""

    chain: tuple[x509.Certificate, ...]
    expires: datetime

    @property
    def leaf(self) -> x509.Certificate:
        """The client's own."""
        return self.chain[0]


def fingerprint(der: bytes) -> str:
    """What a certificate is called: base64url of SHA-256 over its DER, the ``x5t#S256`` of RFC 8705."""
    return b64url(hashlib.sha256(der).digest())


def read_certificate(der: bytes, *, place: str = "certificate") -> x509.Certificate:
    """A certificate from DER.

    Raises:
        CertificateError: too large, or none.
    """
    if len(der) > MAX_BYTES:
        raise CertificateError(f"the certificate has more than {MAX_BYTES} bytes", place=place)
    try:
        certificate = x509.load_der_x509_certificate(der)
        if certificate.version is x509.Version.v3 and (certificate.subject, certificate.issuer):
            return certificate
    except _UNREADABLE as error:
        raise CertificateError(f"not a certificate: {error}", place=place) from error
    raise CertificateError("not a certificate of version 3", place=place)


def read_pem(text: bytes, *, place: str = "certificate", most: int = 1 + MAX_INTERMEDIATES) -> tuple[bytes, ...]:
    """The DER of each certificate in PEM, in order.

    Raises:
        CertificateError: none, too many, or something between them.
    """
    if text.count(_PEM) > most or len(text) > most * MAX_BYTES * 2:
        raise CertificateError(f"more than {most} certificates", place=place)
    try:
        return tuple(one.public_bytes(Encoding.DER) for one in x509.load_pem_x509_certificates(text))
    except _UNREADABLE as error:
        raise CertificateError(f"not PEM with certificates: {error}", place=place) from error


def read_authorities(ders: Sequence[bytes], *, place: str) -> tuple[x509.Certificate, ...]:
    """Certificates that may vouch for others.

    Raises:
        InputError: none or too many, or one that is no authority or contradicts itself.
    """
    if not 0 < len(ders) <= MAX_ANCHORS:
        raise InputError(f"must have between 1 and {MAX_ANCHORS} authorities, not {len(ders)}", place=place)
    found = []
    for number, der in enumerate(ders, start=1):
        try:
            certificate = read_certificate(der, place=f"{place}: certificate {number}")
        except CertificateError as error:
            raise InputError(error.message, place=error.place) from error
        if (flaw := _flaw_of_authority(certificate)) is not None:
            raise InputError(flaw, place=f"{place}: certificate {number}")
        found.append(certificate)
    return tuple(found)


def verify_path(
    leaf: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    authorities: Store,
    at: datetime,
    *,
    server: Subject | None = None,
    depth: int = MAX_INTERMEDIATES,
) -> Path:
    """The chain by which ``leaf`` is a client's, or that of ``server``, at ``at``.

    Raises:
        CertificateError: there is none; why.
    """
    if len(intermediates) > MAX_INTERMEDIATES:
        raise CertificateError(f"the chain has more than {MAX_INTERMEDIATES} intermediates", place="certificate")
    purpose = ExtendedKeyUsageOID.CLIENT_AUTH if server is None else ExtendedKeyUsageOID.SERVER_AUTH
    if (flaw := _flaw_of_leaf(leaf, purpose)) is not None:
        raise CertificateError(flaw, place="certificate")
    policy = PolicyBuilder().store(authorities).time(at).max_chain_depth(depth)
    try:
        if server is None:
            chain = policy.build_client_verifier().verify(leaf, list(intermediates)).chain
        else:
            chain = policy.build_server_verifier(server).verify(leaf, list(intermediates))
    except (VerificationError, *_UNREADABLE) as error:
        raise CertificateError(
            f"the certificate leads to no authority that is trusted: {_reason(leaf, at, error)}", place="certificate"
        ) from error
    for number, one in enumerate(chain[:-1]):
        if (flaw := _flaw_on_path(one, authority=number > 0)) is not None:
            raise CertificateError(flaw, place=f"certificate: chain, {number} above the leaf")
    return Path(tuple(chain), min(one.not_valid_after_utc for one in chain))


def names_of(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    """The names of a certificate; its subject's attributes are none.

    Raises:
        CertificateError: it has no names, or they cannot be read.
    """
    found = _extensions(certificate).get(x509.SubjectAlternativeName)
    if found is None or not isinstance(found.value, x509.SubjectAlternativeName):
        raise CertificateError("the certificate has no alternative names", place="certificate")
    return found.value


def _extensions(certificate: x509.Certificate) -> dict[type[x509.ExtensionType], x509.Extension[x509.ExtensionType]]:
    """By type. What cannot be read, for whichever reason the library has, is a flaw of the certificate."""
    try:
        return {type(extension.value): extension for extension in certificate.extensions}
    except _UNREADABLE as error:
        raise CertificateError(f"the certificate's extensions cannot be read: {error}", place="certificate") from error


def _flaw_of_leaf(leaf: x509.Certificate, purpose: x509.ObjectIdentifier) -> str | None:
    """Why a leaf proves nothing, whoever vouches for it."""
    found = {type_: one.value for type_, one in _extensions(leaf).items()}
    purposes, usage = found.get(x509.ExtendedKeyUsage), found.get(x509.KeyUsage)
    constraints, names = found.get(x509.BasicConstraints), found.get(x509.SubjectAlternativeName)
    flaw = None
    if not isinstance(purposes, x509.ExtendedKeyUsage) or purpose not in purposes or _ANY in purposes:
        flaw = "the certificate is not for proving a client (extended key usage clientAuth, and not any)"
    elif isinstance(constraints, x509.BasicConstraints) and constraints.ca:
        flaw = "the certificate is an authority's, and proves no client"
    elif isinstance(usage, x509.KeyUsage) and not usage.digital_signature:
        flaw = "the certificate's key is not for signatures (key usage)"
    elif not isinstance(names, x509.SubjectAlternativeName) or not 0 < len(names) <= MAX_NAMES:
        flaw = f"the certificate must have between 1 and {MAX_NAMES} alternative names"
    elif any("*" in one for one in names.get_values_for_type(x509.DNSName)):
        flaw = "the certificate has a name with a wildcard: it could be anyone's"
    return flaw or _flaw_of_key(leaf)


def _flaw_of_key(leaf: x509.Certificate) -> str | None:
    try:
        key = leaf.public_key()
    except _UNREADABLE:
        return "the certificate's key cannot be read"
    match key:
        case rsa.RSAPublicKey(key_size=bits):
            good = MIN_RSA_BITS <= bits <= MAX_RSA_BITS and bits % _BITS_IN_BYTE == 0
        case ec.EllipticCurvePublicKey(curve=curve):
            good = isinstance(curve, _CURVES)
        case _:
            good = isinstance(key, ed25519.Ed25519PublicKey)
    return None if good else "the certificate's key is of a kind or size that is not accepted"


def _flaw_on_path(one: x509.Certificate, *, authority: bool) -> str | None:
    """What RFC 5280 asks of every certificate but the trusted one, and the library does not."""
    if one.serial_number <= 0:
        return "its serial number is not positive (RFC 5280, section 4.1.2.2)"
    found = _extensions(one)
    identifier = found.get(x509.AuthorityKeyIdentifier)
    if authority and (identifier is None or x509.SubjectKeyIdentifier not in found):
        return (
            "an authority's certificate names no key of its own or of its issuer (RFC 5280, sections 4.2.1.1, 4.2.1.2)"
        )
    constraints = found.get(x509.PolicyConstraints)
    if constraints is not None and not constraints.critical:
        return "its policy constraints are not critical (RFC 5280, section 4.2.1.11)"
    return None


def _flaw_of_authority(certificate: x509.Certificate) -> str | None:
    try:
        found = {type_: one.value for type_, one in _extensions(certificate).items()}
    except CertificateError as error:
        return error.message
    constraints, usage = found.get(x509.BasicConstraints), found.get(x509.KeyUsage)
    if not isinstance(constraints, x509.BasicConstraints) or not constraints.ca:
        return "not an authority (basic constraints)"
    if isinstance(usage, x509.KeyUsage) and not usage.key_cert_sign:
        return "an authority that may not sign certificates (key usage)"
    own, issuers = found.get(x509.SubjectKeyIdentifier), found.get(x509.AuthorityKeyIdentifier)
    if (
        certificate.issuer == certificate.subject
        and isinstance(own, x509.SubjectKeyIdentifier)
        and isinstance(issuers, x509.AuthorityKeyIdentifier)
        and issuers.key_identifier not in {None, own.digest}
    ):
        return "it names itself as its issuer, with another key"
    return None


def _reason(leaf: x509.Certificate, at: datetime, error: Exception) -> str:
    """The commonest reasons in words; the library's own for the others."""
    if at > leaf.not_valid_after_utc:
        return f"it expired at {leaf.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC"
    if at < leaf.not_valid_before_utc:
        return f"it is not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M:%S} UTC"
    return str(error).removeprefix("validation failed: ")[:200]
