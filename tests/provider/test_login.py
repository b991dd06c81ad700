"""`everproof login --browser` and `--device` as somebody runs them, against a server over HTTPS."""

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
import pytest_asyncio

from everproof.server.listener import Listener
from everproof.server.tls import Certificates
from tests.cli.server import free_port
from tests.conftest import SettableClock
from tests.provider.site import Person, Site, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVERPROOF = [sys.executable, "-m", "everproof.cli.main"]
SECONDS = 30


class Terminal:
    """Somebody's shell."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site = site
        self.session = folder / "session.json"
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "EVERPROOF_SESSION": str(self.session),
            "BROWSER": "true",  # the program of that name, which opens nothing
        }

    async def begin(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *EVERPROOF, *arguments, env=self.env, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def log_in(self, way: str) -> asyncio.subprocess.Process:
        ca = str(self.site.app.settings.state / "ca.pem")
        return await self.begin("login", "--server", self.site.url, "--ca", ca, way)

    async def run(self, *arguments: str) -> str:
        process = await self.begin(*arguments)
        out, err = await asyncio.wait_for(process.communicate(), SECONDS)
        assert process.returncode == 0, err.decode()
        return out.decode()


async def said_until(process: asyncio.subprocess.Process, pattern: str) -> re.Match[str]:
    """What the command says on its standard error, until it fits."""
    assert process.stderr is not None
    text = ""
    while (match := re.search(pattern, text)) is None:
        line = await asyncio.wait_for(process.stderr.readline(), SECONDS)
        assert line, text
        text += line.decode()
    return match


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory, clock: SettableClock) -> AsyncIterator[Site]:
    port = free_port()
    site = opened(tmp_path_factory.mktemp("provider") / "state", clock, url=f"https://localhost:{port}")
    await site.app.start()
    listener = Listener(site.doors)
    await listener.listen("127.0.0.1", port, Certificates(site.app.settings, clock).context)
    yield site
    await listener.stop()
    await site.app.stop()


@pytest.fixture
def terminal(site: Site, tmp_path: Path) -> Terminal:
    return Terminal(site, tmp_path)


async def test_login_by_this_machines_browser(site: Site, alice: Person, terminal: Terminal) -> None:
    process = await terminal.log_in("--browser")
    url = (await said_until(process, r"(https://localhost:\S+)"))[1]
    answer = await alice.consent(await alice.follow(url))
    back = answer.headers["location"]
    assert back.startswith("http://127.0.0.1:")
    port = urlsplit(back).port
    async with httpx.AsyncClient(trust_env=False) as browser:
        # What other pages send to the port is not taken: another state, another host, no state at all.
        wrong = back.replace(dict(parse_qsl(urlsplit(back).query))["state"], "x" * 32)
        assert (await browser.get(wrong)).status_code == 404
        assert (await browser.get(f"http://127.0.0.1:{port}/callback")).status_code == 404
        assert (await browser.get(back, headers={"host": "evil.example"})).status_code == 404
        page = await browser.get(back)
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    out, err = await asyncio.wait_for(process.communicate(), SECONDS)
    assert process.returncode == 0, err.decode()
    assert f'User::"{alice.id}"' in out.decode()
    assert terminal.session.stat().st_mode & 0o077 == 0


async def test_login_by_another_machines_browser(site: Site, alice: Person, terminal: Terminal) -> None:
    process = await terminal.log_in("--device")
    said = await said_until(process, r"([BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4})[\s\S]*becomes you")
    assert "Never type one that somebody sent you" in said[0]
    shown = await alice.send("GET", f"/v1/device/{said[1]}")
    assert shown.json["title"] == "Everproof's command line"
    assert (await alice.send("POST", f"/v1/device/{said[1]}", {"answer": "yes"})).status == 200
    out, err = await asyncio.wait_for(process.communicate(), SECONDS)
    assert process.returncode == 0, err.decode()
    assert alice.id in out.decode()


async def test_a_session_is_renewed_by_the_next_command_and_by_many_at_once(
    site: Site, alice: Person, terminal: Terminal
) -> None:
    process = await terminal.log_in("--browser")
    url = (await said_until(process, r"(https://localhost:\S+)"))[1]
    back = (await alice.consent(await alice.follow(url))).headers["location"]
    async with httpx.AsyncClient(trust_env=False) as browser:
        await browser.get(back)
    await asyncio.wait_for(process.communicate(), SECONDS)
    held = json.loads(terminal.session.read_text())
    terminal.session.write_text(json.dumps({**held, "expires": time.time() + 5}))
    await asyncio.gather(*(terminal.run("sessions", "list", "--json") for _ in range(3)))
    kept = json.loads(terminal.session.read_text())
    assert kept["refresh"] != held["refresh"]
    assert kept["expires"] > time.time() + 600
    ids = [one.id for one in site.app.identity.sessions.all() if one.kind == "cli" and one.principal.id == alice.id]
    assert len(ids) == 1


async def test_a_person_who_refuses(site: Site, alice: Person, terminal: Terminal) -> None:
    process = await terminal.log_in("--browser")
    url = (await said_until(process, r"(https://localhost:\S+)"))[1]
    back = (await alice.consent(await alice.follow(url), "no")).headers["location"]
    async with httpx.AsyncClient(trust_env=False) as browser:
        await browser.get(back)
    _, err = await asyncio.wait_for(process.communicate(), SECONDS)
    assert process.returncode != 0
    assert "its user has refused" in err.decode()
    assert not terminal.session.exists()
