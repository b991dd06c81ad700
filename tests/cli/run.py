"""Running commands as a person would: in a process of their own, in a home of their own."""

import os
import subprocess
import sys
from pathlib import Path
from subprocess import CompletedProcess

EVERPROOF = [sys.executable, "-m", "everproof.cli.main"]
SECONDS = 60


class Home:
    """Somebody's home folder; nothing of the machine's own settings reaches what runs in it."""

    def __init__(self, folder: Path, name: str = "alice") -> None:
        self.folder = folder
        self.name = name
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "USER": self.name,
            "LOGNAME": self.name,
            "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "EVERPROOF_SESSION": str(self.folder / "session.json"),
        }

    def run(self, *command: str, at: Path | None = None, **extra: str) -> CompletedProcess[str]:
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=SECONDS, cwd=at or self.folder,
            stdin=subprocess.DEVNULL, env={**self.environment, **extra},
        )  # fmt: skip

    def everproof(self, *arguments: str, at: Path | None = None, **extra: str) -> CompletedProcess[str]:
        return self.run(*EVERPROOF, *arguments, at=at, **extra)

    def git(self, *arguments: str, at: Path | None = None) -> str:
        done = self.run("git", *arguments, at=at)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ssh_key(self, name: str = "id_ed25519", *options: str) -> Path:
        """A new SSH key in this home, which git signs with."""
        file = self.folder / ".ssh" / name
        file.parent.mkdir(mode=0o700, exist_ok=True)
        kind = options or ("-t", "ed25519")
        done = self.run("ssh-keygen", "-q", *kind, "-N", "", "-C", f"{self.name}@shop.example", "-f", str(file))
        assert done.returncode == 0, done.stderr
        for setting, value in (
            ("user.name", self.name.title()),
            ("user.email", f"{self.name}@shop.example"),
            ("gpg.format", "ssh"),
            ("user.signingKey", str(file)),
            ("init.defaultBranch", "main"),
        ):
            self.git("config", "--global", setting, value)
        return file
