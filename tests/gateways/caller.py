"""A caller of a service behind a gateway: a key, a token, a proof for each request, sent byte for byte as told."""

import base64
import hashlib
import json
import secrets
import socket
import ssl
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode

from joserfc import jwt
from joserfc.jwk import ECKey

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


ANYBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
ANYBODY.check_hostname, ANYBODY.verify_mode = False, ssl.CERT_NONE


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Caller:
    """``name`` is a service on record with this key; ``everproof`` is its address, on ``port`` of this machine."""

    def __init__(self, name: str, everproof: str, port: int, trust: ssl.SSLContext) -> None:
        self.name, self.everproof, self.port, self.trust = name, everproof, port, trust
        self.key = ECKey.generate_key("P-256")
        self.jwk: dict[str, str] = self.key.as_dict(private=False)  # type: ignore[assignment]
        self.nonce = self.token = ""

    def log_in(self) -> Self:
        """Get a token, bound to the key."""
        now = int(time.time())
        claims = {"iss": self.name, "sub": self.name, "aud": self.everproof, "iat": now, "exp": now + 60}
        url = f"{self.everproof}/oauth/token"
        answer = Answer(0, {}, b"")
        for _ in range(2):  # the first one brings the nonce
            signed = jwt.encode({"alg": "ES256"}, {**claims, "jti": secrets.token_hex(8)}, self.key)
            form = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE}
            body = urlencode(form | {"client_assertion": signed}).encode()
            headers = {"content-type": "application/x-www-form-urlencoded", "dpop": self.proof("POST", url, "")}
            answer = send(self.port, "POST", "/oauth/token", "localhost", headers, body, self.trust)
            self.nonce = answer.headers.get("dpop-nonce", self.nonce)
        assert answer.status == 200, answer
        self.token = answer.json["access_token"]
        return self

    def proof(self, method: str, url: str, token: str) -> str:
        """A DPoP proof (RFC 9449) for one request."""
        digest = base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode()
        claims = {"jti": secrets.token_hex(8), "htm": method, "htu": url, "iat": int(time.time()), "nonce": self.nonce}
        header = {"alg": "ES256", "typ": "dpop+jwt", "jwk": self.jwk}
        return jwt.encode(header, claims | ({"ath": digest} if token else {}), self.key)

    def ask(  # noqa: PLR0917 - as `send`
        self,
        port: int,
        method: str,
        target: str,
        host: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """Ask the service called ``host`` through the gateway on ``port``."""
        url = f"https://{host}{target.partition('?')[0]}"
        shown = {"authorization": f"DPoP {self.token}", "dpop": self.proof(method, url, self.token)}
        return send(port, method, target, host, {**shown, **(headers or {})}, body)


def send(  # noqa: PLR0917 - in the order in which they stand in a request
    port: int,
    method: str,
    target: str,
    host: str,
    headers: Mapping[str, str],
    body: bytes = b"",
    trust: ssl.SSLContext | None = None,
) -> Answer:
    """Send one request on a connection of its own, and read the answer to its end."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()] + (
        [f"Content-Length: {len(body)}"] if body else []
    )
    text = "\r\n".join([*lines, "", ""]).encode("latin-1") + body
    with socket.create_connection(("127.0.0.1", port), 10) as plain:
        try:
            with (trust or ANYBODY).wrap_socket(
                plain, server_hostname=host.partition(":")[0] or "wiki.example"
            ) as connection:
                connection.sendall(text)
                return _read(connection)
        except (ConnectionError, ssl.SSLError):
            return Answer(0, {}, b"")


def _read(connection: ssl.SSLSocket) -> Answer:
    data = b""
    while True:
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = headers.get("content-length", "")
        chunk = b"" if length and len(body) >= int(length) else connection.recv(65536)
        if not chunk:
            break
        data += chunk
    if headers.get("transfer-encoding") == "chunked":
        body = _joined(body)
    return Answer(int(first.split()[1]) if " " in first else 0, headers, body)


def _joined(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        whole, body = whole + body[:length], body[length + 2 :]
    return whole
