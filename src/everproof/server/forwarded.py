"""The certificate that a client showed to a proxy, as the proxy tells it: Envoy's X-Forwarded-Client-Cert, nginx's PEM.

Anyone can write such a header. It counts only from a proxy that has proven who it is and that the settings name; from
anyone else it is an attempt to be somebody, and refused as that. What counts of it is the certificate itself, which is
judged here like one that was shown to us: all that the proxy vouches for is that its client had the key.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec

from everproof.identity.x509 import names_of, read_certificate, read_pem
from everproof.kernel.errors import InputError, RefusedError, TooLargeError

ENVOY: Final = b"x-forwarded-client-cert"
NGINX: Final = b"ssl-client-cert"
HEADERS: Final = frozenset({ENVOY, NGINX})

MAX_HEADER: Final = 48 * 1024
"""Bytes: a chain of five certificates, each byte of it encoded, is 30 kB."""
MAX_ELEMENTS: Final = 4
"""Proxies that a request comes through, one behind the other."""
MAX_PAIRS: Final = 64

_KEYS: Final = frozenset({"by", "hash", "cert", "chain", "subject", "uri", "dns"})
_SEPARATORS: Final = frozenset(',;="')


class ForgedError(RefusedError):
    """Somebody who is no proxy says which certificate it came with."""

    code = "forwarded-certificate"

    def __init__(self, header: bytes, who: str) -> None:
        super().__init__(
            f"{who} may not say with which certificate a client came", place=f"header {header.decode()}",
            todo="leave the header out; a proxy that ends TLS proves itself with a certificate or token of its own, and is named in tls.proxies",  # noqa: E501
        )  # fmt: skip


class Element(msgspec.Struct, frozen=True):
    """What one proxy says of its client. ``cert`` is PEM, as it stood in the header, still encoded."""

    cert: str = ""
    hash: str = ""
    uris: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    def chain(self) -> tuple[bytes, ...]:
        """The certificates in DER, leaf first; what else the proxy says must agree with them.

        Raises:
            InputError: there is none, or it is not the one that the element speaks of.
        """
        if not self.cert:
            raise InputError(
                "the proxy does not pass the certificate itself on", place=f"header {ENVOY.decode()}",
                todo="set set_current_client_cert_details: {chain: true, uri: true} in Envoy",
            )  # fmt: skip
        chain = read_pem(unquote_to_bytes(self.cert), place=f"header {ENVOY.decode()}")
        names = names_of(read_certificate(chain[0]))
        known = {str(one.value) for one in names if isinstance(one.value, str)}
        agrees = self.hash in {"", hashlib.sha256(chain[0]).hexdigest()}
        if not agrees or not known.issuperset(self.uris) or not known.issuperset(self.names):
            raise InputError(
                "hash or names are not those of the certificate beside them", place=f"header {ENVOY.decode()}"
            )
        return chain


def read_forwarded(found: Mapping[bytes, bytes]) -> list[Element]:
    """What the headers among ``found`` say: an element of each proxy, the nearest last.

    Raises:
        InputError: two headers that could say different things, or one that cannot be read.
    """
    if ENVOY in found and NGINX in found:
        raise InputError("two proxies' headers say who the client is", place=f"header {NGINX.decode()}")
    header = ENVOY if ENVOY in found else NGINX
    value = found[header]
    if len(value) > MAX_HEADER:
        raise TooLargeError(f"longer than {MAX_HEADER} bytes", place=f"header {header.decode()}")
    try:
        text = value.decode("ascii")
    except UnicodeDecodeError as error:
        raise InputError("not ASCII", place=f"header {header.decode()}") from error
    return read_xfcc(text) if header is ENVOY else [Element(cert=text)]


def nearest(elements: list[Element], is_proxy: Callable[[tuple[bytes, ...]], bool]) -> tuple[bytes, ...]:
    """The chain of the client, in elements from right to left: past each proxy that is one, to the first that is not.

    Raises:
        InputError: something stands left of the client: it can only be what the client itself has sent.
    """
    first, *others = elements
    for element in reversed(others):
        if not is_proxy(element.chain()):
            raise InputError(
                "somebody who is no proxy says who its client is", place=f"header {ENVOY.decode()}",
                todo="let the outermost proxy replace the header (Envoy: SANITIZE_SET)",
            )  # fmt: skip
    return first.chain()


def read_xfcc(text: str) -> list[Element]:
    """The elements of X-Forwarded-Client-Cert: separated by commas, of pairs separated by semicolons.

    A value with a separator in it stands between double quotes, in which a backslash precedes a quote.

    Raises:
        InputError: not of this form, an unknown key, or one twice that can only be there once.
    """
    elements: list[Element] = []
    pairs: list[tuple[str, str]] = []
    at = 0
    while True:
        at, key = _until(text, at, "=")
        at, value = _value(text, at)
        pairs.append((key.strip().lower(), value))
        if len(pairs) > MAX_PAIRS:
            raise _malformed("too many pairs", at)
        if at == len(text) or text[at] == ",":
            elements.append(_element(pairs, at))
            pairs = []
        if at == len(text):
            break
        at += 1
    if len(elements) > MAX_ELEMENTS:
        raise _malformed(f"more than {MAX_ELEMENTS} elements", at)
    return elements


def _element(pairs: list[tuple[str, str]], at: int) -> Element:
    found: dict[str, list[str]] = {}
    for key, value in pairs:
        if key not in _KEYS:
            raise _malformed(f"an unknown key {key[:20]!a}", at)
        found.setdefault(key, []).append(value)
    if any(len(values) > 1 for key, values in found.items() if key not in {"uri", "dns", "by"}):
        raise _malformed("a key twice", at)
    return Element(
        cert=(found.get("chain") or found.get("cert") or [""])[0],
        hash=found.get("hash", [""])[0].lower(),
        uris=tuple(one for one in found.get("uri", ()) if one),
        names=tuple(one for one in found.get("dns", ()) if one),
    )


def _until(text: str, at: int, end: str) -> tuple[int, str]:
    found = text.find(end, at)
    if found < 0 or not _SEPARATORS.isdisjoint(text[at:found]):
        raise _malformed("no pair of key and value", at)
    return found + 1, text[at:found]


def _value(text: str, at: int) -> tuple[int, str]:
    """The value that begins at ``at``, and where it ends: at a separator or the end."""
    if text[at : at + 1] != '"':
        end = at
        while end < len(text) and text[end] not in _SEPARATORS:
            end += 1
        if end < len(text) and text[end] in '="':
            raise _malformed("a value with a separator that is not quoted", end)
        return end, text[at:end]
    made: list[str] = []
    start = at = at + 1
    while (end := text.find('"', at)) >= 0:
        if text[end - 1] != "\\" or end == start:
            made.append(text[at:end])
            if end + 1 < len(text) and text[end + 1] not in ",;":
                raise _malformed("something behind a closing quote", end)
            return end + 1, "".join(made)
        made.append(text[at : end - 1] + '"')
        at = end + 1
    raise _malformed("a quote that is not closed", at)


def _malformed(what: str, at: int) -> InputError:
    return InputError(f"{what} at character {at + 1}", place=f"header {ENVOY.decode()}")
