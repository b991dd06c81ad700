"""A server as `everproof up` starts it, in a process of its own on one core, with people, services and 100 policies."""

import contextlib
import hashlib
import json
import os
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import httpx
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from benchmarks.decision import policies
from everproof.app import Everproof
from everproof.authorize.store import StoredBundle, save_bundle
from everproof.identity import roster
from everproof.kernel.canonical import b64url
from everproof.kernel.settings import Outbound, Settings
from everproof.kernel.words import Ref
from everproof.keys import public_jwk
from everproof.policy import load_bundle
from everproof.policy.starter import starter_files
from everproof.storage import Transaction

SERVER_CORE: Final = 1
LOAD_CORE: Final = 0
POLICIES: Final = 100
PEOPLE: Final = 500
START_SECONDS: Final = 20.0

OWN_POLICY: Final = """
@id("bench/developers")
permit(principal in Group::"developers", action == Action::"secret:read", resource is Secret in Space::"main");
@id("bench/operators")
permit(principal in Group::"operators", action == Action::"credential:revoke", resource is Credential);
"""


class Key:
    """A P-256 key, and what it signs."""

    def __init__(self, private: ec.EllipticCurvePrivateKey | None = None) -> None:
        self._key = private or ec.generate_private_key(ec.SECP256R1())
        self.jwk = public_jwk(self._key.public_key())
        self._header = _segment({"alg": "ES256", "typ": "dpop+jwt", "jwk": self.jwk})

    def sign(self, header: str, claims: dict[str, Any]) -> str:
        signed = f"{header}.{_segment(claims)}"
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{b64url(r.to_bytes(32) + s.to_bytes(32))}"

    def proof(self, method: str, url: str, nonce: str, token: str = "", **more: str | int) -> str:
        claims: dict[str, Any] = {"jti": secrets.token_urlsafe(9), "htm": method, "htu": url, "iat": int(time.time())}
        if token:
            claims["ath"] = b64url(hashlib.sha256(token.encode()).digest())
        return self.sign(self._header, {**claims, "nonce": nonce, **more})


class Site:
    """The running server, and what is needed to talk to it."""

    def __init__(self, folder: Path, settings: Settings, process: subprocess.Popen[bytes]) -> None:
        self.url = settings.issuer
        self.port = settings.port
        self.pid = process.pid
        self.context = ssl.create_default_context(cafile=str(settings.state / "ca.pem"))
        self._http = httpx.Client(verify=self.context, base_url=self.url, timeout=10, trust_env=False)
        self.folder = folder

    def nonce(self) -> str:
        """The nonce that proofs need now."""
        headers = {"dpop": Key().proof("POST", f"{self.url}/v1/login", "")}
        answer = self._http.post("/v1/login", json={"challenge": "", "signature": ""}, headers=headers)
        return str(answer.headers["dpop-nonce"])

    def token(self, key: Key, client: str, nonce: str) -> str:
        """A token for a service, by its signed assertion (RFC 7523)."""
        now = int(time.time())
        claims = {
            "iss": client,
            "sub": client,
            "aud": self.url,
            "iat": now,
            "exp": now + 60,
            "jti": secrets.token_hex(8),
        }
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": key.sign(_segment({"alg": "ES256", "typ": "JWT"}), claims),
            "expires_in": "3600",
        }
        headers = {"dpop": key.proof("POST", f"{self.url}/oauth/token", nonce)}
        answer = self._http.post("/oauth/token", data=form, headers=headers)
        assert answer.status_code == 200, answer.text
        token: str = answer.json()["access_token"]
        return token


@contextlib.contextmanager
def running(
    services: dict[str, tuple[Key, str]],
    *,
    trust: Callable[[str], bytes] | None = None,
    outbound: Outbound | None = None,
    seed: Callable[[Everproof, Transaction], None] | None = None,
) -> Iterator[Site]:
    """A server with these services (name: key and group), while the block runs; ``seed`` puts more on record before."""
    with tempfile.TemporaryDirectory(prefix="everproof-bench-") as text:
        folder = Path(text)
        settings = Settings(state=folder / "state", port=_free_port(), outbound=outbound or Outbound())
        _prepare(settings, services, trust(settings.issuer) if trust else b"", seed)
        command = [sys.executable, "-m", "everproof.cli.main", "up", "--state", str(settings.state)]
        if outbound is not None and outbound.ca_file is not None:
            (settings.state / "server.toml").write_text(
                f'[outbound]\nca_file = "{outbound.ca_file}"\nprivate_hosts = {json.dumps(outbound.private_hosts)}\n'
            )
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [*command, "--port", str(settings.port)],
                stdout=log,
                stderr=log,
                preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE % (os.cpu_count() or 1)}),  # noqa: PLW1509
            )
        before = os.sched_getaffinity(0)
        try:
            _wait(settings.port, process, folder / "log")
            os.sched_setaffinity(0, {LOAD_CORE})
            yield Site(folder, settings, process)
        finally:
            os.sched_setaffinity(0, before)
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _prepare(
    settings: Settings,
    services: dict[str, tuple[Key, str]],
    trust: bytes,
    seed: Callable[[Everproof, Transaction], None] | None,
) -> None:
    files = dict(starter_files())
    own = len(load_bundle(files).policies) + OWN_POLICY.count("@id")
    files["policies/bench.cedar"] = ("\n".join(policies(POLICIES - own - 1)) + OWN_POLICY).encode()
    if trust:
        files["trust/bench.toml"] = trust
    bundle = load_bundle(files)
    assert len(bundle.policies) == POLICIES
    app = Everproof(settings)

    def change(tx: Transaction) -> None:
        save_bundle(tx, StoredBundle(bundle.digest, "", files))
        for name, (key, group) in services.items():
            roster.register_client(tx, Ref("Service", name), [key.jwk], groups=(group,))
        for number in range(PEOPLE):
            roster.add_principal(tx, Ref("User", f"dev-{number}"), groups=("developers",))

    app.storage.write_now(change)
    if seed is not None:
        app.storage.write_now(lambda tx: seed(app, tx))
    app.storage.close()


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"the server did not start:\n{log.read_text()}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _segment(part: dict[str, Any]) -> str:
    return b64url(json.dumps(part, separators=(",", ":")).encode())


def form(**fields: str) -> bytes:
    """An encoded form."""
    return urlencode(fields).encode()
