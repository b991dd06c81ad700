"""`everproof git install`: puts the hook before a bare repository, and sets what signed pushes need. Idempotent."""

import os
import secrets
import shlex
import stat
import subprocess
import sys
from pathlib import Path
from typing import Final

from everproof.kernel.errors import ConflictError, InputError

MARK: Final = "# everproof git guard"
SEED_BYTES: Final = 32


def install(repository: Path, socket: Path, git: str, *, replace: bool = False) -> list[str]:
    """Set the repository up; says what was changed, one line each; nothing if all was as it should be.

    Raises:
        InputError: it is not a bare repository.
        ConflictError: it has a pre-receive hook of its own, and ``replace`` was not asked for.
    """
    repository = repository.resolve()
    if _git(git, repository, "rev-parse", "--is-bare-repository") != "true" or not (repository / "HEAD").is_file():
        raise InputError("not a bare repository", place=str(repository), todo="make one with git init --bare")
    return [*_put_hook(repository, socket, git, replace=replace), *_configure(repository, git)]


def hook_text(socket: Path, git: str) -> str:
    """The hook. Every path in it is absolute, and Python runs isolated: the environment decides nothing."""
    command = shlex.join([sys.executable, "-I", "-m", "everproof.cli.git.guard", str(socket), git])
    return f"#!/bin/sh\n{MARK}: the server decides what may be pushed; without its answer nothing is.\nexec {command}\n"


def sshd_configuration(user: str, socket: Path, git: str) -> str:
    """What stands in sshd_config, so that keys known to the server reach `git serve` and nothing else."""
    # sshd wants the command's file, and every folder above it, to belong to root and to be writable by nobody else;
    # /usr/bin/env is, wherever Python was installed.
    ask = shlex.join(["/usr/bin/env", sys.executable, "-I", "-m", "everproof.cli.git.keys", str(socket), git])
    return (
        f"Match User {user}\n"
        f"    AuthorizedKeysCommand {ask} %u %t %k\n"
        f"    AuthorizedKeysCommandUser {user}\n"
        "    AuthorizedKeysFile none\n"
        "    AuthenticationMethods publickey\n"
        "    AllowTcpForwarding no\n"
        "    AllowAgentForwarding no\n"
        "    PermitTTY no\n"
        "    AcceptEnv GIT_PROTOCOL\n"
    )


def _put_hook(repository: Path, socket: Path, git: str, *, replace: bool) -> list[str]:
    file = repository / "hooks" / "pre-receive"
    text = hook_text(socket, git)
    found = file.read_text(errors="replace") if file.exists() else ""
    if found == text and os.access(file, os.X_OK):
        return []
    if found and MARK not in found and not replace:
        raise ConflictError(
            "the repository has a pre-receive hook of its own",
            place=str(file),
            todo="move it away, or give --replace, which keeps it beside as pre-receive.before-everproof",
        )
    if found and MARK not in found:
        file.rename(file.with_name("pre-receive.before-everproof"))
    file.parent.mkdir(exist_ok=True)
    aside = file.with_name(".pre-receive.new")
    aside.write_text(text)
    aside.chmod(0o755)
    aside.replace(file)
    return [f"hook: {file}"]


def _configure(repository: Path, git: str) -> list[str]:
    changes = []
    empty = repository / "everproof-no-signers"
    if not empty.exists():
        empty.touch(mode=0o644)
    wanted = {
        "receive.certNonceSeed": None,
        "receive.advertisePushOptions": "true",
        # A hooks path set for the whole account would pass this repository's hook by.
        "core.hooksPath": "hooks",
        # git tries to judge push certificates too; with no signers it does so in silence, and nobody reads its verdict.
        "gpg.ssh.allowedSignersFile": str(empty),
    }
    for name, value in wanted.items():
        present = _git(git, repository, "config", "--local", "--get", name)
        if present and value in (None, present):
            continue
        _git(git, repository, "config", "--local", name, value or secrets.token_hex(SEED_BYTES), check=True)
        changes.append(f"{name} = {value or '(a new secret)'}")
    config = repository / "config"
    mode = stat.S_IMODE(config.stat().st_mode)
    if mode & 0o007:
        # The seed is a secret: whoever knows it can make nonces.
        config.chmod(mode & ~0o007)
        changes.append(f"{config} is closed to others")
    return changes


def _git(git: str, repository: Path, *arguments: str, check: bool = False) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(  # noqa: S603 - git, with arguments of our own
        [git, f"--git-dir={repository}", *arguments], capture_output=True, text=True, check=False, env=environment
    )
    if check and done.returncode != 0:
        raise InputError(f"git {arguments[0]}: {done.stderr.strip()}", place=str(repository))
    return done.stdout.strip()
