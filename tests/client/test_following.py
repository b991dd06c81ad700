"""The stream itself, and what may go wrong on its way."""

import os
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from everproof.client import Client, Question, RefusedError, UnavailableError
from everproof.client.cache import steady
from tests.client.conftest import World
from tests.client.test_cache import follow, wait_until

ORDERS = "Route::orders"


def test_nobody_follows_who_may_not_ask_about_everybody(world: World) -> None:
    with world.client("caller") as client, pytest.raises(RefusedError, match="no policy permits it"):
        client.run(client.session.ask("GET", "/v1/changes"))


def test_a_stream_without_a_proof_is_refused(world: World) -> None:
    context = ssl.create_default_context(cafile=world.ca)
    answer = httpx.get(f"{world.server.url}/v1/changes", verify=context)
    assert answer.status_code == 401


def test_the_news_are_as_old_as_they_are_and_no_younger(world: World) -> None:
    """A heartbeat cannot make the news younger than this clock says, whatever number is in it."""
    with world.client(cache_seconds=60) as client:
        follow(client)
        assert client.cache is not None
        assert client._following is not None
        client._following._take(b"heartbeat", b"", b'{"milliseconds":99999999}', steady())
        assert client.cache._as_of <= steady()
        for forged in (b'{"milliseconds":"1"}', b"{}", b"x"):
            with pytest.raises(ValueError, match=r".*"):
                client._following._take(b"heartbeat", b"", forged, steady())


PAUSED = """
import sys, time
from everproof.client import Client, ClientKey
with Client(sys.argv[1], ClientKey("service:shop", sys.argv[2]), ca=sys.argv[3], cache_seconds=60) as client:
    ask = lambda: client.evaluate("User::bob", "api:call", "Route::orders")
    while not client.evaluate("User::alice", "api:call", "Route::orders").cached:
        time.sleep(0.01)
    print("remembered", flush=True)
    sys.stdin.readline()
    first = client.evaluate("User::alice", "api:call", "Route::orders")
    print(first.allowed, first.cached, flush=True)
"""


def test_a_process_that_was_stopped_meanwhile_does_not_go_on_by_what_it_knew(world: World, tmp_path: Path) -> None:
    (tmp_path / "shop.pem").write_text(world.keys["shop"])
    command = [sys.executable, "-c", PAUSED, world.server.url, str(tmp_path / "shop.pem"), str(world.ca)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as paused:
        assert paused.stdout is not None
        assert paused.stdin is not None
        assert paused.stdout.readline() == "remembered\n"
        os.kill(paused.pid, signal.SIGSTOP)
        with world.client("operator") as operator:
            at = "/v1/identity/principals/User/alice"
            operator.run(operator.session.ask("POST", at, json={"disabled": True}))
            time.sleep(2.1)  # the bound itself: what is tested is that it has passed
            paused.stdin.write("\n")
            paused.stdin.flush()
            os.kill(paused.pid, signal.SIGCONT)
            said = paused.stdout.readline()
            operator.run(operator.session.ask("POST", at, json={"disabled": False}))
        assert said == "False False\n"


def test_a_child_that_was_forked_follows_by_itself(world: World) -> None:
    with world.client(cache_seconds=60) as client:
        follow(client)
        assert client._following is not None
        client._following._pid = -1  # as it is in a child: the thread of the parent is not there
        again = client.evaluate("User::alice", "api:call", ORDERS)
        assert again.allowed
        assert not again.cached


def test_searches_and_batches(world: World) -> None:
    with world.client() as client:
        found = [str(one) for one in client.search_subjects("User", "api:call", ORDERS)]
        assert found == ['User::"alice"']
        assert "api:call" in client.search_actions("User::alice", ORDERS)
        proposed = {"candidates": ["a", "b"]}
        routes = client.search_resources("User::alice", "api:call", "Route", proposed, limit=1)
        assert [str(one) for one in routes] == ['Route::"a"']
        questions = [Question(f"User::{name}", "api:call", ORDERS) for name in ("alice", "bob", "alice")]
        assert [bool(one) for one in client.evaluations(questions)] == [True, False, True]
        assert [bool(one) for one in client.evaluations(questions, semantic="deny_on_first_deny")] == [True, False]
        assert client.evaluations([]) == []


def test_a_connection_of_its_own_shows_its_key_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with world.client(own_connection=True) as client:
        client.evaluate("User::alice", "api:call", ORDERS)
        proofs: list[str] = []
        made = client.session.key.dpop

        def dpop(method: str, url: str, **more: Any) -> str:
            proofs.append(made(method, url, **more))
            return proofs[-1]

        monkeypatch.setattr(client.session.key, "dpop", dpop)
        assert client.evaluate("User::alice", "api:call", ORDERS).allowed
        assert proofs == []
        assert client._driving is not None
        client._driving.close()
        client._driving = None
        client._pid = 0  # a new connection, on which the key was not shown
        assert client.evaluate("User::alice", "api:call", ORDERS).allowed
        assert len(proofs) == 1


def test_a_server_that_stopped_allows_nothing(world: World) -> None:
    with world.client(cache_seconds=60, staleness_seconds=1.0, timeout=1.0) as client:
        follow(client)
        world.server.stop()
        try:

            def is_refused() -> bool:
                try:
                    return not client.evaluate("User::alice", "api:call", ORDERS).allowed
                except UnavailableError:
                    return True

            started = time.monotonic()
            wait_until(is_refused)
            assert time.monotonic() - started < 3
        finally:
            world.server.start()
        follow(client)


def test_the_client_is_light() -> None:
    script = "import sys, everproof.client; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"httpx", "sqlalchemy", "cedarpy", "starlette", "grpc", "joserfc"} & set(done.stdout.split())


def test_a_client_is_asked_from_many_threads(world: World) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def ask(client: Client) -> bool:
        return client.evaluate("User::alice", "api:call", ORDERS).allowed

    with world.client(cache_seconds=60) as client, ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, [client] * 64))
