"""Access for a while as a developer and an approver see it: commands that are really run, and what they print.

`python -m scripts.docs` writes it into docs/people.md, and a test compares its shape with another run.
"""

import json
import re
import subprocess
import time
from base64 import b32decode
from pathlib import Path
from tempfile import TemporaryDirectory

from everproof.identity.factors import totp
from tests.access.terminal import Terminal
from tests.cli.run import EVERPROOF, Home
from tests.cli.server import Server

RESOURCE = 'Environment::"production"'
ASK = ("ask", "deployment:start", RESOURCE)

_SHAPES = (
    (r"(req|cred|ent|fac|eff|job)_[0-9a-f]{32}", r"\1_…"),
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d+)?)?", "TIME"),
    (r"\d+ (min|s|h)( \d+ (min|s))?", "SPAN"),
    (r"https://localhost:\d+", "https://everproof.example"),
    (r"sha256:[0-9a-f]+|[0-9a-f]{64}", "DIGEST"),
    (r"\b(index|entry) \d+", r"\1 N"),
    (r"[ ]{2,}", "  "),
)


class Desk:
    """Somebody at a terminal, of whom is written down what they type and see."""

    def __init__(self, home: Home, lines: list[str]) -> None:
        self.home = home
        self.lines = lines

    def run(self, *words: str, status: int = 0) -> str:
        """A command, and what it printed."""
        done = self.home.everproof(*words)
        assert done.returncode == status, done.stdout + done.stderr
        self.note(words, done.stdout + done.stderr)
        return done.stdout

    def note(self, words: tuple[str, ...], said: str) -> None:
        typed = " ".join(word if re.fullmatch(r"[\w:/.@…=-]+", word) else f"'{word}'" for word in words)
        self.lines += [f"$ everproof {typed}", *said.rstrip().splitlines(), ""]


def record() -> dict[str, str]:
    """What the developer and the approver type and see, as Markdown."""
    with TemporaryDirectory(prefix="everproof-") as name:
        folder = Path(name)
        server = Server(folder / "state")
        try:
            return recorded(server, folder)
        finally:
            server.stop()


def shape(text: str) -> str:
    """``text`` without what differs between two runs."""
    for pattern, instead in _SHAPES:
        text = re.sub(pattern, instead, text)
    return "\n".join(line.rstrip() for line in text.splitlines())


def recorded(server: Server, folder: Path) -> dict[str, str]:
    """As `record`, at a new server; the homes of both people are in ``folder``."""
    ada, dev = Home(folder / "ada", "ada"), Home(folder / "dev", "dev")
    _enrol(ada, server.link)
    link = json.loads(ada.everproof("identity", "invite", "--json").stdout)["link"]
    _enrol(dev, link)
    secret = _app(ada)
    asking: list[str] = []
    answering: list[str] = []
    developer, approver = Desk(dev, asking), Desk(ada, answering)

    developer.run(*ASK, status=1)
    told = dev.everproof("request", "deployment:start", RESOURCE, "--for", "1h", "--reason", "release 1.2", "--json")
    request = json.loads(told.stdout)["id"]
    shown = dev.everproof("requests", "show", request)
    developer.note(("request", "deployment:start", RESOURCE, "--for", "1h", "--reason", "release 1.2"), shown.stdout)
    developer.run("approve", request, status=1)

    approver.run("requests", "list")
    terminal = Terminal(ada, "approve", request, "--message", "after the backup")
    terminal.until("Approve it?")
    terminal.type("y")
    terminal.until("Code of your authenticator app")
    terminal.type(_code(secret))
    assert terminal.end() == 0, terminal.said
    approver.note(("approve", request, "--message", "after the backup"), terminal.said)

    developer.run(*ASK)
    developer.run("grants", "list")
    grant = json.loads(dev.everproof("requests", "show", request, "--json").stdout)["grant"]["id"]
    approver.run("grants", "revoke", grant, "--reason", "the release is out")
    developer.run(*ASK, status=1)
    approver.run("requests", "list", "--all")
    return {name: _block(lines) for name, lines in (("developer", asking), ("approver", answering))}


def _block(lines: list[str]) -> str:
    return "\n".join(("```console", *lines[:-1], "```"))


def _enrol(home: Home, link: str) -> None:
    home.ssh_key()
    done = home.everproof("login", "--enrol", link)
    assert done.returncode == 0, done.stderr


def _app(home: Home) -> str:
    """Give somebody an authenticator app, and a session that was shown nothing yet; the app's secret."""
    with subprocess.Popen(
        [*EVERPROOF, "factors", "add", "totp"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=home.environment,
    ) as adding:  # fmt: skip
        assert adding.stdout is not None
        adding.stdout.readline()
        secret = adding.stdout.readline().removeprefix("secret: ").strip()
        adding.communicate(f"{_code(secret, -1)}\n", timeout=60)
    assert adding.returncode == 0
    assert home.everproof("login").returncode == 0
    return secret


def _code(secret: str, steps: int = 0) -> str:
    key = b32decode(secret + "=" * (-len(secret) % 8))
    return totp.code_at(key, int(time.time()) // totp.STEP_SECONDS + steps)
