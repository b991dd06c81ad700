"""What a bundle's ``factors.toml`` says: which factors the organisation accepts.

    [passkeys]
    user_verification = "required"   # security keys that only show a touch are not accepted
    synced = false                   # nor passkeys that a cloud keeps copies of
    roots = ["-----BEGIN CERTIFICATE-----…"]   # of those who make the authenticators: others are not accepted
    aaguids = ["2fc0579f-8113-47ea-b116-bb5a8db9202a"]   # the models

    [totp]
    accepted = false

    [recovery]
    wait_hours = 72
    people = 2

What is not said is as in `Rules`.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

import msgspec
from cryptography import x509

from everproof.kernel.errors import InputError
from everproof.kernel.toml import parse_toml

FILE_NAME: Final = "factors.toml"

MAX_ROOTS: Final = 64

Aaguid = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Roots = Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_ROOTS)]


class PasskeyRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which passkeys and security keys may be enrolled.

    With ``roots`` (PEM), only those whose maker's attestation ends in one of them; without, an authenticator is not
    asked what it is, since anybody could answer for it.
    """

    user_verification: Literal["required", "preferred"] = "preferred"
    synced: bool = True
    roots: Roots = ()
    aaguids: Annotated[tuple[Aaguid, ...], msgspec.Meta(max_length=1000)] = ()


class TotpRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether one-time passwords may be enrolled."""

    accepted: bool = True


class RecoveryRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long a recovery waits, and how many other people make it good before."""

    wait_hours: Annotated[int, msgspec.Meta(ge=24, le=720)] = 72
    people: Annotated[int, msgspec.Meta(ge=2, le=10)] = 2


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of it."""

    passkeys: PasskeyRules = PasskeyRules()
    totp: TotpRules = TotpRules()
    recovery: RecoveryRules = RecoveryRules()


def rules_of(files: Mapping[str, bytes]) -> Rules:
    """What a bundle's files say of factors.

    Raises:
        InputError: ``factors.toml`` cannot be read; with its field.
    """
    try:
        text = files.get(FILE_NAME, b"").decode()
    except UnicodeDecodeError as error:
        raise InputError("not UTF-8", place=FILE_NAME) from error
    rules = parse_toml(text, Rules, place=FILE_NAME)
    for number, pem in enumerate(rules.passkeys.roots):
        _require_root(pem, f"{FILE_NAME}: passkeys.roots[{number}]")
    if rules.passkeys.aaguids and not rules.passkeys.roots:
        raise InputError(
            "models mean nothing without the roots of their makers: anybody may say an AAGUID",
            place=f"{FILE_NAME}: passkeys.aaguids",
            todo="name the makers' root certificates in passkeys.roots",
        )
    return rules


def _require_root(pem: str, place: str) -> None:
    try:
        found = x509.load_pem_x509_certificates(pem.encode())
        authority = found[0].extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (ValueError, x509.ExtensionNotFound) as error:
        raise InputError("not the certificate of an authority (PEM)", place=place) from error
    if len(found) != 1 or not authority or found[0].issuer != found[0].subject:
        raise InputError("give one self-signed certificate of an authority", place=place)
