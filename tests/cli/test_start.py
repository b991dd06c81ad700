"""docs/start.md is run as a reader would run it."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.cli.run import Home
from tests.cli.server import Server

PAGE = Path(__file__).parents[2] / "docs" / "start.md"
BLOCK = re.compile(r"(?ms)^```sh( refused)?\n(.*?)^```$")


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_page_does_what_it_says(short_folder: Path) -> None:
    home = Home(short_folder, "reader")
    home.ssh_key()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    at, server, said = home.folder, None, ""
    try:
        for refused, script in BLOCK.findall(PAGE.read_text()):
            if script.strip() == "everproof up":
                state = home.folder / ".local/state/everproof"
                server = Server(state, (state / "server.toml").read_text())
                continue
            text = script.replace("LINK", server.link) if server else script
            done = home.run("bash", "-euc", f"{text}\npwd > ~/at", at=at, PATH=path)
            said = done.stdout + done.stderr
            assert (done.returncode != 0) == bool(refused), f"{script}\n{said}"
            if refused:
                for line in ("git/commits-are-signed", "commits_unsigned is 1", "git commit --amend"):
                    assert line in said
            else:
                at = Path((home.folder / "at").read_text().strip())
        assert "allowed" in said
    finally:
        if server is not None:
            server.stop()
