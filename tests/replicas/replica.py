"""A whole server in a process of its own, but for its doors: it decides under load, and tells what it answered when.

Times are of the machine's monotonic clock, which all processes share: what was answered before something else was asked
can be told across them.
"""

import asyncio
import ctypes
import random
import time
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec

from everproof.app import Everproof
from everproof.authorize import Allowed
from everproof.identity.records import Credential
from everproof.kernel.canonical import encode
from everproof.kernel.errors import UnavailableError
from everproof.kernel.ids import new_id
from everproof.kernel.settings import Settings
from everproof.kernel.words import MAIN_SPACE, Action, Entry, Principal, Proof, Ref, Resource
from everproof.storage import Transaction

FETCH = Action("git:fetch")
SHOP = Resource(ref=Ref("Repository", "shop"), attributes={"name": "shop"}, parents=(MAIN_SPACE,))
BOB = Principal(ref=Ref("User", "bob"), parents=(Ref("Group", "developers"), MAIN_SPACE))
CLONE_NEWNET = 0x40000000
LIFE = timedelta(hours=1)


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """``tasks`` that ask, each ``rest`` seconds after its answer; one that revokes about every ``revoke_every``."""

    tasks: int = 8
    rest: float = 0.0
    revoke_every: float = 0.0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One server's part: its load is about the credentials of ``pool``."""

    url: str
    state: Path
    root_key: Path
    pool: tuple[str, ...]
    load: Load
    seed: int = 0
    namespace: str = ""
    """The network namespace that it lives in."""

    @property
    def settings(self) -> Settings:
        return Settings(state=self.state, database=self.url, root_key=f"file:{self.root_key}")


class Told(msgspec.Struct, frozen=True, array_like=True, tag="told"):
    """What a caller was answered: a question (``allowed`` or not), or a revocation (None); and where it is recorded."""

    credential: str
    asked: float
    answered: float
    allowed: bool | None
    index: int = -1
    entry: str = ""


class Failed(msgspec.Struct, frozen=True, array_like=True, tag="failed"):
    """Nothing could be decided."""

    at: float
    why: str


def issue_pool(app: Everproof, count: int) -> tuple[str, ...]:
    """Credentials of bob's, on record."""
    now = app.storage.clock.now()
    pool = tuple(new_id("cred") for _ in range(count))

    def issue(tx: Transaction) -> None:
        for id_ in pool:
            app.identity.credentials.issue(
                tx,
                Credential(
                    id=id_, parent=None, kind="access-token", principal=BOB.ref, key=None, issued=now,
                    expires=now + LIFE,
                ),
            )  # fmt: skip

    app.storage.write_now(issue)
    return pool


async def ask(app: Everproof, credential: str) -> Told:
    """Whether bob may fetch by ``credential``."""
    asked = time.monotonic()
    now = app.storage.clock.now()
    proof = Proof(kind="test", principal=BOB, at=now, credential=credential, expires=now + LIFE)
    outcome = await app.authorizer.authorize(proof, FETCH, SHOP)
    receipt = outcome.receipt
    allowed = isinstance(outcome, Allowed)
    return Told(credential, asked, time.monotonic(), allowed, receipt.index, receipt.entry_id)


async def revoke(app: Everproof, credential: str) -> Told:
    """Revoke ``credential``, with an entry in the same commit."""
    asked = time.monotonic()
    at = app.storage.clock.now()
    body = msgspec.Raw(encode({"ended": credential}))
    entry = Entry(id=new_id("ent"), at=at, kind="test", about=MAIN_SPACE, body=body)

    def change(tx: Transaction) -> int:
        app.identity.credentials.revoke(tx, credential, "test")
        return app.ledger.append(tx, entry).index

    index = await app.storage.write(change)
    return Told(credential, asked, time.monotonic(), None, index, entry.id)


def work(plan: Plan, pipe: Connection) -> None:
    """Work until killed."""
    if plan.namespace:
        enter(plan.namespace)
    asyncio.run(_work(plan, pipe))


def open_once(settings: Settings) -> None:
    """Open a server's rooms, and close them."""
    Everproof(settings).storage.close()


def enter(namespace: str) -> None:
    """Have the network of ``namespace`` from here on, in this thread and those it starts."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/run/netns", namespace).open("rb") as opened:
        if libc.setns(opened.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")


async def _work(plan: Plan, pipe: Connection) -> None:
    app = Everproof(plan.settings)
    await app.start()
    chance = random.Random(plan.seed)

    def tell(what: Any) -> None:
        pipe.send_bytes(msgspec.msgpack.encode(what))

    async def asking() -> None:
        while True:
            await _tried(ask(app, chance.choice(plan.pool)), tell)
            await asyncio.sleep(plan.load.rest)

    async def revoking() -> None:
        while plan.load.revoke_every:
            await asyncio.sleep(plan.load.revoke_every * chance.uniform(0.5, 1.5))
            await _tried(revoke(app, chance.choice(plan.pool)), tell)

    await asyncio.gather(revoking(), *(asking() for _ in range(plan.load.tasks)))


async def _tried(doing: Any, tell: Any) -> None:
    try:
        told = await doing
    except UnavailableError as error:
        tell(Failed(time.monotonic(), error.message))
        await asyncio.sleep(0.02)
    else:
        tell(told)
