"""A whole application with people, an access.toml and policies of its own, and proofs as its doors would make them."""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from everproof.access import Access, RequestRecord, Wanted, access_rules
from everproof.authorize import Allowed, Authorizer, Denied
from everproof.authorize.bundles import Bundles, ruling
from everproof.authorize.store import StoredBundle, save_bundle
from everproof.identity import Identity, roster
from everproof.identity.outbound import Outbound
from everproof.identity.records import Credential
from everproof.kernel.ids import new_id
from everproof.kernel.words import MAIN_SPACE, Action, Fact, Proof, Ref, Resource
from everproof.keys import Keyring, SigningKeys, open_root_key
from everproof.ledger import Ledger
from everproof.policy import Bundle, Engine, load_bundle
from everproof.policy.starter import starter_files
from everproof.storage import Storage, Transaction
from everproof.work import Work
from everproof.work.notices import Notice
from tests.conftest import SettableClock

DEPLOY = Action("deployment:start")
SERVER = "https://everproof.example"
PRODUCTION = Ref("Environment", "production")

RULES = """\
on_call = ['Group::"on-call"']

[[rule]]
actions = ["deployment:*"]
resources = ['Environment::"production"']
people = 2
owners = ['Group::"release"']
longest = "2h"

[[rule]]
actions = ["host:login"]
resources = ['Host::"*"']
automatic = true

[[rule]]
actions = ["*"]
resources = ['Environment::"*"', 'Space::"main"', 'Repository::"*"', 'Secret::"*"']
requesters = ["developers"]
longest = "1d"
answer_within = "1h"
"""

FILE = "everproof.db"
PEOPLE = {
    "dev": ("developers",),
    "eve": ("developers",),
    "ada": ("administrators",),
    "grace": ("administrators",),
    "rob": ("release",),
    "ruth": ("release",),
    "oli": ("on-call", "developers"),
}


class Factors:
    """The factor that a proof of these tests says was shown so many seconds ago."""

    name = "test"
    says = frozenset({"mfa_age", "mfa_method"})

    def facts(self, proof: Proof, action: Action, resource: Resource, at: datetime) -> Iterable[Fact]:  # noqa: ARG002 - the protocol's own
        age = proof.claims.get("mfa_age")
        return (
            () if age is None else (Fact("mfa_age", age, at, self.name), Fact("mfa_method", "passkey", at, self.name))
        )


OURS = ("policies/access.cedar", "policies/administrators.cedar", "policies/administrators.links.toml")


def files(rules: str = RULES, **policies: str) -> dict[str, bytes]:
    """A bundle: what the starter says of access and of administrators, these rules and these policies."""
    starter = starter_files()
    own = {f"policies/{name}.cedar": text.encode() for name, text in policies.items()}
    return {**{path: starter[path] for path in OURS}, "access.toml": rules.encode(), **own}


_read: dict[str, Bundle] = {}


def read_once(content: Mapping[str, bytes], commit: str = "") -> Bundle:
    """`load_bundle`, of which these tests would else spend most of their time in reading the same again."""
    name = hashlib.sha256(repr(sorted(content.items())).encode()).hexdigest()
    if name not in _read:
        _read[name] = load_bundle(dict(content), commit=commit)
    return _read[name]


def _check(bundle: Bundle) -> None:
    access_rules(bundle)


class Rooms:
    """The rooms that access stands on, and access, put together as `everproof.app` does it."""

    def __init__(self, url: str, folder: Path, clock: SettableClock, told: list[Notice]) -> None:
        self.storage = storage = Storage.open(url, clock=clock)
        keyring = Keyring(storage, open_root_key("", folder))
        signing = SigningKeys(storage, keyring)
        self.ledger = Ledger(storage, keyring, signing.current("Ed25519"), origin="everproof.example")
        self.work = Work(storage, keyring, self.ledger)
        self.identity = Identity(storage, signing, Outbound(), issuer=SERVER, token_endpoint=f"{SERVER}/oauth/token")
        bundle = ruling(storage)
        credentials, directory = self.identity.credentials, self.identity.directory
        self.authorizer = Authorizer(
            storage, self.ledger, Engine(bundle), is_live=credentials.is_live, held=credentials.held,
            known=directory.principal,
        )  # fmt: skip
        self.authorizer.register(Factors())
        self.bundles = Bundles(storage, self.authorizer, bundle, check=_check)
        self.access = Access(
            storage, authorizer=self.authorizer, identity=self.identity, ledger=self.ledger, work=self.work,
            bundle=bundle, issuer=SERVER, tell=lambda _tx, notice: told.append(notice),
        )  # fmt: skip
        self.bundles.follow(self.access.follow)


def populate(tx: Transaction) -> None:
    """Let the bundle of these tests rule, over these people."""
    bundle = files()
    save_bundle(tx, StoredBundle(read_once(bundle).digest, "", bundle))
    for name, groups in PEOPLE.items():
        roster.add_principal(tx, Ref("User", name), groups=groups)


@cache
def _made_once() -> dict[str, bytes]:
    """The files of such a state: making its tables and keys takes longer than most of these tests."""
    with TemporaryDirectory() as name:
        rooms = Rooms(f"sqlite:///{name}/{FILE}", Path(name), SettableClock(), [])
        rooms.storage.write_now(populate)
        rooms.storage.close()
        return {one.name: one.read_bytes() for one in Path(name).iterdir() if one.is_file()}


class House:
    """One server's rooms over one database, opened again as after a restart."""

    def __init__(self, url: str, folder: Path, clock: SettableClock) -> None:
        self.url, self.folder, self.clock = url, folder, clock
        self.told: list[Notice] = []
        if url.startswith("sqlite"):
            for name, content in _made_once().items():
                (folder / name).write_bytes(content)
                (folder / name).chmod(0o600)
            self.app = self._opened()
        else:
            self.app = self._opened()
            self.app.storage.write_now(populate)
            self.app.storage.close()
            self.app = self._opened()
        self.access = self.app.access

    def _opened(self) -> Rooms:
        return Rooms(self.url, self.folder, self.clock, self.told)

    async def start(self) -> None:
        """Begin to decide and record; what a server does by itself besides is left out, so that it can be killed."""
        await self.app.storage.start()

    async def stop(self) -> None:
        await self.app.storage.stop()

    async def restart(self) -> None:
        """As after a kill: nothing was said to anyone before."""
        await self.stop()
        self.app = self._opened()
        self.access = self.app.access
        await self.start()

    async def rule(self, bundle: Mapping[str, bytes]) -> None:
        """Let another bundle rule."""
        stored = StoredBundle(read_once(bundle).digest, "", dict(bundle))
        await self.app.storage.write(lambda tx: save_bundle(tx, stored))

    def proof(self, name: str, *, mfa_age: int | None = 10, credential: str | None = None, **claims: Any) -> Proof:
        """Of somebody who is on record now, as a door makes it."""
        principal = self.app.identity.directory.principal(Ref("User", name))
        assert principal is not None
        said = claims if mfa_age is None else {**claims, "mfa_age": mfa_age}
        return Proof(kind="test", principal=principal, at=self.clock.now(), claims=said, credential=credential)

    async def session(self, name: str) -> Proof:
        """A proof by a credential that can be revoked."""
        ref = Ref("User", name)

        def issue(tx: Transaction) -> Credential:
            made = Credential(
                id=new_id("cred"), parent=None, kind="session", principal=ref, key=None, issued=tx.now,
                expires=tx.now + timedelta(hours=12),
            )  # fmt: skip
            return self.app.identity.credentials.issue(tx, made)

        issued = await self.app.storage.write(issue)
        return self.proof(name, credential=issued.id)

    async def request(
        self,
        who: str = "dev",
        action: str = "deployment:start",
        resource: Ref = PRODUCTION,
        seconds: int = 3600,
        reason: str = "release 1.2",
        **more: Any,
    ) -> RequestRecord:
        outcome = await self.try_request(who, action, resource, seconds, reason, **more)
        assert isinstance(outcome, Allowed), outcome
        return self.access.read(outcome.outcome.id)

    async def try_request(
        self,
        who: str = "dev",
        action: str = "deployment:start",
        resource: Ref = PRODUCTION,
        seconds: int = 3600,
        reason: str = "release 1.2",
        **more: Any,
    ) -> Allowed[Any, Any, Any] | Denied:
        wanted = Wanted(action=action, resource=resource, seconds=seconds, reason=reason, **more)
        return await self.access.requests.request(self.proof(who), wanted)

    async def approve(self, who: str | Proof, request: RequestRecord, **more: Any) -> RequestRecord:
        outcome = await self.try_approve(who, request, **more)
        assert isinstance(outcome, Allowed), outcome
        found: RequestRecord = outcome.outcome
        return found

    async def try_approve(
        self, who: str | Proof, request: RequestRecord, **more: Any
    ) -> Allowed[Any, Any, RequestRecord] | Denied:
        proof = self.proof(who) if isinstance(who, str) else who
        return await self.access.requests.approve(proof, request.id, **{"digest": request.digest, **more})

    async def may(
        self, who: str = "dev", action: Action = DEPLOY, resource: Ref = PRODUCTION, *, parents: tuple[Ref, ...] = ()
    ) -> bool:
        """Whether it is allowed, by a real decision."""
        about = Resource(ref=resource, parents=(*parents, MAIN_SPACE))
        return isinstance(await self.app.authorizer.authorize(self.proof(who), action, about), Allowed)
