"""The first contact with a server: whose certificate it is believed by, decided before anything is said to it."""

import hmac
import ssl
from pathlib import Path
from typing import Final

import httpx

from everproof.cli.links import fingerprint
from everproof.kernel.errors import InputError, UnauthenticatedError, UnavailableError

CA_PATH: Final = "/ca.pem"
SECONDS: Final = 15.0
MAX_CA: Final = 64 * 1024


def trusted_ca(server: str, *, file: Path | None = None, pinned: str = "") -> str:
    """The certificate authority to know ``server`` by, PEM; empty: those that this machine trusts anyway.

    ``file`` names it. ``pinned`` is its fingerprint: then the server itself is asked for it, and only a certificate of
    exactly this fingerprint is taken.

    Raises:
        InputError: the file is none.
        UnauthenticatedError: the server's certificate is nobody's that is trusted, or not the pinned one.
        UnavailableError: it cannot be reached.
    """
    if file is not None:
        try:
            pem = file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot be read: {error}", place=str(file)) from error
        _context(pem, place=str(file))
        return pem
    if pinned:
        return _pinned(server, pinned)
    try:
        with httpx.Client(trust_env=False, timeout=SECONDS) as client:
            client.get(f"{server}/healthz")
    except httpx.ConnectError as error:
        if "CERTIFICATE_VERIFY_FAILED" not in str(error):
            raise _unreachable(server, error) from error
        raise UnauthenticatedError(
            "this server's certificate is not of an authority that this machine trusts",
            place=server,
            todo="give its certificate authority with --ca: ca.pem in the server's state folder",
        ) from error
    except httpx.TransportError as error:
        raise _unreachable(server, error) from error
    return ""


def _pinned(server: str, wanted: str) -> str:
    try:
        # Whoever answers is believed nothing: what it sends counts only if it is the one certificate that was pinned,
        # and is then what the next connection is verified by.
        with httpx.Client(verify=False, trust_env=False, timeout=SECONDS) as client:  # noqa: S501 - see above
            answer = client.get(f"{server}{CA_PATH}")
    except httpx.TransportError as error:
        raise _unreachable(server, error) from error
    pem = answer.text if answer.is_success and len(answer.content) <= MAX_CA else ""
    try:
        found = fingerprint(pem)
    except InputError:
        found = ""
    if not hmac.compare_digest(found, wanted):
        raise UnauthenticatedError(
            "this is not the server that made the link: its certificate authority is another",
            place=server,
            todo="see who answers at this address; ask for a new link if the server was set up anew",
        )
    return pem


def _context(pem: str, *, place: str) -> None:
    try:
        ssl.create_default_context(cadata=pem)
    except ssl.SSLError as error:
        raise InputError("not a certificate in PEM", place=place) from error


def _unreachable(server: str, error: Exception) -> UnavailableError:
    return UnavailableError(f"the server cannot be reached: {error}", place=server, todo="start it with: everproof up")
