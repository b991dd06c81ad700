"""Replaying a whole ledger: what cannot be read is said, and no bundle or ledger makes it run away."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from everproof.app import Everproof
from everproof.authorize import Denied, replaying
from everproof.authorize.doors import enforces_more
from everproof.authorize.replay_entries import moves, notes
from everproof.authorize.replay_worker import part
from everproof.authorize.replaying import Job, Range, Replay, replay_ledger
from everproof.kernel.canonical import encode
from everproof.kernel.errors import RefusedError, UnavailableError
from everproof.kernel.ids import new_id
from everproof.kernel.settings import Settings
from everproof.kernel.words import MAIN_SPACE, Action, Entry, Principal, Proof, Ref, Resource
from everproof.policy import BundleError, Engine, load_bundle, starter_files
from everproof.policy.replay_findings import Findings
from everproof.storage import Transaction
from tests.conftest import SettableClock

FETCH = Action("git:fetch")
SHOP = Resource(ref=Ref("Repository", "shop"), attributes={"name": "shop"}, parents=(MAIN_SPACE,))
LOCKOUT = starter_files() | {
    "policies/out.cedar": b'@id("out") @title("Out") forbid (principal == User::"bob", action, resource);'
}
PEOPLE = b"""
[people.bob]
groups = ["developers"]
[people.carl]
groups = ["backend"]
[groups.backend]
groups = ["developers"]
"""


class Past:
    """A server that has decided something."""

    def __init__(self, app: Everproof, clock: SettableClock) -> None:
        self.app = app
        self.clock = clock

    async def ask(self, name: str, *groups: str, refused: bool = False) -> None:
        parents = (*(Ref("Group", group) for group in groups), MAIN_SPACE)
        principal = Principal(ref=Ref("User", name), parents=parents)
        proof = Proof(kind="test", principal=principal, at=self.clock.now())

        def refuse(_tx: Transaction) -> None:
            raise RefusedError("not now")

        outcome = await self.app.authorizer.authorize(proof, FETCH, SHOP, within=refuse if refused else None)
        assert isinstance(outcome, Denied) is (refused or not groups)

    def here(self, files: dict[str, bytes], before: dict[str, bytes] | None = None) -> Findings:
        """Replayed in this process."""
        job = Job(
            files=files,
            commit="",
            database="",
            root_key="",
            state="",
            salt=b"salt",
            since=0,
            enforcing=False,
            moves=moves(before or files, files),
            bounded=False,
        )
        return part(self.app.ledger, Engine(load_bundle(files)), job, Range(0, self.app.ledger.size))

    async def replay(self, files: dict[str, bytes], **more: object) -> Replay:
        since = self.clock.now() - timedelta(days=1)
        return await replay_ledger(self.app.ledger, self.app.settings, files, since=since, **more)  # type: ignore[arg-type]


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """One is enough: the processes read by the same statements on either."""
    return f"sqlite:///{tmp_path / 'past.db'}"


@pytest.fixture
async def past(database_url: str, tmp_path: Path, clock: SettableClock) -> AsyncIterator[Past]:
    app = Everproof(Settings(state=tmp_path / "state", database=database_url), clock=clock)
    await app.start()
    past = Past(app, clock)
    await past.ask("bob", "developers")
    await past.ask("eve")
    yield past
    await app.stop()


async def test_two_processes_find_what_single_decisions_find(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying, "PART", 7)
    for number in range(30):
        await past.ask(f"u{number % 4}", *(["developers"] if number % 3 else []))
    told: list[tuple[int, int]] = []
    done = await past.replay(LOCKOUT, processes=2, progress=lambda made, of: told.append((made, of)))
    assert done.complete
    alone = past.here(LOCKOUT)
    assert done.findings == alone
    assert (alone.decisions, alone.denied, alone.groups[0].principal.id) == (32, 1, "bob")
    assert told[-1] == (32, 32)
    assert [made for made, _ in told] == sorted(made for made, _ in told)
    same = await past.replay(starter_files())
    assert (same.findings.identical, same.digest) == (32, past.app.bundles.current.digest)


async def test_what_cannot_be_decided_again_is_counted_by_why(past: Past) -> None:
    app = past.app
    await past.ask("zoe", "developers")
    await past.ask("bob", "developers", refused=True)
    await app.storage.write(lambda tx: app.keyring.erase(tx, Ref("User", "zoe")))
    body = encode({"decision": "allow", "form": "of another time"})
    odd = Entry(id=new_id("ent"), at=past.clock.now(), kind="decision", about=MAIN_SPACE, body=msgspec.Raw(body))
    await app.ledger.record(odd)
    await app.ledger.record(msgspec.structs.replace(odd, id=new_id("ent"), version=2))
    await app.ledger.record(msgspec.structs.replace(odd, id=new_id("ent"), kind="other"))
    changed = "update ledger_entries set body = zeroblob(length(body)) where idx = 1"
    await app.storage.write(lambda tx: tx.connection.exec_driver_sql(changed) and None)
    found = past.here(starter_files())
    assert (found.erased, found.changed, found.older, found.decisions) == (1, 1, 2, 2)
    assert (found.refused, found.identical, found.entries) == (1, 2, app.ledger.size)
    assert [(one.index, one.why) for one in found.skipped] == [
        (5, "older"),
        (4, "older"),
        (2, "erased"),
        (1, "changed"),
    ]


async def test_attack_a_lockout_is_hidden_in_the_database_beside_the_entries(past: Past) -> None:
    """What is not sealed says that it was long ago, or no decision at all; or the entry is gone."""
    app = past.app
    for name in ("old", "other", "bob"):
        await past.ask(name, "developers")

    def hide(tx: Transaction) -> None:
        run = tx.connection.exec_driver_sql
        run("update ledger_entries set at = 0 where idx in (0, 2)")
        run("update ledger_entries set kind = 'other' where idx = 4")
        run("delete from ledger_entries where idx = 3")

    await app.storage.write(hide)
    done = await past.replay(LOCKOUT)
    assert (done.of, done.findings.denied, done.findings.changed) == (5, 2, 1)


async def test_only_the_time_that_is_asked_for_is_replayed(past: Past) -> None:
    past.clock.advance(timedelta(days=2))
    await past.ask("bob", "developers")
    done = await past.replay(LOCKOUT)
    assert (done.findings.decisions, done.findings.denied) == (1, 1)


async def test_attack_a_bundle_that_locks_out_by_its_people_is_found_out(past: Past) -> None:
    before = starter_files() | {"people.toml": PEOPLE}
    after = starter_files() | {"people.toml": PEOPLE.replace(b'groups = ["developers"]\n[people', b"[people", 1)}
    found = past.here(after, before)
    assert [(one.principal.id, one.how) for one in found.groups] == [("bob", "no longer permitted")]
    gone = past.here(starter_files(), before)
    assert [(one.principal.id, one.how) for one in gone.groups] == [("bob", "gone")]
    inner = starter_files() | {"people.toml": PEOPLE.replace(b'[groups.backend]\ngroups = ["developers"]', b"")}
    [carl] = moves(before, inner)
    assert (carl.principal.id, carl.leaves) == ("carl", (Ref("Group", "developers"),))
    assert notes(before, before | {"trust/x.toml": b""})


async def test_attack_a_bundle_that_takes_for_ever_is_not_waited_for(past: Past) -> None:
    """A bundle's own tests run in the process that is bounded, too."""
    tests = "".join(
        f'[[test]]\nname = "t{number}"\nprincipal = \'User::"x{number}"\'\naction = "git:fetch"\n'
        f'resource = \'Repository::"{number}"\'\nexpect = "deny"\n'
        for number in range(100_000)
    )
    started = time.monotonic()
    slow = starter_files() | {"policies/slow.test.toml": tests.encode()}
    done = await past.replay(slow, seconds=1.5, bounded=True)
    assert time.monotonic() - started < 10
    assert (done.complete, done.findings.entries) == (False, 0)


async def test_a_bad_bundle_is_named_with_its_place(past: Past) -> None:
    bad = {"policies/bad.cedar": b"permit (principal, action, resource) when { context.nobody };"}
    with pytest.raises(BundleError, match=r"policies/bad\.cedar:1"):
        await past.replay(bad)


async def test_a_process_that_dies_is_said_and_leaves_none_behind(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    execute = asyncio.create_subprocess_exec
    started = []

    async def dying(*command: str, **options: object) -> asyncio.subprocess.Process:
        process = await execute(*command, **options)  # type: ignore[arg-type]
        started.append(process)
        if len(started) == 1:
            process.kill()
        return process

    monkeypatch.setattr("asyncio.create_subprocess_exec", dying)
    with pytest.raises(UnavailableError, match="ended before it was done"):
        await past.replay(starter_files(), processes=2)
    assert all(process.returncode is not None for process in started)


async def test_a_replay_that_is_called_off_leaves_no_process_behind(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = asyncio.create_subprocess_exec
    started = asyncio.Queue[asyncio.subprocess.Process]()

    async def noted(*command: str, **options: object) -> asyncio.subprocess.Process:
        process = await execute(*command, **options)  # type: ignore[arg-type]
        started.put_nowait(process)
        return process

    monkeypatch.setattr("asyncio.create_subprocess_exec", noted)
    task = asyncio.create_task(past.replay(starter_files()))
    process = await started.get()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert process.returncode is not None


def test_a_door_that_observed_and_would_enforce_is_noticed() -> None:
    def doors(text: str) -> dict[str, bytes]:
        return {"everproof.toml": f"[doors]\n{text}".encode()}

    observing = doors('git = "observe"\nauthzen = "observe"')
    assert enforces_more(observing, doors('authzen = "observe"'))
    assert enforces_more(observing, {})
    assert not enforces_more(observing, observing)
    assert not enforces_more({}, observing)
