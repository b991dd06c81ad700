"""Every example of docs/client.md is run against a real server, as it stands there but for the server's address."""

import asyncio
import re
import sys
import types
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from everproof.client import Client, UnauthenticatedError
from everproof.client.guard import Caller, caller
from tests.client.conftest import World
from tests.client.test_middleware import Service
from tests.issuer import github_claims
from tests.server.asgi import call

PAGE = Path(__file__).parents[2] / "docs" / "client.md"
EXAMPLES: dict[str, str] = dict(re.findall(r"(?ms)^```python (\S+)\n(.*?)^```$", PAGE.read_text()))
ORDER = "https://orders.example/orders/7"


@pytest.fixture
def page(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs an example where the files that it names are; gives what it defined."""
    (tmp_path / "ca.pem").write_bytes(world.ca.read_bytes())
    for name in ("shop", "caller"):
        (tmp_path / f"{name}.pem").write_text(world.keys[name])
    monkeypatch.chdir(tmp_path)
    opened: list[Client] = []

    def run(name: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        exec(EXAMPLES[name].replace("https://everproof.example", world.server.url), found)
        if isinstance(client := found.get("everproof"), Client):
            opened.append(client)
        return found

    yield run
    for one in opened:
        one.close()


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    module = types.ModuleType("shop")
    monkeypatch.setitem(sys.modules, "shop", module)
    return module


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_ten_lines(name: str) -> None:
    assert sum(bool(line.strip()) for line in EXAMPLES[name].splitlines()) <= 10


def test_every_example_is_run_here() -> None:
    text = Path(__file__).read_text()
    assert all(f'page("{name}")' in text for name in EXAMPLES)


def test_ask(page: Any, capsys: pytest.CaptureFixture[str]) -> None:
    page("ask")
    yes, no = capsys.readouterr().out.splitlines()
    assert yes.startswith("True Receipt(")
    assert no.startswith("False denied: no policy permits it ask for the group staff")


async def test_ask_async(page: Any, capsys: pytest.CaptureFixture[str]) -> None:
    await page("ask-async")["ship"]("7")
    assert "ask for the group staff" in capsys.readouterr().out


def test_job(page: Any, world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVERPROOF_ID_TOKEN", raising=False)
    with pytest.raises(UnauthenticatedError, match="no job"):
        page("job")
    claims = github_claims(datetime.now(UTC), audience="https://everproof.example")
    monkeypatch.setenv("EVERPROOF_ID_TOKEN", world.issuer.mint(claims))
    page("job")
    assert capsys.readouterr().out.startswith('Job::"github/74/')


async def test_asgi_and_call(page: Any, shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.service = Service()
    found = page("asgi")
    app, loop = found["app"], asyncio.get_running_loop()

    def get(url: str, headers: dict[str, str]) -> httpx.Response:
        sent = call(app, "GET", httpx.URL(url).path, headers=headers)
        answer = asyncio.run_coroutine_threadsafe(sent, loop).result(10)
        return httpx.Response(answer.status, headers=answer.headers, content=answer.body)

    monkeypatch.setattr(httpx, "get", get)
    called = await asyncio.to_thread(page, "call")
    assert EXAMPLES["call"]  # page("call") is run in a thread, as whoever calls would be elsewhere
    assert (called["answer"].status_code, called["answer"].text) == (200, 'Service::"caller"')
    await found["everproof"].close()


def test_wsgi(page: Any, shop: Any) -> None:
    shop.service = None
    app = page("wsgi")["app"]
    told: list[str] = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/orders/7"}
    app(environ, lambda status, _headers: told.append(status))
    assert told == ["401 Unauthorized"]


def test_decorator(page: Any) -> None:
    from everproof.client import Entity

    ship = page("decorator")["ship"]
    with pytest.raises(UnauthenticatedError):
        ship("7")
    before = caller.set(Caller(subject=Entity("User", "alice"), credential="c"))
    assert ship("7") == "7 is on its way"
    caller.reset(before)


def test_grpc(page: Any) -> None:
    server = page("grpc")["server"]
    server.stop(None)


def test_cache(page: Any, capsys: pytest.CaptureFixture[str]) -> None:
    page("cache")
    assert capsys.readouterr().out == "False\n"
