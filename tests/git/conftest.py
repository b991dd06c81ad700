import getpass
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from everproof.authorize import Authorizer
from everproof.identity.credentials import Credentials
from everproof.identity.directory import Directory
from everproof.identity.proofs import Proofs
from everproof.identity.records import Credential, Reason
from everproof.identity.roster import add_principal, add_ssh_key, revoke_key
from everproof.identity.ssh_keys import read_line
from everproof.kernel.ids import new_id
from everproof.kernel.settings import GitDoor as Settings
from everproof.kernel.words import Action, Fact, Mode, Principal, Proof, Ref, Resource
from everproof.keys import Keyring, SigningKeys, open_root_key
from everproof.ledger import Ledger
from everproof.policy import Engine, load_bundle
from everproof.server.git import GitDoor, routes
from everproof.server.http.application import Application
from everproof.server.listener import Listener
from everproof.storage import Storage
from tests.git.lab import Lab, Person, public_line

POLICIES = Path(__file__).with_name("policies.cedar")


class AheadClock:
    """The machine's clock, or ahead of it."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class Listening(Authorizer):
    """The authorizer, and what it was asked."""

    asked: list[tuple[str, str, dict[str, Any]]]

    async def authorize(
        self, proof: Proof, action: Action, resource: Resource, *, facts: Iterable[Fact] = (), **more: Any
    ) -> Any:
        given = tuple(facts)
        self.asked.append((action.name, resource.ref.id, {fact.name: fact.value for fact in given}))
        return await super().authorize(proof, action, resource, facts=given, **more)


class Running(Lab):
    """A lab whose server answers."""

    def __init__(self, folder: Path, storage: Storage, clock: AheadClock) -> None:
        super().__init__(folder)
        self.storage = storage
        self.clock = clock
        self.directory = Directory(storage)
        self.credentials = Credentials(storage, issuer="https://git.test")
        keyring = Keyring(storage, open_root_key("", folder))
        self.ledger = Ledger(storage, keyring, SigningKeys(storage, keyring).current("Ed25519"), origin="git.test/main")
        self.authorizer = Listening(
            storage,
            self.ledger,
            Engine(load_bundle({"policies/git.cedar": POLICIES.read_bytes()}, commit="")),
            is_live=self.credentials.is_live,
            known=self.directory.principal,
        )
        self.authorizer.asked = []
        self.listener: Listener | None = None

    async def enrol(self, person: Person, **window: Any) -> Person:
        """Put someone's key on record, and someone in the team unless called so."""
        await self.enrol_key(person, public_line(person.key), **window)
        return person

    async def enrol_key(self, person: Person, line: str, **window: Any) -> None:
        ref = Ref("User", person.name)
        if self.directory.principal(ref) is None:
            groups = () if person.name == "other" else ("team",)
            await self.storage.write(lambda tx: add_principal(tx, ref, emails=[person.email], groups=groups))
        await self.storage.write(lambda tx: add_ssh_key(tx, ref, line, **window))

    async def revoke(self, person: Person, reason: Reason) -> None:
        name = read_line(public_line(person.key)).fingerprint
        await self.storage.write(lambda tx: revoke_key(tx, name, reason))

    async def job(self, person: Person, repository: str) -> Person:
        """Let the person's key be the one that a live token of a job of ``repository`` is bound to."""
        principal = Principal(ref=Ref("Job", person.name), attributes={"repository": repository})
        now = self.storage.clock.now()
        token = Credential(
            id=new_id("cred"),
            parent=None,
            kind="ci-token",
            principal=principal.ref,
            key=read_line(public_line(person.key)).thumbprint,
            issued=now,
            expires=now + timedelta(minutes=10),
            proven=principal,
        )
        await self.storage.write(lambda tx: self.credentials.issue(tx, token))
        return person

    async def serve(self, mode: Mode = "enforce") -> None:
        settings = Settings(root=self.root, user=getpass.getuser())
        proofs = Proofs(self.directory, self.credentials)
        identity: Any = SimpleNamespace(directory=self.directory, proofs=proofs)
        door = GitDoor(settings, storage=self.storage, authorizer=self.authorizer, identity=identity, mode=lambda: mode)
        self.listener = Listener(Application(routes(door), title="test", version="0"))
        await self.listener.listen_unix(self.socket)

    async def stop(self) -> None:
        if self.listener is not None:
            await self.listener.stop()


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Running]:
    clock = AheadClock()
    storage = Storage.open(f"sqlite:///{tmp_path / 'everproof.db'}", clock=clock)
    lab = Running(tmp_path, storage, clock)
    await storage.start()
    await lab.serve()
    yield lab
    await lab.stop()
    await storage.stop()
