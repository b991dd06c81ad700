"""A real server in a process of its own, as `everproof up` starts it."""

import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

from tests.cli.run import EVERPROOF

START_SECONDS = 20


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Server:
    """`everproof up` on a state folder; ``link`` is the enrolment link of its first lines."""

    def __init__(self, state: Path, settings: str = "") -> None:
        self.state = state
        self.url = f"https://localhost:{free_port()}"
        state.mkdir(mode=0o700, exist_ok=True)
        (state / "server.toml").write_text(settings)
        self._log = state.parent / "up.log"
        self.start()

    def start(self) -> None:
        port = self.url.rpartition(":")[2]
        started = time.monotonic()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*EVERPROOF, "up", "--state", str(self.state), "--port", port],
                stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                env={"PATH": os.environ["PATH"], "HOME": str(self.state.parent)},
            )  # fmt: skip
        while "Ctrl-C stops it" not in self.said:
            assert self._process.poll() is None, self.said
            assert time.monotonic() - started < START_SECONDS, self.said
            time.sleep(0.02)
        self.seconds_to_start = time.monotonic() - started

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def link(self) -> str:
        match = re.search(r"everproof login --enrol '(\S+)'", self.said)
        assert match is not None, self.said
        return match[1]

    def stop(self) -> int:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        return self._process.wait(timeout=10)
