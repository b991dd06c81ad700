"""A real OpenID Connect issuer over HTTPS on this machine, with a CA of its own, that can also misbehave."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from everproof.kernel.canonical import b64url
from everproof.keys import public_jwk

PATH = "/_services/token"
"""Where GitHub Enterprise Server has its issuer: on a host of one's own, this is the one form that is GitHub's."""


class Issuer:
    """Signs tokens with RS256 and publishes the keys. The switches below make it misbehave."""

    def __init__(self, folder: Path, *, path: str = PATH) -> None:
        self.ca_file = folder / "ca.pem"
        self.fetches: list[str] = []
        self.failing = False
        self.discovery: dict[str, Any] = {}
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        """What to answer at a path instead: status, headers, body."""
        self.keys: dict[str, rsa.RSAPrivateKey] = {}
        self.current = ""
        self._path = path
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.socket = _tls(folder, self.ca_file).wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_port}{path}"
        self.rotate("key-1")

    def rotate(self, kid: str, *, keep: bool = True) -> None:
        """Sign with a new key from now on."""
        if not keep:
            self.keys.clear()
        self.keys[kid] = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.current = kid

    def mint(self, claims: dict[str, Any], *, header: dict[str, Any] | None = None) -> str:
        """A token signed with the current key; claims and header members that are None are left out."""
        full = {"alg": "RS256", "typ": "JWT", "kid": self.current, **(header or {})}
        parts = [
            b64url(json.dumps({name: value for name, value in part.items() if value is not None}).encode())
            for part in (full, {"iss": self.url, **claims})
        ]
        signed = ".".join(parts)
        signature = self.keys[self.current].sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{b64url(signature)}"

    def serve(self) -> None:
        """Answer until stopped."""
        self._server.serve_forever(poll_interval=0.02)

    def stop(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for ``path``."""
        self.fetches.append(path)
        if self.failing:
            return 503, {}, b"down"
        if path in self.answers:
            return self.answers[path]
        if path == f"{self._path}/.well-known/openid-configuration":
            document = {"issuer": self.url, "jwks_uri": f"{self.url}/jwks", **self.discovery}
            return 200, {}, json.dumps(document).encode()
        if path == f"{self._path}/jwks":
            keys = [
                {**public_jwk(key.public_key()), "kid": kid, "alg": "RS256", "use": "sig"}
                for kid, key in self.keys.items()
            ]
            return 200, {}, json.dumps({"keys": keys}).encode()
        return 404, {}, b""

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, headers, body = issuer.answer(self.path)
                self.send_response(status)
                for name, value in {"content-length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                pass

        return Handler


@contextmanager
def running(folder: Path, *, path: str = PATH) -> Iterator[Issuer]:
    """An issuer that answers while the block runs; its certificates are kept in ``folder``."""
    issuer = Issuer(folder, path=path)
    thread = threading.Thread(target=issuer.serve, name="issuer", daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        issuer.stop()
        thread.join(10)


def github_claims(now: datetime, *, audience: str, **changes: Any) -> dict[str, Any]:
    """What a job of ``acme/shop`` on its protected main branch says, with ``changes``."""
    seconds = int(now.timestamp())
    return {
        "jti": "3f1c2b0e-7d0a-4f0e-9a51-5b6f0f6a9d10",
        "sub": "repo:acme/shop:ref:refs/heads/main",
        "aud": audience,
        "iat": seconds - 5,
        "nbf": seconds - 5,
        "exp": seconds + 300,
        "actor": "alice",
        "actor_id": "501",
        "base_ref": "",
        "event_name": "push",
        "head_ref": "",
        "job_workflow_ref": "acme/shop/.github/workflows/build.yml@refs/heads/main",
        "job_workflow_sha": "4f1c" * 10,
        "ref": "refs/heads/main",
        "ref_protected": "true",
        "ref_type": "branch",
        "repository": "acme/shop",
        "repository_id": "74",
        "repository_owner": "acme",
        "repository_owner_id": "65",
        "repository_visibility": "private",
        "run_attempt": "1",
        "run_id": "9001",
        "run_number": "12",
        "runner_environment": "github-hosted",
        "sha": "4f1c" * 10,
        "workflow": "build",
        "workflow_ref": "acme/shop/.github/workflows/build.yml@refs/heads/main",
        "workflow_sha": "4f1c" * 10,
        **changes,
    }


def _tls(folder: Path, ca_file: Path) -> ssl.SSLContext:
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"issuer CA of {folder.name}")])
    ca = (
        _builder(ca_name, ca_name, ca_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("localhost")])
    leaf = _builder(name, ca_name, key).add_extension(names, critical=False).sign(ca_key, hashes.SHA256())
    ca_file.write_bytes(ca.public_bytes(Encoding.PEM))
    own = folder / "issuer.pem"
    own.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + leaf.public_bytes(Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own)
    return context


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )
