"""A real server in a process of its own, with two services on record: the shop, which enforces, and an operator."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from everproof.app import Everproof
from everproof.authorize.store import StoredBundle, save_bundle
from everproof.client import AsyncClient, Client, ClientKey
from everproof.client.keys import Key
from everproof.identity import roster
from everproof.kernel.settings import Settings
from everproof.kernel.words import Ref
from everproof.policy import load_bundle
from everproof.policy.starter import starter_files
from everproof.storage import Transaction
from tests.cli.server import Server
from tests.issuer import Issuer, running

POLICY = b"""
@id("orders/staff")
@title("Staff read orders")
@advice("ask for the group staff")
permit (principal in Group::"staff", action == Action::"api:call", resource is Route);
@id("tokens/orders")
permit (principal, action == Action::"token:exchange", resource == Audience::"https://orders.example");
@id("site/operators")
permit (
    principal in Group::"operators",
    action in [Action::"credential:revoke", Action::"identity:administer", Action::"identity:enrol"],
    resource
);
"""

TRUST = """
[issuer]
url = "{url}"
type = "github"
audience = "https://everproof.example"

[[binding]]
name = "shop"
id = "github/{{repository_id}}/{{job_workflow_ref}}"
groups = ["enforcement-points"]
claims.repository_owner_id = "65"
claims.repository_id = "74"
"""


def pem(private: ec.EllipticCurvePrivateKey) -> str:
    none = serialization.NoEncryption()
    return private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, none).decode()


class World:
    """The server, and who is on record at it."""

    def __init__(self, folder: Path, issuer: Issuer) -> None:
        self.folder = folder
        self.issuer = issuer
        self.keys = {name: pem(ec.generate_private_key(ec.SECP256R1())) for name in ("shop", "operator", "caller")}
        folder.mkdir()
        state = folder / "state"
        settings = Settings(state=state)
        app = Everproof(settings)
        files = starter_files() | {
            "policies/site.cedar": POLICY,
            "trust/ci.toml": TRUST.format(url=issuer.url).encode(),
        }

        def prepare(tx: Transaction) -> None:
            save_bundle(tx, StoredBundle(load_bundle(files).digest, "", files))
            for name, group in (("shop", "enforcement-points"), ("operator", "operators"), ("caller", "staff")):
                jwk = Key.load(self.keys[name]).jwk
                roster.register_client(tx, Ref("Service", name), [jwk], groups=(group,))
            roster.add_principal(tx, Ref("User", "alice"), groups=("staff",))
            roster.add_principal(tx, Ref("User", "bob"))

        app.storage.write_now(prepare)
        app.storage.close()
        self.server = Server(state, f'[outbound]\nca_file = "{issuer.ca_file}"\nprivate_hosts = ["127.0.0.1"]\n')

    @property
    def ca(self) -> Path:
        return self.folder / "state" / "ca.pem"

    def aclient(self, name: str = "shop", **options: object) -> AsyncClient:
        return AsyncClient(self.server.url, ClientKey(f"service:{name}", self.keys[name]), ca=self.ca, **options)  # type: ignore[arg-type]

    def client(self, name: str = "shop", **options: object) -> Client:
        return Client(self.server.url, ClientKey(f"service:{name}", self.keys[name]), ca=self.ca, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="everproof-") as folder, running(Path(folder)) as issuer:
        world = World(Path(folder) / "site", issuer)
        yield world
        world.server.stop()
