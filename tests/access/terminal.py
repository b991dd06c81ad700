"""A command on a terminal of its own, with somebody who reads and types."""

import fcntl
import os
import pty
import select
import subprocess
import termios
import time

from tests.cli.run import EVERPROOF, Home

SECONDS = 40


class Terminal:
    """What is said on it is in ``said``, as somebody reads it who sits before it."""

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

    def until(self, text: str) -> None:
        """Wait until it says ``text``."""
        deadline = time.monotonic() + SECONDS
        while text not in self.said:
            assert time.monotonic() < deadline, self.said
            assert self._read(), self.said

    def type(self, text: str) -> None:
        os.write(self._fd, f"{text}\n".encode())

    def end(self) -> int:
        """Wait for its end; its exit status."""
        while self._read():
            pass
        os.close(self._fd)
        return self._process.wait(SECONDS)

    def _read(self) -> bool:
        if not select.select([self._fd], [], [], SECONDS)[0]:
            return False
        try:
            given = os.read(self._fd, 4096)
        except OSError:  # its other end is closed
            return False
        self.said += given.decode(errors="replace").replace("\r\n", "\n")
        return bool(given)
