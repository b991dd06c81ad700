"""SPIFFE: the names of workloads, the certificates that carry them, and the bundles that vouch for them.

SPIFFE ID (the standard's sections 2.1 to 2.4), X.509-SVID (2, 3, 4.3, 4.4), and the bundle format of SPIFFE Trust
Domain and Bundle (4). A trust domain's bundle speaks for its own names and for no others.
"""

import base64
import binascii
import re
from datetime import timedelta
from typing import Any, Final

import msgspec
from cryptography import x509

from everproof.identity.jose import JoseError, read_object
from everproof.identity.jwk import MAX_KEYS, KeySet, VerificationKey, read_published_key
from everproof.identity.x509 import CertificateError, names_of, read_authorities
from everproof.kernel.errors import InputError

SCHEME: Final = "spiffe://"
MAX_ID: Final = 2048
MAX_TRUST_DOMAIN: Final = 255

DEFAULT_REFRESH: Final = timedelta(minutes=5)
LEAST_REFRESH: Final = timedelta(seconds=30)
"""However often a bundle wants to be asked for: a peer does not decide how busy we are."""
MOST_REFRESH: Final = timedelta(hours=1)
"""However seldom it wants to: what a trust domain withdraws is dead here after this."""

_DOMAIN: Final = re.compile(r"[a-z0-9._-]+")
_SEGMENT: Final = re.compile(r"[a-zA-Z0-9._-]+")


class SpiffeId(msgspec.Struct, frozen=True, order=True):
    """The name of a workload; ``path`` has no slash before it."""

    trust_domain: str
    path: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.trust_domain}/{self.path}" if self.path else f"{SCHEME}{self.trust_domain}"


class SpiffeBundle(msgspec.Struct, frozen=True):
    """What a trust domain publishes: who signs its certificates, and with which keys it signs JWTs."""

    authorities: tuple[x509.Certificate, ...]
    keys: KeySet
    sequence: int
    refresh: timedelta


def trust_domain(text: str, *, place: str) -> str:
    """``text``, if it can name a trust domain.

    Raises:
        InputError: it cannot.
    """
    if len(text) > MAX_TRUST_DOMAIN or _DOMAIN.fullmatch(text) is None:
        raise InputError(
            f"not the name of a trust domain: {text[:64]!a}", place=place,
            todo="give it without spiffe://, in lower case, such as prod.example",
        )  # fmt: skip
    return text


def spiffe_id(text: str, *, place: str = "spiffe_id") -> SpiffeId:
    """A SPIFFE ID in its one spelling: nothing is decoded, lowered or resolved.

    Raises:
        InputError: not one.
    """
    if not text.startswith(SCHEME) or len(text) > MAX_ID:
        raise InputError(f"must begin with {SCHEME} and have at most {MAX_ID} characters", place=place)
    domain, slash, path = text.removeprefix(SCHEME).partition("/")
    segments = path.split("/") if slash else []
    if any(_SEGMENT.fullmatch(one) is None or one in {".", ".."} for one in segments):
        raise InputError("a path has segments of letters, digits and . _ -, and none is empty or dots", place=place)
    return SpiffeId(trust_domain(domain, place=place), path)


def claims_spiffe(certificate: x509.Certificate) -> bool:
    """Whether a certificate names a workload, well or badly: then it is an SVID, or nothing."""
    return any(uri.lower().startswith("spiffe:") for uri in names_of(certificate).get_values_for_type(_URI))


def svid(leaf: x509.Certificate) -> SpiffeId:
    """The name in an X.509-SVID whose path has been verified, or will be.

    Raises:
        CertificateError: not an SVID: another number of URIs than one, no workload's name, or a key for other uses.
    """
    uris = names_of(leaf).get_values_for_type(_URI)
    if len(uris) != 1:
        raise CertificateError("an SVID has exactly one URI", place="certificate: alternative names")
    try:
        name = spiffe_id(uris[0], place="certificate: alternative names")
    except InputError as error:
        raise CertificateError(error.message, place=error.place) from error
    if not name.path:
        raise CertificateError("the name of a trust domain is no workload's", place="certificate: alternative names")
    try:
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    except x509.ExtensionNotFound as error:
        raise CertificateError("an SVID says what its key is for (key usage)", place="certificate") from error
    if not usage.critical or usage.value.key_cert_sign or usage.value.crl_sign or not usage.value.digital_signature:
        raise CertificateError("an SVID's key usage is critical, and for signatures alone", place="certificate")
    return name


def read_spiffe_bundle(document: bytes, domain: str, *, place: str) -> SpiffeBundle:
    """The bundle of trust domain ``domain`` in a JWK set. Keys for uses that are not known are left out.

    Raises:
        InputError: not a bundle, or one that speaks for another trust domain.
    """
    try:
        members = read_object(document, "bundle")
    except JoseError as error:
        raise InputError(error.message, place=place) from error
    keys = members.get("keys")
    if not isinstance(keys, list) or len(keys) > MAX_KEYS or not all(isinstance(one, dict) for one in keys):
        raise InputError(f"must be a JWK set of at most {MAX_KEYS} keys", place=f"{place}: keys")
    chains = [_x5c(one, place) for one in keys if one.get("use") == "x509-svid"]
    authorities = read_authorities(chains, place=place) if chains else ()
    for one in authorities:
        _require_of(one, domain, place)
    signing = KeySet(_jwt_keys([one for one in keys if one.get("use") == "jwt-svid"]))
    if not authorities and not len(signing):
        raise InputError("has no key of use x509-svid or jwt-svid, so it vouches for nobody", place=f"{place}: keys")
    return SpiffeBundle(
        authorities,
        signing,
        _whole(members.get("spiffe_sequence", 0), f"{place}: spiffe_sequence"),
        _refresh(_whole(members.get("spiffe_refresh_hint", 0), f"{place}: spiffe_refresh_hint")),
    )


_URI: Final = x509.UniformResourceIdentifier


def _x5c(jwk: dict[str, Any], place: str) -> bytes:
    chain = jwk.get("x5c")
    if not isinstance(chain, list) or len(chain) != 1 or not isinstance(chain[0], str):
        raise InputError("an x509-svid key has exactly one certificate", place=f"{place}: x5c")
    try:
        return base64.b64decode(chain[0], validate=True)
    except binascii.Error as error:
        raise InputError("not base64", place=f"{place}: x5c") from error


def _require_of(authority: x509.Certificate, domain: str, place: str) -> None:
    """An authority may carry the trust domain's own name; another's is somebody else's authority."""
    try:
        uris = names_of(authority).get_values_for_type(_URI)
    except CertificateError:
        return
    if any(spiffe_id(uri, place=place).trust_domain != domain for uri in uris):
        raise InputError(f"has an authority that is not of {domain}", place=place)


def _jwt_keys(jwks: list[dict[str, Any]]) -> list[VerificationKey]:
    found = []
    for jwk in jwks:
        try:
            key = read_published_key({name: value for name, value in jwk.items() if name != "use"})
        except JoseError:
            continue
        if key.kid is not None:
            found.append(key)
    return found


def _whole(value: object, place: str) -> int:
    if type(value) is not int or value < 0:
        raise InputError("must be a whole number", place=place)
    return value


def _refresh(seconds: int) -> timedelta:
    if not seconds:
        return DEFAULT_REFRESH
    return min(max(timedelta(seconds=min(seconds, 10**6)), LEAST_REFRESH), MOST_REFRESH)
