"""HTTPS to the server with a DPoP proof for each request, from the standard library and one curve.

What a step does before and after its command is four requests; loading an HTTP library takes longer than all of them.
"""

import base64
import hashlib
import json
import os
import socket
import ssl
import time
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from everproof.kernel.errors import (
    BY_STATUS,
    Error,
    InputError,
    RefusedError,
    UnavailableError,
)

TIMEOUT_SECONDS: Final = 30
MAX_HEAD: Final = 64 * 1024
MAX_BODY: Final = 4 << 20
_SECP256R1: Final = ec.SECP256R1()
_ECDSA: Final = ec.ECDSA(hashes.SHA256())
_PKCS8: Final = bytes.fromhex("308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420")
_PUBLIC: Final = bytes.fromhex("a144034200")


def b64url(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _segment(value: dict[str, Any]) -> str:
    return b64url(json.dumps(value, separators=(",", ":")).encode())


class Key:
    """A P-256 key, fresh unless it is given."""

    def __init__(self, private: ec.EllipticCurvePrivateKey | None = None) -> None:
        self._private = private or ec.generate_private_key(_SECP256R1)
        numbers = self._private.private_numbers()
        public = numbers.public_numbers
        self._secret = numbers.private_value
        self._point = public.x.to_bytes(32) + public.y.to_bytes(32)
        jwk = {"kty": "EC", "crv": "P-256", "x": b64url(self._point[:32]), "y": b64url(self._point[32:])}
        self._header = _segment({"alg": "ES256", "typ": "dpop+jwt", "jwk": jwk})

    def __repr__(self) -> str:
        return "Key()"

    @property
    def pem(self) -> str:
        """The key itself, as PKCS #8 (RFC 5958 around RFC 5915): the loader for it need not be loaded."""
        der = _PKCS8 + self._secret.to_bytes(32) + _PUBLIC + b"\x04" + self._point
        text = base64.b64encode(der).decode()
        lines = [text[at : at + 64] for at in range(0, len(text), 64)]
        return "\n".join(("-----BEGIN PRIVATE KEY-----", *lines, "-----END PRIVATE KEY-----", ""))

    def proof(self, method: str, url: str, *, nonce: str = "", token: str = "") -> str:
        """A DPoP proof for one request (RFC 9449, section 4.2)."""
        claims: dict[str, Any] = {
            "jti": b64url(os.urandom(16)),
            "htm": method,
            "htu": url,
            "iat": int(time.time()),
        }
        if nonce:
            claims["nonce"] = nonce
        if token:
            claims["ath"] = b64url(hashlib.sha256(token.encode()).digest())
        signed = f"{self._header}.{_segment(claims)}"
        r, s = decode_dss_signature(self._private.sign(signed.encode(), _ECDSA))
        return f"{signed}.{b64url(r.to_bytes(32) + s.to_bytes(32))}"


class Wire:
    """One connection to the server, made when it is needed and made again when it was lost."""

    def __init__(self, server: str, ca: str, context: ssl.SSLContext | None = None) -> None:
        """``server`` is an https address, ``ca`` the PEM of its authority; empty: those that the system trusts."""
        self.server = server.rstrip("/")
        self.host, self.port = _address(self.server)
        self.context = context or _context(ca)
        self.nonce = ""
        self._socket: ssl.SSLSocket | None = None

    def again(self) -> "Wire":
        """Another connection to the same server."""
        other = Wire(self.server, "", self.context)
        other.nonce = self.nonce
        return other

    def request(
        self,
        method: str,
        path: str,
        key: Key,
        *,
        token: str = "",
        body: Any = None,
        form: str = "",
        key_proof: Key | None = None,
        seconds: float = TIMEOUT_SECONDS,
    ) -> dict[str, Any]:
        """The decoded answer. ``key_proof`` puts a proof by a second key into the body, under that name.

        Raises:
            Error: what the server answered, in its own words; UnavailableError where it cannot be reached.
        """
        for last in (False, True):
            url = self.server + path.partition("?")[0]
            head = [("dpop", key.proof(method, url, nonce=self.nonce, token=token))]
            if token:
                head.append(("authorization", f"DPoP {token}"))
            content = form.encode()
            if form:
                head.append(("content-type", "application/x-www-form-urlencoded"))
            elif body is not None:
                if key_proof is not None:
                    body = {**body, "key_proof": key_proof.proof(method, url, nonce=self.nonce, token=token)}
                content = json.dumps(body).encode()
                head.append(("content-type", "application/json"))
            status, headers, answer = self._exchange(method, path, head, content, seconds)
            fresh = headers.get("dpop-nonce", self.nonce)
            asked, self.nonce = fresh != self.nonce, fresh
            if status in {400, 401} and asked and not last:
                continue
            found = _decoded(answer)
            if status < 300:  # noqa: PLR2004 - a success
                return found
            raise _error(status, found)
        raise AssertionError("unreachable")  # pragma: no cover

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _exchange(
        self, method: str, path: str, head: list[tuple[str, str]], content: bytes, seconds: float
    ) -> tuple[int, dict[str, str], bytes]:
        host = self.server.removeprefix("https://")
        lines = [f"{method} {path} HTTP/1.1", f"host: {host}", "accept: application/json"]
        lines += [f"{name}: {value}" for name, value in head]
        if content or method == "POST":
            lines.append(f"content-length: {len(content)}")
        data = "\r\n".join((*lines, "", "")).encode() + content
        try:
            return self._send(data, seconds)
        except (OSError, EOFError, ValueError) as error:
            self.close()
            todo = "look whether it runs, and whether its certificate is of the authority that was given"
            raise UnavailableError(f"the server cannot be reached: {error}", place=self.server, todo=todo) from error

    def _send(self, data: bytes, seconds: float) -> tuple[int, dict[str, str], bytes]:
        kept = self._socket is not None
        try:
            connection = self._connect(seconds)
            connection.sendall(data)
            return self._answer(connection)
        except (ConnectionError, EOFError):
            self.close()
            if not kept:
                raise
            # A connection that was kept may have been closed meanwhile; a request that did arrive was refused or is
            # refused now, as its proof is good once.
            connection = self._connect(seconds)
            connection.sendall(data)
            return self._answer(connection)

    def _connect(self, seconds: float) -> ssl.SSLSocket:
        if self._socket is None:
            raw = socket.create_connection((self.host, self.port), timeout=seconds)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = self.context.wrap_socket(raw, server_hostname=self.host)
        self._socket.settimeout(seconds)
        return self._socket

    def _answer(self, connection: ssl.SSLSocket) -> tuple[int, dict[str, str], bytes]:
        data = b""
        while b"\r\n\r\n" not in data:
            data += _received(connection)
            if len(data) > MAX_HEAD:
                raise ValueError("an answer without an end to its head")
        first, _, rest = data.partition(b"\r\n\r\n")
        status, *lines = first.decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = _chunked(connection, rest) if "transfer-encoding" in headers else _sized(connection, rest, headers)
        if headers.get("connection", "").lower() == "close":
            self.close()
        return int(status.split(" ", 2)[1]), headers, body


def _received(connection: ssl.SSLSocket) -> bytes:
    data = connection.recv(65_536)
    if not data:
        raise EOFError("the connection was closed")
    return data


def _sized(connection: ssl.SSLSocket, data: bytes, headers: dict[str, str]) -> bytes:
    size = int(headers.get("content-length", "0"))
    if size > MAX_BODY:
        raise ValueError("an answer too large")
    while len(data) < size:
        data += _received(connection)
    return data[:size]


def _chunked(connection: ssl.SSLSocket, data: bytes) -> bytes:
    body = b""
    while len(body) <= MAX_BODY:
        while b"\r\n" not in data:
            data += _received(connection)
        line, _, data = data.partition(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        while len(data) < size + 2:
            data += _received(connection)
        if size == 0:
            return body
        body, data = body + data[:size], data[size + 2 :]
    raise ValueError("an answer too large")


def _context(ca: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not ca:
        context.load_default_certs()
        return context
    try:
        context.load_verify_locations(cadata=ca)
    except ssl.SSLError as error:
        raise InputError("not a certificate authority in PEM", place="--ca") from error
    return context


def _address(server: str) -> tuple[str, int]:
    scheme, _, rest = server.partition("://")
    host, _, port = rest.rpartition(":") if rest.rpartition(":")[2].isdigit() else (rest, "", "443")
    if scheme != "https" or not host or "/" in host or "@" in host:
        raise InputError("must be an https:// address without a path", place="--server")
    return host.strip("[]"), int(port)


def _decoded(answer: bytes) -> dict[str, Any]:
    try:
        found = json.loads(answer)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _error(status: int, problem: dict[str, Any]) -> Error:
    message = problem.get("detail") or problem.get("error_description") or problem.get("title") or problem.get("error")
    kind = BY_STATUS.get(status) or (UnavailableError if status >= 500 else InputError)  # noqa: PLR2004 - the server's fault
    if problem.get("error") in {"unauthorized_client", "invalid_request", "invalid_target"} and problem.get(
        "explanation"
    ):
        kind = RefusedError
    return kind(
        str(message or f"the server answered {status}"),
        place=problem.get("place") or None,
        todo=problem.get("todo") or None,
    )
