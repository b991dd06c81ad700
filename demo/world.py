"""What the scenes play in: a folder, a server, an SSH daemon, an OpenID issuer, people with keys. All of it ends."""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Final, Self, TypeVar

T = TypeVar("T")

EVERPROOF: Final = str(Path(sys.executable).parent / "everproof")
START_SECONDS: Final = 20


class Failed(Exception):  # noqa: N818 - a result, which scenes look into
    """A command that ended with another code than 0."""

    def __init__(self, output: str, code: int) -> None:
        super().__init__(output)
        self.output = output
        self.code = code


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Person:
    """Somebody with a home folder, an SSH key and a git identity; everything of theirs runs in that home."""

    def __init__(self, world: "World", name: str) -> None:
        self.name = name
        self.email = f"{name}@shop.example"
        self.home = world.folder / "people" / name
        self.key = self.home / ".ssh" / "id_ed25519"
        self._world = world
        (self.home / ".ssh").mkdir(parents=True, mode=0o700)
        self.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.email, "-f", str(self.key))
        for setting, value in (
            ("user.name", name.title()),
            ("user.email", self.email),
            ("gpg.format", "ssh"),
            ("user.signingKey", str(self.key)),
            ("commit.gpgSign", "true"),
            ("init.defaultBranch", "main"),
            ("advice.detachedHead", "false"),
        ):
            self.run("git", "config", "--global", setting, value)

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of ours but the path: what a scene shows must not hang on this machine's settings."""
        ssh = self._world.ssh_command(self.key)
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "LC_ALL": "C.UTF-8",
            "GIT_SSH_COMMAND": ssh,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "EVERPROOF_SESSION": str(self.home / "session.json"),
        }

    def run(self, *command: str, at: Path | None = None, extra: dict[str, str] | None = None) -> str:
        """What the command printed, on both of its outputs.

        Raises:
            Failed: it ended with another code than 0.
        """
        return run(*command, at=at or self.home, environment={**self.environment, **(extra or {})})

    def everproof(self, *arguments: str, extra: dict[str, str] | None = None) -> str:
        """What an `everproof` command of this person printed."""
        return self.run(EVERPROOF, *arguments, extra=extra)


def run(*command: str, at: Path | None = None, environment: dict[str, str] | None = None, seconds: float = 60) -> str:
    done = subprocess.run(
        command, cwd=at, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False, timeout=seconds,
    )  # fmt: skip
    if done.returncode != 0:
        raise Failed(done.stdout, done.returncode)
    return done.stdout


class Daemon:
    """A process of the demonstration's own, with its output in a file."""

    def __init__(self, command: Iterable[str], log: Path, environment: dict[str, str] | None = None) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                list(command), env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )

    def wait_for(self, text: str) -> str:
        """The log, once ``text`` stands in it."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            said = self.log.read_text(errors="replace")
            if text in said:
                return said
            if self.process.poll() is not None:
                raise Failed(f"{self.process.args!r} ended:\n{said}", self.process.returncode)
            time.sleep(0.02)
        raise Failed(f"nothing with {text!r} in {START_SECONDS} s:\n{self.log.read_text(errors='replace')}", 1)

    def stop(self) -> None:
        """End it, kindly and then not."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class World:
    """Everything the scenes share; what a scene leaves for a later one stands in ``kept``."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="everproof-demo-"))
        self.folder.chmod(0o755)  # sshd's account walks through it
        self.state = self.folder / "state"
        self.repositories = self.folder / "git"
        self.port = free_port()
        self.ssh_port = free_port()
        self.url = f"https://localhost:{self.port}"
        self.kept: dict[str, str] = {}
        self.people: dict[str, Person] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def person(self, name: str) -> Person:
        """The person called ``name``, who comes to be at the first call."""
        if name not in self.people:
            self.people[name] = Person(self, name)
        return self.people[name]

    def ssh_command(self, key: Path) -> str:
        """How git reaches our SSH daemon with ``key`` and nothing else."""
        known = self.folder / "known_hosts"
        options = ["IdentitiesOnly=yes", "BatchMode=yes", f"UserKnownHostsFile={known}", "IdentityAgent=none"]
        return " ".join(
            ["ssh", "-F", "none", "-p", str(self.ssh_port), "-i", str(key), *(f"-o {one}" for one in options)]
        )

    def remote(self, repository: str) -> str:
        """The address of a repository behind our SSH daemon."""
        return f"{pwd.getpwuid(os.getuid()).pw_name}@127.0.0.1:{repository}"

    def start(self, command: Iterable[str], name: str, environment: dict[str, str] | None = None) -> Daemon:
        """A process that ends with the world."""
        daemon = Daemon(command, self.folder / f"{name}.log", environment)
        self._stack.callback(daemon.stop)
        return daemon

    def enter(self, context: AbstractContextManager[T]) -> T:
        """Enter ``context``, which ends with the world."""
        return self._stack.enter_context(context)

    def made(self, name: str) -> Path:
        """A folder of the world."""
        folder = self.folder / name
        folder.mkdir()
        return folder

    def unique(self) -> str:
        """A short word that nothing else is called."""
        return secrets.token_hex(4)
