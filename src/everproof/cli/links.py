"""Enrolment links, such as ``https://host:8443/enrol#SECRET.CA``.

The secret is good once. ``CA``, where it is there, is the SHA-256 fingerprint of the server's own certificate
authority, by which the very first connection already knows the server. What stands behind the ``#`` is sent to nobody.
"""

import hashlib
import ssl
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from everproof.kernel.canonical import b64url
from everproof.kernel.errors import InputError

PATH: Final = "/enrol"


class Link(NamedTuple):
    """The parts of a link; ``ca`` is empty where the server's certificate is one that everyone trusts."""

    server: str
    secret: str
    ca: str

    def __repr__(self) -> str:
        return f"Link({self.server})"


def parse(text: str) -> Link:
    """The parts of a link.

    Raises:
        InputError: it is none. The link is not quoted: it is a secret.
    """
    parts = urlsplit(text.strip())
    secret, _, ca = parts.fragment.partition(".")
    if parts.scheme != "https" or not parts.netloc or parts.path != PATH or not secret:
        raise InputError(
            "not an enrolment link",
            place="--enrol",
            todo="give it whole and in quotes: 'https://…/enrol#…'",
        )
    return Link(f"https://{parts.netloc}", secret, ca)


def with_ca(link: str, ca: str) -> str:
    """``link`` with the fingerprint of the certificate authority ``ca`` (PEM), unless it has one or there is none."""
    return link if not ca or "." in urlsplit(link).fragment else f"{link}.{fingerprint(ca)}"


def fingerprint(pem: str) -> str:
    """SHA-256 of a certificate, base64url.

    Raises:
        InputError: it is none.
    """
    try:
        return b64url(hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.strip())).digest())
    except ValueError as error:
        raise InputError("not a certificate in PEM", place="CA") from error
