"""Everproof, a service, and whatever gateway a test wants between them."""

import os
import ssl
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from everproof.app import Everproof
from everproof.authorize.store import StoredBundle, save_bundle
from everproof.identity import roster
from everproof.identity.gateways import gateway_jwk, new_secret
from everproof.kernel.settings import Settings
from everproof.kernel.words import Ref
from everproof.policy import load_bundle
from everproof.policy.starter import starter_files
from everproof.storage import Transaction
from tests.gateways.caller import Caller
from tests.gateways.gateway import Gateways, Process, free_port, snippets
from tests.gateways.service import Service

SHOP = {
    "openapi": "3.1.0",
    "info": {"title": "Shop", "version": "1"},
    "paths": {
        "/orders": {"get": {"operationId": "listOrders", "tags": ["public"]}, "post": {"operationId": "placeOrder"}},
        "/orders/{id}": {"get": {"operationId": "getOrder", "tags": ["public"]}},
    },
}


class Site:
    """A server with callers on record, and a service; gateways are started on it."""

    def __init__(self, folder: Path, files: Mapping[str, bytes] | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self.settings = Settings(state=folder / "state", port=self.port)
        self.secret = new_secret()
        self.service = Service()
        self._stop: list[Callable[[], None]] = [self.service.stop]
        context = ssl.create_default_context()
        names = ("crawler", "root", "loner")
        self.callers = {name: Caller(f"service:{name}", self.settings.issuer, self.port, context) for name in names}
        self._prepare({**_bundle(), **(files or {})})
        command = [sys.executable, "-m", "everproof.cli.main", "up"]
        self.everproof = Process(
            [*command, "--state", str(self.settings.state), "--port", str(self.port)],
            folder / "everproof.log",
            {"PATH": os.environ["PATH"], "HOME": str(folder)},
        )
        self._stop.append(self.everproof.stop)
        try:
            self._open(context)
        except BaseException:
            self.stop()
            raise

    def _open(self, context: ssl.SSLContext) -> None:
        self.everproof.wait(self.port)
        context.load_verify_locations(str(self.settings.state / "ca.pem"))
        for caller in self.callers.values():
            caller.log_in()
        self.gateways = Gateways(
            self.folder,
            everproof=self.port,
            service=self.service.port,
            secret=self.secret,
            ca=self.settings.state / "ca.pem",
        )
        self._stop.append(self.gateways.stop)

    def stop(self) -> None:
        for stop in reversed(self._stop):
            stop()

    def gateway(self, name: str, *, change: Callable[[str], str] | None = None) -> int:
        """The port of a gateway before the service."""
        return self.gateways.port(name, change=change)

    def entries(self) -> list[dict[str, Any]]:
        """Everything that is recorded, each body with its entry's ``id``. The server must have stopped."""
        app = Everproof(self.settings)
        try:
            read = (app.ledger.read(index) for index in range(app.ledger.size))
            return [{**msgspec.json.decode(entry.body), "id": entry.id} for entry in read]
        finally:
            app.storage.close()

    def _prepare(self, files: dict[str, bytes]) -> None:
        app = Everproof(self.settings)

        def change(tx: Transaction) -> None:
            save_bundle(tx, StoredBundle(load_bundle(files).digest, "", files))
            roster.register_client(
                tx, Ref("Service", "edge"), [gateway_jwk(self.secret)], groups=("enforcement-points",)
            )
            for name, caller in self.callers.items():
                groups = {"crawler": ("readers", "customers"), "root": ("owners",)}.get(name, ())
                roster.register_client(tx, Ref("Service", name), [caller.jwk], groups=groups)

        app.storage.write_now(change)
        app.storage.close()


def _bundle() -> dict[str, bytes]:
    import json

    found = snippets()
    return {
        **starter_files(),
        "policies/services.cedar": found["policies/services.cedar"].encode(),
        "policies/tests.cedar": b"""
@id("tests/loner")
permit (principal == Service::"loner", action == Action::"api:call", resource is Route);
@id("tests/owners")
permit (principal in Group::"owners", action, resource);
""",
        "routes/wiki.toml": found["routes/wiki.toml"].encode(),
        "routes/shop.toml": found["routes/shop.toml"].encode(),
        "routes/shop.json": json.dumps(SHOP).encode(),
    }
