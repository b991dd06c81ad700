"""The commands of access, against a real server: what docs/people.md shows of them, and break-glass."""

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from scripts import docs

from tests.access.terminal import Terminal
from tests.access.transcripts import recorded, shape
from tests.cli.run import EVERPROOF, Home
from tests.cli.server import Server


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder whose name leaves room for a unix socket's, which may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="everproof-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    server = Server(folder / "state")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def transcripts(server: Server, folder: Path) -> dict[str, str]:
    return recorded(server, folder)


def test_transcripts_are_what_commands_say(transcripts: dict[str, str]) -> None:
    written = docs.blocks_of((docs.ROOT / docs.PEOPLE).read_text(), ("developer", "approver"))
    for name, block in transcripts.items():
        assert shape(written[name]) == shape(block), "run make docs"


@pytest.mark.usefixtures("transcripts")
def test_refused_request_stays_findable_and_is_not_approved_any_more(folder: Path) -> None:
    ada, dev = Home(folder / "ada", "ada"), Home(folder / "dev", "dev")
    asked = dev.everproof("request", "deployment:start", "eu", "--reason", "a try", "--json")
    id_ = json.loads(asked.stdout)["id"]
    terminal = Terminal(ada, "approve", id_)
    terminal.until("Approve it?")
    terminal.type("n")
    assert terminal.end() == 1
    assert ada.everproof("refuse", id_, "--reason", "not on a Friday").returncode == 0
    found = json.loads(dev.everproof("requests", "list", "--state", "refused", "--json").stdout)
    assert [(one["id"], one["message"], one["approvals"]) for one in found] == [(id_, "not on a Friday", [])]
    late = ada.everproof("approve", id_)
    assert late.returncode == 1
    assert "refused already" in late.stderr
    useless = dev.everproof("request", "policy:change", "Bundle::organisation", "--reason", "x")
    assert useless.returncode == 1
    assert "no policy of this server honours a grant for that" in useless.stderr


@pytest.mark.usefixtures("transcripts")
def test_halves_of_break_glass_are_each_persons_own(server: Server, folder: Path) -> None:
    ada, dev, red = (Home(folder / name, name) for name in ("ada", "dev", "red"))
    made = ada.everproof("break-glass", "prepare", "ada", "dev", "--action", "host:login", "--json")
    assert made.returncode == 0, made.stderr
    kit = json.loads(made.stdout)["id"]
    half = ada.everproof("break-glass", "fetch", kit).stdout.splitlines()[0]
    assert re.fullmatch(rf"{kit}:ada:([A-Z2-7]{{4}}-){{7}}[A-Z2-7]{{4}}", half)
    without = dev.everproof("break-glass", "fetch", kit)
    assert without.returncode == 1
    assert "everproof step-up" in without.stderr
    where = ("--server", server.url, "--ca", str(folder / "state" / "ca.pem"))
    opened = subprocess.run(
        [*EVERPROOF, "break-glass", "open", "--reason", "x", *where],
        input=f"{half}\n{half}\n", capture_output=True, text=True, check=False, timeout=60, env=red.environment,
    )  # fmt: skip
    assert opened.returncode == 1
    assert "not the two halves" in opened.stderr
    assert kit in ada.everproof("break-glass", "list").stdout
