"""Two servers on one database in one process: what each does of what the other did, step by step."""

import asyncio
import multiprocessing
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from everproof.app import Everproof
from everproof.authorize import Allowed, Denied
from everproof.authorize.store import StoredBundle, save_bundle
from everproof.identity import roster
from everproof.kernel.errors import ConflictError, Error, UnavailableError
from everproof.kernel.settings import Settings
from everproof.kernel.words import Proof, Ref
from everproof.keys import open_root_key
from everproof.keys.keyring import SERVER
from everproof.ledger import parse_vkey, verify_ledger
from everproof.ledger.checkpoint import open_checkpoint
from everproof.policy import load_bundle, starter_files
from everproof.storage import StaleError, Storage, Transaction, forget_feed, take_duty, versions
from everproof.storage.feed import Feed
from everproof.storage.migrate import NewerDatabaseError
from everproof.storage.replicated import ReplicatedWriter
from tests.postgres import PostgreSQL
from tests.replicas.replica import FETCH, SHOP, ask, issue_pool, open_once, revoke

ALICE = Ref("User", "alice")
COUNT = 5


class Pair:
    """Two servers, and the address of their database."""

    def __init__(self, url: str, folder: Path, root_key: Path) -> None:
        self.url = url
        self._folder = folder
        self._root_key = root_key

    def open(self, name: str) -> Everproof:
        return Everproof(self.settings(name))

    def settings(self, name: str) -> Settings:
        return Settings(state=self._folder / name, database=self.url, root_key=f"file:{self._root_key}")

    def sql(self, statement: str) -> None:
        """What an administrator of the database does."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement)


@pytest.fixture
def pair(postgresql: PostgreSQL, set_up: tuple[str, Path], tmp_path: Path) -> Pair:
    template, root_key = set_up
    return Pair(postgresql.fresh(template), tmp_path, root_key)


@pytest.fixture
async def two(pair: Pair) -> AsyncIterator[tuple[Everproof, Everproof]]:
    async with AsyncExitStack() as stack:
        opened = pair.open("one"), pair.open("two")
        for app in opened:
            await app.start()
            stack.push_async_callback(app.stop)
        yield opened


def shown_by(app: Everproof, ref: Ref = ALICE) -> Proof:
    """A proof as a door makes it, of what this server knows."""
    principal = app.identity.directory.principal(ref)
    assert principal is not None
    return Proof(kind="test", principal=principal, at=app.storage.clock.now())


async def hear(app: Everproof) -> None:
    """Let it hear what there is, and from then on only when it writes."""
    writer = app.storage.writer
    assert isinstance(writer, ReplicatedWriter)
    await app.storage.write(nothing)
    writer._stop_following()
    app.storage.max_stale_seconds = 60.0


def nothing(_: Transaction) -> None:
    pass


async def test_what_is_revoked_at_one_is_refused_at_the_other_in_its_very_next_commit(pair: Pair) -> None:
    one, two = pair.open("one"), pair.open("two")
    pool = issue_pool(one, COUNT)
    await one.start()
    await two.start()
    for credential in pool:
        assert (await ask(two, credential)).allowed
        ended = await revoke(one, credential)
        told = await ask(two, credential)
        assert not told.allowed
        assert told.index > ended.index
    await one.stop()
    await two.stop()


async def test_a_decision_is_made_anew_where_its_principal_has_changed_elsewhere(
    two: tuple[Everproof, Everproof],
) -> None:
    one, other = two
    await one.storage.write(lambda tx: roster.add_principal(tx, ALICE, groups=["developers"]))
    await hear(other)
    proof = shown_by(other)
    assert isinstance(await other.authorizer.authorize(proof, FETCH, SHOP), Allowed)
    await one.storage.write(lambda tx: roster.set_groups(tx, ALICE, []))
    denied = await other.authorizer.authorize(proof, FETCH, SHOP)
    assert isinstance(denied, Denied)
    proof = shown_by(other)
    await one.storage.write(lambda tx: roster.disable(tx, ALICE, "left"))
    with pytest.raises(UnavailableError, match="being changed"):
        await other.authorizer.authorize(proof, FETCH, SHOP)


async def test_a_decision_is_made_anew_where_another_bundle_has_come_to_rule(two: tuple[Everproof, Everproof]) -> None:
    one, other = two
    await one.storage.write(lambda tx: roster.add_principal(tx, ALICE, groups=["developers"]))
    await hear(other)
    proof = shown_by(other)
    assert isinstance(await other.authorizer.authorize(proof, FETCH, SHOP), Allowed)
    forbid = b'@id("t/none")\n@title("Nobody")\n@advice("none")\nforbid (principal, action, resource);\n'
    files = {**starter_files(), "policies/none.cedar": forbid}
    stored = StoredBundle(load_bundle(files).digest, "", files)
    await one.storage.write(lambda tx: save_bundle(tx, stored))
    denied = await other.authorizer.authorize(proof, FETCH, SHOP)
    assert isinstance(denied, Denied)
    assert denied.decision.bundle == stored.digest


async def test_nothing_is_sealed_by_a_key_that_another_server_destroyed(two: tuple[Everproof, Everproof]) -> None:
    one, other = two
    await one.storage.write(lambda tx: roster.add_principal(tx, ALICE, groups=["developers"]))
    await hear(other)
    first = await other.authorizer.authorize(shown_by(other), FETCH, SHOP)
    await one.storage.write(lambda tx: one.keyring.erase(tx, ALICE))
    second = await other.authorizer.authorize(shown_by(other), FETCH, SHOP)
    with pytest.raises(Error, match="destroyed"):
        one.ledger.read(first.receipt.index)
    assert one.ledger.read(second.receipt.index).about == ALICE
    await one.storage.write(one.keyring.rotate)
    await one.storage.write(one.keyring.rewrap)  # what nobody uses any more is destroyed
    sealed = await other.storage.write(lambda tx: other.keyring.seal(tx, SERVER, b"later", context=b""))
    assert one.keyring.open(sealed.key_id, sealed.data, context=b"") == b"later"


async def test_both_append_to_one_tree_and_publish_one_log(two: tuple[Everproof, Everproof]) -> None:
    one, other = two
    pool = await asyncio.gather(*(ask(app, "x") for app in (one, other) * 40))
    assert sorted(told.index for told in pool) == list(range(len(pool)))
    proof = await one.ledger.prove(max(told.index for told in pool))
    assert proof
    await hear(other)
    log = parse_vkey(one.ledger.vkey)
    assert open_checkpoint(other.ledger.checkpoint(), log) == open_checkpoint(one.ledger.checkpoint(), log)
    assert verify_ledger(one.storage, one.keyring, log).holds


async def test_a_challenge_of_one_is_known_to_the_other(two: tuple[Everproof, Everproof]) -> None:
    one, other = two
    assert one.signing.derived("use") == other.signing.derived("use") != one.signing.derived("another")


async def test_what_is_done_for_all_is_done_by_one(two: tuple[Everproof, Everproof]) -> None:
    every = timedelta(minutes=10)
    done = [await app.storage.write(lambda tx: take_duty(tx, "test", every)) for app in two]
    assert done == [True, False]


def test_servers_that_start_on_an_empty_database_at_once_all_serve(postgresql: PostgreSQL, tmp_path: Path) -> None:
    open_root_key(f"file:{tmp_path / 'root.key'}", tmp_path)
    pair = Pair(postgresql.fresh(), tmp_path, tmp_path / "root.key")
    context = multiprocessing.get_context("forkserver")
    starting = [context.Process(target=open_once, args=(pair.settings(name),)) for name in "abc"]
    for process in starting:
        process.start()
    for process in starting:
        process.join(60)
    assert [process.exitcode for process in starting] == [0, 0, 0]


async def test_a_server_of_an_older_version_is_refused_at_its_start_and_when_it_comes_back(pair: Pair) -> None:
    storage = Storage.open(pair.url)
    await storage.start()
    pair.sql("update alembic_version set version_num = '9999'")
    with pytest.raises(NewerDatabaseError, match="9999"):
        Storage.open(pair.url)
    pair.sql(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()"
    )
    with pytest.raises(UnavailableError):
        await storage.write(lambda tx: tx.publish("topic", "lost"))
    with pytest.raises(ConflictError, match="another version"):
        await storage.write(lambda tx: tx.publish("topic", "refused"))
    assert "another version" in (storage.trouble() or "")
    await storage.stop()


async def test_a_database_is_not_migrated_under_servers_that_use_it(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "PATIENCE_SECONDS", 1.0)
    storage = Storage.open(pair.url)
    pair.sql("update alembic_version set version_num = '0010'")  # as if it were older than this program
    with pytest.raises(ConflictError, match="older version write"):
        Storage.open(pair.url)
    storage.close()


async def test_without_news_of_the_others_nothing_is_allowed(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    app = pair.open("one")
    [credential] = issue_pool(app, 1)
    await app.start()
    app.storage.max_stale_seconds = -1.0
    with pytest.raises(StaleError, match="stale snapshot"):
        await ask(app, credential)
    assert "stale snapshot" in (app.storage.trouble() or "")
    app.storage.max_stale_seconds = 2.0
    assert (await ask(app, credential)).allowed
    await app.stop()


def test_the_feed_tells_each_row_once_in_order_and_never_over_a_gap() -> None:
    feed, at_once, later = Feed(0), list[str](), list[str]()
    feed.subscribe("t", lambda key, _: at_once.append(key), at_once=True, decides=False)
    feed.subscribe("t", lambda key, _: later.append(key), at_once=False, decides=False)
    feed.subscribe("d", lambda key, _: later.append(key), at_once=False, decides=True)
    rows = [(1, "t", "a", b""), (2, "d", "b", b""), (3, "t", "c", b"")]
    feed.take(rows[:2], 0.0)
    feed.take(rows, 0.0)
    assert (at_once, later, feed.taken, feed.applied) == (["a", "c"], [], 2, 0)
    feed.tell()
    assert (later, feed.applied, feed.position) == (["a", "b", "c"], 2, 3)
    with pytest.raises(StaleError, match="restart"):
        feed.take([(5, "t", "e", b"")], 0.0)
    with pytest.raises(StaleError, match="restart"):
        feed.require_fresh(60)


def test_a_listener_that_fails_stops_what_follows_from_being_believed() -> None:
    feed = Feed(0)

    def fail(_key: str, _body: bytes) -> None:
        raise ValueError

    feed.subscribe("t", fail, at_once=False, decides=True)
    feed.take([(1, "t", "a", b"")], 0.0)
    feed.tell()
    with pytest.raises(StaleError, match="could not be followed"):
        feed.require_fresh(60)


def test_the_feed_is_forgotten_but_for_its_end(database_url: str) -> None:
    storage = Storage.open(database_url)
    for number in range(30):
        storage.write_now(lambda tx, name=str(number): tx.publish("topic", name))
    while storage.write_now(lambda tx: forget_feed(tx, 10)):
        pass
    with storage.reading() as connection:
        kept = connection.exec_driver_sql("select min(seq), max(seq) from feed").one()
    assert tuple(kept) == (21, 30)
    storage.close()
    again = Storage.open(database_url)
    again.write_now(lambda tx: tx.publish("topic", "next"))
    again.close()
