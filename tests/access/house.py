"""A whole application with people, an access.toml and policies of its own, and proofs as its doors would make them."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from everproof.access import RequestRecord, Wanted
from everproof.app import Everproof
from everproof.authorize import Allowed, Denied
from everproof.authorize.store import StoredBundle, save_bundle
from everproof.identity import roster
from everproof.identity.records import Credential
from everproof.kernel.ids import new_id
from everproof.kernel.settings import Settings
from everproof.kernel.words import MAIN_SPACE, Action, Fact, Proof, Ref, Resource
from everproof.policy import load_bundle
from everproof.policy.starter import starter_files
from everproof.storage import Transaction
from everproof.work.notices import Notice
from tests.conftest import SettableClock

DEPLOY = Action("deployment:start")
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


def files(rules: str = RULES, **policies: str) -> dict[str, bytes]:
    """A bundle: the starter's, these rules and these policies."""
    own = {f"policies/{name}.cedar": text.encode() for name, text in policies.items()}
    return {**starter_files(), "access.toml": rules.encode(), **own}


class House:
    """One server's rooms over one database, opened again as after a restart."""

    def __init__(self, url: str, folder: Path, clock: SettableClock, bundle: Mapping[str, bytes] | None = None) -> None:
        self.url, self.folder, self.clock = url, folder, clock
        self.told: list[Notice] = []
        self.app = self._opened()
        self._prepare(dict(bundle or files()))
        self.app.storage.close()
        self.app = self._opened()
        self.access = self.app.access

    def _opened(self) -> Everproof:
        app = Everproof(Settings(state=self.folder / "state", database=self.url), clock=self.clock)
        app.authorizer.register(Factors())
        app.access.requests._tell = lambda _tx, notice: self.told.append(notice)
        app.access._tell = lambda _tx, notice: self.told.append(notice)
        return app

    def _prepare(self, bundle: dict[str, bytes]) -> None:
        def change(tx: Transaction) -> None:
            save_bundle(tx, StoredBundle(load_bundle(bundle).digest, "", bundle))
            for name, groups in PEOPLE.items():
                roster.add_principal(tx, Ref("User", name), groups=groups)

        self.app.storage.write_now(change)

    async def start(self) -> None:
        await self.app.start()

    async def restart(self, *, kill: bool = False) -> None:
        if kill:
            await self.app.storage.stop()
        else:
            await self.app.stop()
        self.app = self._opened()
        self.access = self.app.access
        await self.app.start()

    async def rule(self, bundle: Mapping[str, bytes]) -> None:
        """Let another bundle rule."""
        stored = StoredBundle(load_bundle(dict(bundle)).digest, "", dict(bundle))
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
