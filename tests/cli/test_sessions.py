"""`everproof sessions` and `everproof step-up`, against a real server and on a real terminal."""

import fcntl
import json
import os
import pty
import select
import subprocess
import termios
import time
from base64 import b32decode

from everproof.identity.factors import totp
from tests.cli.run import EVERPROOF, Home
from tests.cli.server import Server

SECONDS = 40


def code_of(secret: str, steps: int = 0) -> str:
    key = b32decode(secret + "=" * (-len(secret) % 8))
    return totp.code_at(key, int(time.time()) // totp.STEP_SECONDS + steps)


class Terminal:
    """A command on a terminal of its own, with somebody who reads and types."""

    def __init__(self, home: Home, *arguments: str) -> None:
        mine, theirs = pty.openpty()
        self._fd = mine
        self.said = ""
        self._process = subprocess.Popen(
            [*EVERPROOF, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - getpass asks the terminal
            env={**home.environment, "TERM": "dumb", "BROWSER": "true"},
        )  # fmt: skip
        os.close(theirs)

    def read(self, until: str = "", times: int = 1) -> str:
        """What was said, until it says ``until`` so many times or ends."""
        deadline = time.monotonic() + SECONDS
        while not until or self.said.count(until) < times:
            assert time.monotonic() < deadline, self.said
            if not select.select([self._fd], [], [], 1)[0]:
                continue
            try:
                given = os.read(self._fd, 4096)
            except OSError:  # its other end is closed
                given = b""
            if not given:
                assert not until, self.said
                break
            self.said += given.decode(errors="replace")
        return self.said

    def write(self, text: str) -> None:
        os.write(self._fd, f"{text}\n".encode())

    def end(self) -> int:
        self.read()
        os.close(self._fd)
        return self._process.wait(SECONDS)


def sessions(home: Home) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(home.everproof("sessions", "list", "--json").stdout)["sessions"]
    return found


def test_a_command_asks_for_a_factor_and_goes_on_and_sessions_are_seen_and_ended(server: Server, ada: Home) -> None:
    begun = sessions(ada)
    assert [(one["kind"], one["current"], one["key_bound"]) for one in begun] == [("cli", True, True)]
    with subprocess.Popen(
        [*EVERPROOF, "factors", "add", "totp"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ada.environment,
    ) as adding:  # fmt: skip
        assert adding.stdout is not None
        adding.stdout.readline()
        secret = adding.stdout.readline().removeprefix("secret: ").strip()
        adding.communicate(f"{code_of(secret, -1)}\n", timeout=SECONDS)
    assert adding.returncode == 0

    again = ada.everproof("login", "--server", server.url)  # a session that was shown nothing yet
    assert again.returncode == 0, again.stderr
    alone = ada.everproof("factors", "add", "recovery-codes")
    assert alone.returncode == 1
    assert "everproof step-up" in alone.stderr
    assert "totp" in alone.stderr
    terminal = Terminal(ada, "factors", "add", "recovery-codes")
    terminal.read("Code of your authenticator app")
    terminal.write("000000")
    terminal.read("Code of your authenticator app", times=2)  # what is typed before it asks is thrown away
    assert "does not hold" in terminal.said
    terminal.write(code_of(secret))
    assert terminal.end() == 0, terminal.said
    assert "fresher" in terminal.said
    assert terminal.said.count("-") >= 30  # ten recovery codes
    shown = next(one for one in sessions(ada) if one["current"])
    assert "totp" in shown["factors"]  # type: ignore[operator]

    assert len(sessions(ada)) == 2
    ended = ada.everproof("sessions", "end", str(begun[0]["id"]))
    assert ended.returncode == 0, ended.stderr
    table = ada.everproof("sessions", "list").stdout
    assert table.startswith("SESSION")
    assert table.count("\n") == 2
    assert "this one" in table
    assert ada.everproof("sessions", "end", "cred_nobody").returncode == 2
    assert ada.everproof("sessions", "end", "current").returncode == 0
    over = ada.everproof("sessions", "list")
    assert over.returncode == 1
    assert "log in" in over.stderr or "revoked" in over.stderr
