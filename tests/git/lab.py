"""A git door with real git before it: people with keys, their clones, and a server that answers on its unix socket."""

import asyncio
import base64
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from everproof.cli.git.install import install

GIT = shutil.which("git") or "git"


@dataclass
class Ran:
    """How a command ended, and all that it said."""

    code: int
    said: str

    @property
    def ok(self) -> bool:
        return self.code == 0


async def run(*command: str | Path, cwd: Path, env: dict[str, str], stdin: bytes = b"") -> Ran:
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        cwd=cwd,
        env=env,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate(stdin)
    return Ran(process.returncode or 0, output.decode(errors="replace"))


def make_key(folder: Path, name: str, kind: str = "ed25519") -> Path:
    """A new SSH key; gives the file of the private one."""
    file = folder / name
    file.unlink(missing_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", name, "-f", str(file)], check=True)
    return file


def public(key: Path) -> str:
    """The public key in base64, as sshd's %k has it."""
    return key.with_name(key.name + ".pub").read_text().split()[1]


def public_line(key: Path) -> str:
    """The public key's line, as it stands in lists of signers."""
    return key.with_name(key.name + ".pub").read_text()


def call(*command: str | Path, stdin: bytes = b"", **env: Any) -> bytes:
    """What a command that must end well writes."""
    return subprocess.run(
        [str(part) for part in command], input=stdin, capture_output=True, check=True, env=os.environ | env
    ).stdout


def git(repository: Path, *arguments: str, stdin: bytes = b"") -> str:
    """What git says of a bare repository, to those who may reach into it."""
    return call(GIT, "--git-dir", repository, *arguments, stdin=stdin).decode().strip()


def public_bytes(key: Path) -> bytes:
    return base64.b64decode(public(key))


@dataclass
class Person:
    """Someone with a key and an address, who may or may not be on record."""

    name: str
    email: str
    key: Path


@dataclass
class Clone:
    """A person's working copy."""

    lab: "Lab"
    person: Person
    path: Path
    env: dict[str, str] = field(default_factory=dict)

    async def git(self, *arguments: str, stdin: bytes = b"", **env: Any) -> Ran:
        return await run(GIT, *arguments, cwd=self.path, env=self.lab.environment | self.env | env, stdin=stdin)

    async def ok(self, *arguments: str, stdin: bytes = b"", **env: Any) -> str:
        ran = await self.git(*arguments, stdin=stdin, **env)
        assert ran.ok, ran.said
        return ran.said.strip()

    async def commit(self, message: str = "work", *, sign: bool = True, **env: Any) -> str:
        await self.ok("commit", "--allow-empty", "-m", message, *(["-S"] if sign else []), **env)
        return await self.ok("rev-parse", "HEAD")

    async def write(self, raw: bytes, kind: str = "commit") -> str:
        """Put bytes of our own making in as an object."""
        return await self.ok("hash-object", "-t", kind, "-w", "--stdin", "--literally", stdin=raw)

    async def raw(self, name: str = "HEAD") -> bytes:
        kind = await self.ok("cat-file", "-t", name)
        return call(GIT, "-C", self.path, "cat-file", kind, name)

    async def sign(self, payload: bytes, *, namespace: str = "git", key: Path | None = None) -> bytes:
        """The armoured signature of ``payload``."""
        return call("ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", key or self.person.key, stdin=payload)

    async def push(self, ref: str = "main", *options: str, source: str = "HEAD", **env: Any) -> Ran:
        """Push by the SSH address, through `git serve`."""
        target = ref if ref.startswith("refs/") else f"refs/heads/{ref}"
        return await self.git("push", *options, "origin", f"{source}:{target}", **env)

    async def push_here(self, ref: str = "main", *options: str, source: str = "HEAD", **env: Any) -> Ran:
        """Push by the folder's path: nobody is proved but by a certificate."""
        target = ref if ref.startswith("refs/") else f"refs/heads/{ref}"
        return await self.git("push", *options, str(self.lab.bare(self.path.name)), f"{source}:{target}", **env)


class Lab:
    """Repositories under one root, and the folder of one server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "srv"
        self.socket = folder / "everproof.sock"
        self.home = folder / "home"
        for path in (self.root, self.home):
            path.mkdir()
        self.environment: dict[str, Any] = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
        }

    def bare(self, name: str) -> Path:
        return self.root / "team" / f"{name.partition('-')[0]}.git"

    def repository(self, name: str = "app", *, objects: str = "sha1") -> Path:
        """A new bare repository behind the hook."""
        path = self.bare(name)
        call(GIT, "init", "-q", "--bare", "-b", "main", f"--object-format={objects}", path, **self.environment)
        install(path, self.socket, GIT)
        return path

    def person(self, name: str, email: str = "", kind: str = "ed25519") -> Person:
        return Person(name, email or f"{name}@x.test", make_key(self.folder, f"key-{name}", kind))

    def ssh(self, key: Path) -> str:
        """What stands for ssh and sshd: it starts what the forced command would, with the client's wish."""
        file = self.folder / f"ssh-{key.name}"
        serve = shlex.join([sys.executable, "-I", "-m", "everproof.cli.git.serve", str(self.socket), GIT, public(key)])
        file.write_text(f'#!/bin/sh\nfor wish; do :; done\nSSH_ORIGINAL_COMMAND="$wish" exec {serve}\n')
        file.chmod(0o755)
        return str(file)

    async def clone(self, person: Person, name: str = "app", *, objects: str = "sha1") -> Clone:
        """A working copy of an empty repository, set up to sign."""
        path = self.folder / person.name / name
        path.mkdir(parents=True)
        clone = Clone(self, person, path, {"GIT_SSH_COMMAND": self.ssh(person.key), "GIT_SSH_VARIANT": "ssh"})
        await clone.ok("init", "-q", "-b", "main", f"--object-format={objects}")
        settings = {
            "user.name": person.name,
            "user.email": person.email,
            "gpg.format": "ssh",
            "user.signingkey": f"{person.key}.pub",
        }
        for key, value in settings.items():
            await clone.ok("config", key, value)
        await clone.ok("remote", "add", "origin", f"git@localhost:team/{name}.git")
        return clone
