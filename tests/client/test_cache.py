"""What is remembered is used only while nothing can have changed it unseen."""

import time
from collections.abc import Callable

import httpx
import msgspec
import pytest

from everproof.client import Client, Decision, Entity, Introspection
from everproof.client import cache as caching
from everproof.client.cache import Cache, Change
from tests.client.conftest import World

ORDERS = "Route::orders"
ALICE_AT = "/v1/identity/principals/User/alice"
YES = Decision(allowed=True, cache_seconds=60)
ALICE = Entity("User", "alice")


class Time:
    now = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    found = Time()
    monkeypatch.setattr(caching, "steady", lambda: found.now)
    return found


@pytest.fixture
def cache(clock: Time) -> Cache:
    made = Cache(seconds=30, staleness=2)
    made.heard(clock.now)
    made.keep(b"q", YES, ALICE, made.ticket())
    return made


def test_a_yes_is_remembered_and_says_so(cache: Cache) -> None:
    found = cache.decision(b"q")
    assert found is not None
    assert found.cached


def test_a_process_that_was_paused_uses_nothing_until_it_has_news(cache: Cache, clock: Time) -> None:
    clock.now += 2.1
    assert cache.decision(b"q") is None
    cache.heard(clock.now - 2.05)  # a heartbeat that lay in a buffer meanwhile
    assert cache.decision(b"q") is None
    cache.heard(clock.now)
    assert cache.decision(b"q") is not None


def test_an_answer_grows_too_old(cache: Cache, clock: Time) -> None:
    clock.now += 30.1
    cache.heard(clock.now)
    assert cache.decision(b"q") is None


@pytest.mark.parametrize(
    "change",
    [
        Change(all=True),
        Change(principals=(("User", "alice"),)),
        Change(credentials=("own",)),
    ],
)
def test_a_change_takes_away_what_it_concerns(cache: Cache, change: Change) -> None:
    cache.apply(change, ("own",))
    assert cache.decision(b"q") is None


@pytest.mark.parametrize("change", [Change(principals=(("User", "bob"),)), Change(credentials=("of another",))])
def test_a_change_leaves_what_it_does_not_concern(cache: Cache, change: Change) -> None:
    cache.apply(change, ("own",))
    assert cache.decision(b"q") is not None


def test_an_answer_that_a_change_overtook_is_not_remembered(cache: Cache) -> None:
    ticket = cache.ticket()
    cache.apply(Change(principals=(("User", "alice"),)), ())
    cache.keep(b"late", YES, ALICE, ticket)
    assert cache.decision(b"late") is None


@pytest.mark.parametrize(
    "decision",
    [
        Decision(allowed=False, cache_seconds=60),
        Decision(allowed=True, would_deny=True, cache_seconds=60),
        Decision(allowed=True),
    ],
)
def test_nothing_else_than_a_yes_that_may_be_is_remembered(cache: Cache, decision: Decision) -> None:
    cache.keep(b"other", decision, ALICE, cache.ticket())
    assert cache.decision(b"other") is None


def test_a_token_falls_with_whoever_acts_for_its_subject(cache: Cache) -> None:
    found = Introspection(
        active=True, sub="user:alice", exp=int(time.time()) + 60, jti="a", act={"sub": "b", "credential": "c"}
    )
    cache.keep_token("token", found, cache.ticket())
    assert cache.token("token") is not None
    cache.apply(Change(credentials=("c",)), ())
    assert cache.token("token") is None
    assert cache.decision(b"q") is not None


def wait_until(holds: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def follow(client: Client, subject: str = "User::alice") -> None:
    """Ask until the answer comes from memory."""
    wait_until(lambda: client.evaluate(subject, "api:call", ORDERS).cached)


def operate(world: World, method: str, path: str, body: object = None) -> None:
    """Do something as the operator."""
    with world.client("operator") as operator:
        operator.run(operator.session.ask(method, path, json=body))


def test_who_is_disabled_is_refused_at_once_after_the_news(world: World) -> None:
    with world.client(cache_seconds=60) as client:
        follow(client)
        assert client.cache is not None
        before = client.cache.ticket()
        operate(world, "POST", ALICE_AT, {"disabled": True})
        wait_until(lambda: client.cache is not None and client.cache.ticket().decisions > before.decisions)
        denied = client.evaluate("User::alice", "api:call", ORDERS)
        assert not denied.allowed
        operate(world, "POST", ALICE_AT, {"disabled": False})


def test_no_yes_is_used_beyond_the_bound_once_the_stream_is_cut(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with world.client(cache_seconds=60, staleness_seconds=1.5) as client:
        follow(client)
        lost = httpx.ConnectError("cut")

        def cut(*_: object, **__: object) -> None:
            raise lost

        assert client._following is not None
        monkeypatch.setattr("everproof.client.flow.Driver.stream", cut)
        monkeypatch.setattr("everproof.client.following.Following._take", cut)  # what is under way is not heard either
        cached = time.monotonic()
        wait_until(lambda: not client.evaluate("User::alice", "api:call", ORDERS).cached)
        assert time.monotonic() - cached < 2.5
        assert not client.evaluate("User::alice", "api:call", ORDERS).cached


def test_the_revocation_of_its_own_token_empties_a_clients_memory(world: World) -> None:
    with world.client(cache_seconds=60) as client:
        follow(client)
        assert client.cache is not None
        assert client.session._held is not None
        before = client.cache.ticket()
        token = client.session._held.token
        with world.client("operator") as operator:
            operator.run(operator.session.ask("POST", "/oauth/revoke", form={"token": token}))
        wait_until(lambda: client.cache is not None and client.cache.ticket().decisions > before.decisions)
        again = client.evaluate("User::alice", "api:call", ORDERS)
        assert again.allowed
        assert not again.cached


def test_only_an_enforcement_point_may_follow(world: World) -> None:
    with world.client("caller", cache_seconds=60) as client:
        for _ in range(3):
            client.evaluate("Service::caller", "api:call", ORDERS)
        assert client.cache is not None
        assert not client.cache.is_fresh


def test_a_client_that_is_closed_uses_nothing(world: World) -> None:
    client = world.client(cache_seconds=60)
    follow(client)
    client.close()
    assert client.cache is not None
    assert not client.cache.is_fresh


def test_the_servers_events_are_what_the_client_reads(world: World) -> None:
    """A kind of change that the client does not know takes everything away."""
    with world.client(cache_seconds=60) as client:
        follow(client)
        assert client._following is not None
        assert client.cache is not None
        client._following._take(b"change", b"1", msgspec.json.encode({"kind": "weather"}), 0.0)
        assert client.cache._decisions == {}
