"""What a browser brings from an authenticator, read strictly, and verified (WebAuthn Level 3, sections 7.1 and 7.2)."""

import hashlib
from typing import Annotated, Any, Final, TypeAlias
from urllib.parse import urlsplit

import msgspec
import webauthn
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from webauthn.helpers import (
    decode_credential_public_key,
    decoded_public_key_to_cryptography,
    parse_attestation_object,
)
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.structs import (
    AttestationFormat,
    AuthenticationCredential,
    AuthenticatorAssertionResponse,
    AuthenticatorAttestationResponse,
    PublicKeyCredentialType,
    RegistrationCredential,
)

from everproof.identity.factors.attestation import require_attested
from everproof.identity.factors.rules import PasskeyRules
from everproof.kernel.canonical import from_b64url
from everproof.kernel.errors import InputError, RefusedError, UnauthenticatedError

ALGORITHMS: Final = (
    COSEAlgorithmIdentifier.ECDSA_SHA_256,
    COSEAlgorithmIdentifier.EDDSA,
    COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256,
)
"""ES256, EdDSA, RS256: what every authenticator made in these ten years has one of."""

FORMATS: Final = frozenset(
    {
        AttestationFormat.NONE,
        AttestationFormat.PACKED,
        AttestationFormat.FIDO_U2F,
        AttestationFormat.TPM,
        AttestationFormat.APPLE,
        AttestationFormat.ANDROID_KEY,
    }
)
RSA_BITS: Final = range(2048, 4097)

MAX_CREDENTIAL: Final = 1023
"""Bytes of a credential's id (WebAuthn, section 4)."""
MAX_HANDLE: Final = 64
HASH_BYTES: Final = 32


def _text(most_bytes: int) -> Any:
    return msgspec.Meta(max_length=-(-most_bytes * 4 // 3))


CredentialId: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=-(-MAX_CREDENTIAL * 4 // 3))]
ClientDataText: TypeAlias = Annotated[str, _text(2048)]
"""What a browser says of a ceremony is some 250 bytes."""
AttestationText: TypeAlias = Annotated[str, _text(32_768)]
"""A chain of three certificates is some 4 KB."""
DataText: TypeAlias = Annotated[str, _text(2048)]
SignatureText: TypeAlias = Annotated[str, _text(1024)]
Transports: TypeAlias = Annotated[tuple[Annotated[str, msgspec.Meta(max_length=32)], ...], msgspec.Meta(max_length=8)]


class AttestationResponse(msgspec.Struct, frozen=True):
    """``AuthenticatorAttestationResponse``, of which the rest is not believed anyway."""

    client_data: ClientDataText = msgspec.field(name="clientDataJSON")
    attestation: AttestationText = msgspec.field(name="attestationObject")
    transports: Transports = ()


class NewCredential(msgspec.Struct, frozen=True):
    """``PublicKeyCredential.toJSON()`` of a new credential."""

    id: CredentialId
    type: Annotated[str, msgspec.Meta(max_length=32)]
    response: AttestationResponse


class AssertionResponse(msgspec.Struct, frozen=True):
    """``AuthenticatorAssertionResponse``."""

    client_data: ClientDataText = msgspec.field(name="clientDataJSON")
    authenticator: DataText = msgspec.field(name="authenticatorData")
    signature: SignatureText
    handle: Annotated[str, _text(MAX_HANDLE)] | None = msgspec.field(name="userHandle", default=None)


class Assertion(msgspec.Struct, frozen=True):
    """``PublicKeyCredential.toJSON()`` of a credential that was shown."""

    id: CredentialId
    type: Annotated[str, msgspec.Meta(max_length=32)]
    response: AssertionResponse


class _ClientData(msgspec.Struct, frozen=True):
    type: str
    challenge: str
    origin: str
    cross_origin: bool = msgspec.field(name="crossOrigin", default=False)
    top_origin: str | None = msgspec.field(name="topOrigin", default=None)


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """A new credential that holds."""

    credential: bytes
    public_key: bytes
    sign_count: int
    user_verified: bool
    aaguid: str
    format: str
    root: str
    backup_eligible: bool
    backed_up: bool


class Asserted(msgspec.Struct, frozen=True, kw_only=True):
    """An assertion that holds."""

    sign_count: int
    user_verified: bool
    backup_eligible: bool
    backed_up: bool


class RejectedError(UnauthenticatedError):
    """What an authenticator sent does not hold. Whoever sent it may be in a session, which stays."""

    code = "authenticator"
    status = 403


def challenge_of(response: AttestationResponse | AssertionResponse) -> str:
    """The challenge that it answers, as it says, before anything was verified.

    Raises:
        InputError: it cannot be read.
    """
    return _client_data(response).challenge


def hash_of(credential: bytes) -> bytes:
    """What a credential's id is kept by."""
    return hashlib.sha256(b"webauthn credential\0" + credential).digest()


class RelyingParty:
    """What authenticators know this server as: ``id`` is the host of its own address, and no other origin is it."""

    def __init__(self, issuer: str) -> None:
        self.origin = issuer
        self.id = urlsplit(issuer).hostname or issuer

    def registered(self, response: NewCredential, *, challenge: str, rules: PasskeyRules) -> Registered:
        """A new credential, made for ``challenge``.

        Raises:
            UnauthenticatedError: it was not made so, or not for this server.
            RefusedError: the rules do not accept it.
            InputError: it cannot be read.
        """
        _require_type(response.type)
        self._require_here(response.response, "webauthn.create", challenge)
        id_ = _bytes(response.id, "id")
        attestation = _bytes(response.response.attestation, "response.attestationObject")
        given = RegistrationCredential(
            id=response.id,
            raw_id=id_,
            response=AuthenticatorAttestationResponse(
                client_data_json=_bytes(response.response.client_data, "response.clientDataJSON"),
                attestation_object=attestation,
            ),
        )
        roots = [pem.encode() for pem in rules.roots]
        try:
            found = webauthn.verify_registration_response(
                credential=given,
                expected_challenge=from_b64url(challenge),
                expected_rp_id=self.id,
                expected_origin=self.origin,
                require_user_verification=rules.user_verification == "required",
                supported_pub_key_algs=list(ALGORITHMS),
                pem_root_certs_bytes_by_fmt=dict.fromkeys(FORMATS, roots) if roots else None,
            )
            parsed = parse_attestation_object(attestation)
            _require_key(found.credential_public_key)
        except Exception as error:  # a stranger's bytes in a library's hands: whatever it says, they do not hold
            raise _rejected(error) from error
        if found.credential_id != id_ or found.fmt not in FORMATS:
            raise RejectedError(
                "the authenticator's answer is about another credential, or in a form that nobody reads"
            )
        flags = parsed.auth_data.flags
        root = require_attested(parsed, found.aaguid, rules) if rules.roots else ""
        if flags.bs and not rules.synced:
            raise RefusedError("passkeys that are kept in a cloud are not accepted here", todo="use a security key")
        return Registered(
            credential=found.credential_id,
            public_key=found.credential_public_key,
            sign_count=found.sign_count,
            user_verified=found.user_verified,
            aaguid=found.aaguid,
            format=str(found.fmt),
            root=root,
            backup_eligible=flags.be,
            backed_up=flags.bs,
        )

    def asserted(self, response: Assertion, *, challenge: str, public_key: bytes) -> Asserted:
        """An assertion by the holder of ``public_key``, made for ``challenge``. What its count says, is not judged.

        Raises:
            UnauthenticatedError: it was not made so, or not for this server.
            InputError: it cannot be read.
        """
        _require_type(response.type)
        self._require_here(response.response, "webauthn.get", challenge)
        authenticator = _bytes(response.response.authenticator, "response.authenticatorData")
        given = AuthenticationCredential(
            id=response.id,
            raw_id=_bytes(response.id, "id"),
            response=AuthenticatorAssertionResponse(
                client_data_json=_bytes(response.response.client_data, "response.clientDataJSON"),
                authenticator_data=authenticator,
                signature=_bytes(response.response.signature, "response.signature"),
            ),
        )
        try:
            found = webauthn.verify_authentication_response(
                credential=given,
                expected_challenge=from_b64url(challenge),
                expected_rp_id=self.id,
                expected_origin=self.origin,
                credential_public_key=public_key,
                # Judged by us, and only where the signature holds: else anybody could make a credential look copied.
                credential_current_sign_count=0,
            )
        except Exception as error:  # as above
            raise _rejected(error) from error
        return Asserted(
            sign_count=found.new_sign_count,
            user_verified=found.user_verified,
            backup_eligible=found.credential_device_type == "multi_device",
            backed_up=found.credential_backed_up,
        )

    def _require_here(self, response: AttestationResponse | AssertionResponse, type_: str, challenge: str) -> None:
        said = _client_data(response)
        if said.type != type_:
            raise RejectedError(f"this is an answer to {said.type[:32]!a}")
        if said.challenge != challenge:
            raise RejectedError("this is an answer to another challenge")
        if said.origin != self.origin:
            raise RejectedError(f"this was made at {said.origin[:128]!a}, not here", todo=f"open {self.origin}")
        if said.cross_origin or said.top_origin is not None:
            raise RejectedError("this was made in a frame of another site", todo=f"open {self.origin} by itself")


def _client_data(response: AttestationResponse | AssertionResponse) -> _ClientData:
    try:
        return msgspec.json.decode(_bytes(response.client_data, "response.clientDataJSON"), type=_ClientData)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError("not what a browser says of a ceremony", place="response.clientDataJSON") from error


def _bytes(text: str, place: str) -> bytes:
    try:
        return from_b64url(text)
    except InputError as error:
        raise InputError(error.message, place=place) from error


def _require_type(text: str) -> None:
    if text != PublicKeyCredentialType.PUBLIC_KEY.value:
        raise InputError("not the credential of an authenticator", place="type")


def _require_key(cose: bytes) -> None:
    """Hold that a key is one that can be verified by, and is worth it."""
    key = decoded_public_key_to_cryptography(decode_credential_public_key(cose))
    good = (
        isinstance(key, ed25519.Ed25519PublicKey)
        or (isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1))
        or (isinstance(key, rsa.RSAPublicKey) and key.key_size in RSA_BITS)
    )
    if not good:
        raise RejectedError("the authenticator's key is not one that is accepted")


def _rejected(error: Exception) -> UnauthenticatedError:
    if isinstance(error, UnauthenticatedError):
        return error
    why = str(error)[:200]
    return RejectedError(
        "the authenticator's answer does not hold" + (f": {why!a}" if why else ""),
        todo="try again, with the authenticator's PIN, finger or face where it asks for it",
    )
