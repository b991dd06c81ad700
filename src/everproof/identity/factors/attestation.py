"""Attestation: whether an authenticator is of the make that it says (WebAuthn Level 3, section 8).

The chain is verified with the statement; here stands what a maker's certificate must say beside (section 8.2.1).
"""

from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID, ObjectIdentifier
from webauthn.helpers.structs import AttestationFormat, AttestationObject

from everproof.identity.factors.rules import PasskeyRules
from everproof.kernel.errors import RefusedError

CHECKED: Final = frozenset({AttestationFormat.PACKED, AttestationFormat.FIDO_U2F, AttestationFormat.TPM})
"""Formats whose chains end in the roots that are given, and in no others that a library knows."""

AAGUID_EXTENSION: Final = ObjectIdentifier("1.3.6.1.4.1.45724.1.1.4")
"""id-fido-gen-ce-aaguid: an OCTET STRING with the model within."""

UNIT: Final = "Authenticator Attestation"
MAX_CHAIN: Final = 5


class UnattestedError(RefusedError):
    """The rules want to know the make of an authenticator, and this one does not prove it."""

    code = "unattested"

    def __init__(self, message: str) -> None:
        super().__init__(message, todo="use an authenticator of a make that your organisation accepts")


def require_attested(found: AttestationObject, aaguid: str, rules: PasskeyRules) -> str:
    """Hold that a statement whose chain was verified is one of a maker, about this model, and that it is accepted.

    The fingerprint of the maker's root.

    Raises:
        UnattestedError: it is not.
    """
    chain = found.att_stmt.x5c
    if found.fmt not in CHECKED or not chain:
        raise UnattestedError("the authenticator does not prove what it is")
    if len(chain) > MAX_CHAIN:
        raise UnattestedError("the authenticator's chain of certificates is too long")
    if found.fmt == AttestationFormat.PACKED:
        _require_maker(x509.load_der_x509_certificate(chain[0]), aaguid)
    if rules.aaguids and aaguid not in rules.aaguids:
        raise UnattestedError(f"authenticators of the model {aaguid} are not accepted")
    return _root_of(x509.load_der_x509_certificate(chain[-1]), rules)


def fingerprint(root: x509.Certificate) -> str:
    """What a root is remembered by: a passkey is worth nothing any more once its maker's root is taken out."""
    return root.fingerprint(hashes.SHA256()).hex()


@lru_cache(maxsize=8)
def fingerprints(roots: tuple[str, ...]) -> frozenset[str]:
    """Those of all ``roots`` (PEM)."""
    return frozenset(fingerprint(x509.load_pem_x509_certificate(pem.encode())) for pem in roots)


def _root_of(last: x509.Certificate, rules: PasskeyRules) -> str:
    for pem in rules.roots:
        root = x509.load_pem_x509_certificate(pem.encode())
        if last == root:
            return fingerprint(root)
        try:
            last.verify_directly_issued_by(root)
        except (ValueError, TypeError, InvalidSignature):
            continue
        return fingerprint(root)
    raise UnattestedError("the authenticator's chain ends in no root that is accepted")


def _require_maker(leaf: x509.Certificate, aaguid: str) -> None:
    units = leaf.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    if leaf.version is not x509.Version.v3 or [unit.value for unit in units] != [UNIT]:
        raise UnattestedError("the authenticator's certificate is not one for attestation")
    try:
        if leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            raise UnattestedError("the authenticator's certificate is that of an authority")
    except x509.ExtensionNotFound:
        raise UnattestedError("the authenticator's certificate does not say that it is no authority") from None
    try:
        said = leaf.extensions.get_extension_for_oid(AAGUID_EXTENSION)
    except x509.ExtensionNotFound:
        return
    assert isinstance(said.value, x509.UnrecognizedExtension)
    if said.critical or said.value.value != b"\x04\x10" + bytes.fromhex(aaguid.replace("-", "")):
        raise UnattestedError("the authenticator's certificate is for another model")
