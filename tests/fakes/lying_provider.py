"""A provider that speaks OpenID Connect and says what a test wants said: what a certified one never would.

It signs with a good key of its own. Its authorization endpoint is not asked: a test takes the address that a browser is
sent to, and comes back with whatever it likes.
"""

import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from everproof.kernel.canonical import b64url
from everproof.keys import public_jwk
from tests.issuer import _tls

Said = tuple[int, dict[str, str], bytes]
Token = Callable[[dict[str, Any]], str]


class LyingProvider:
    """The provider. The attributes are what it says; `reset` has it say the truth."""

    def __init__(self, folder: Path) -> None:
        self.ca_file = folder / "liar-ca.pem"
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.socket = _tls(folder, self.ca_file).wrap_socket(self._server.socket, server_side=True)
        self.issuer = f"https://127.0.0.1:{self._server.server_port}"
        self.reset()

    def reset(self) -> None:
        """Say the truth from now on, and forget what was heard."""
        self.document: dict[str, Any] = {}
        self.claims: dict[str, Any] = {}
        self.header: dict[str, Any] = {}
        self.told: dict[str, Any] = {}
        self.make: Token = self.token
        self.answer: Callable[[dict[str, str]], Said] = self._token_answer
        self.heard: list[tuple[str, dict[str, str]]] = []
        self.nonce = ""
        self.person = f"c{secrets.token_hex(6)}"

    def token(self, claims: dict[str, Any]) -> str:
        """A token with these claims, signed by the provider."""
        return self.signed(claims, self.key)

    def signed(self, claims: dict[str, Any], key: rsa.RSAPrivateKey, **header: Any) -> str:
        """A token signed by ``key``; what is None is left out."""
        full = {"alg": "RS256", "kid": "liar", **self.header, **header}
        head, body = (
            b64url(json.dumps({name: one for name, one in part.items() if one is not None}).encode())
            for part in (full, claims)
        )
        signature = key.sign(f"{head}.{body}".encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{head}.{body}.{b64url(signature)}"

    def said(self) -> dict[str, Any]:
        """The claims of an ID token, with what the test has changed."""
        now = int(time.time())
        half = hashlib.sha256(b"an-access-token").digest()[:16]
        return {
            "iss": self.issuer, "aud": "everproof", "sub": f"sub-{self.person}", "sid": f"sid-{self.person}",
            "iat": now, "exp": now + 300, "auth_time": now, "acr": "urn:example:mfa", "amr": ["mfa"],
            "nonce": self.nonce, "at_hash": b64url(half), "preferred_username": self.person, "name": "Carol",
            "email": f"{self.person}@example.com", "email_verified": True,
            "groups": ["Engineering"], **self.claims,
        }  # fmt: skip

    def logout_token(
        self, *, key: rsa.RSAPrivateKey | None = None, typ: str | None = "logout+jwt", **changes: Any
    ) -> str:
        """A logout token; claims that are None are left out."""
        now = int(time.time())
        claims = {
            "iss": self.issuer, "aud": "everproof", "iat": now, "exp": now + 120, "jti": f"jti-{time.time_ns()}",
            "sub": f"sub-{self.person}", "sid": f"sid-{self.person}",
            "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
            **changes,
        }  # fmt: skip
        return self.signed({name: one for name, one in claims.items() if one is not None}, key or self.key, typ=typ)

    def _token_answer(self, _form: dict[str, str]) -> Said:
        claims = {name: one for name, one in self.said().items() if one is not None}
        said = {"access_token": "an-access-token", "token_type": "Bearer", "id_token": self.make(claims)}
        return 200, {"content-type": "application/json"}, json.dumps(said).encode()

    def _answer(self, method: str, path: str, form: dict[str, str]) -> Said:
        self.heard.append((path, form))
        media = {"content-type": "application/json"}
        if path.endswith("/.well-known/openid-configuration"):  # also as that of a tenant
            document = {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "userinfo_endpoint": f"{self.issuer}/userinfo",
                "jwks_uri": f"{self.issuer}/jwks",
                "response_types_supported": ["code"],
                "token_endpoint_auth_methods_supported": ["client_secret_post"],
                **self.document,
            }
            return 200, media, json.dumps(document).encode()
        if path == "/jwks":
            jwk = {**public_jwk(self.key.public_key()), "kid": "liar", "alg": "RS256", "use": "sig"}
            return 200, media, json.dumps({"keys": [jwk]}).encode()
        if (method, path) == ("POST", "/token"):
            return self.answer(form)
        if path == "/userinfo":
            return 200, media, json.dumps({"sub": f"sub-{self.person}"} | self.told).encode()
        return 404, {}, b""

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        liar = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._say("GET", {})

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers.get("content-length") or 0))
                self._say("POST", dict(parse_qsl(content.decode())))

            def _say(self, method: str, form: dict[str, str]) -> None:
                status, headers, body = liar._answer(method, self.path.partition("?")[0], form)
                self.send_response(status)
                for name, value in {"content-length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                try:
                    self.wfile.write(body)
                except OSError:  # whoever asked has heard enough
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                pass

        return Handler

    def serve(self) -> None:
        """Answer until stopped."""
        self._server.serve_forever(poll_interval=0.02)

    def stop(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def lying(folder: Path) -> Iterator[LyingProvider]:
    """The provider, answering while the block runs."""
    provider = LyingProvider(folder)
    thread = threading.Thread(target=provider.serve, name="lying provider", daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        provider.stop()
        thread.join(10)
