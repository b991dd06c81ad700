"""Signing with the SSH key that a person signs commits with: by ssh-keygen, so that agents and security keys work."""

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from everproof.kernel.errors import InputError, NotFoundError

USUAL_KEYS: Final = ("id_ed25519", "id_ed25519_sk", "id_ecdsa", "id_ecdsa_sk", "id_rsa")
"""In the order in which ssh itself would rather have them."""

INLINE: Final = "key::"
"""How git's user.signingKey says that a public key itself follows, whose private half an agent has."""

TOUCH_SECONDS: Final = 120
"""How long a person may take to type a passphrase or to touch a security key."""


class SigningKey:
    """A public key, and how ssh-keygen finds its private half: a file of either, or the agent."""

    def __init__(self, public: str, file: Path | None) -> None:
        self.public = public
        self._file = file

    def __repr__(self) -> str:
        return f"SigningKey({self.name})"

    @property
    def name(self) -> str:
        """The file, or the key's comment."""
        return (
            str(self._file) if self._file else self.public.partition(" ")[2].partition(" ")[2] or "a key of the agent"
        )

    def sign(self, message: bytes, namespace: str) -> str:
        """An armoured SSHSIG of ``message`` in ``namespace``; asks for a passphrase or a touch where one is needed.

        Raises:
            NotFoundError: ssh-keygen is not installed.
            InputError: the key could not sign; with ssh-keygen's own words.
        """
        with tempfile.TemporaryDirectory(prefix="everproof-") as folder:
            text = Path(folder) / "challenge"
            text.write_bytes(message)
            file = self._file
            if file is None:
                file = Path(folder) / "key.pub"
                file.write_text(self.public + "\n")
            command = ["ssh-keygen", "-Y", "sign", "-n", namespace, "-f", str(file), str(text)]
            done = run(command)
            signature = text.with_suffix(".sig")
            if done.returncode != 0 or not signature.exists():
                said = done.stderr.strip().splitlines()
                raise InputError(
                    f"could not sign: {said[-1] if said else 'ssh-keygen failed'}",
                    place=self.name,
                    todo="add the key to your agent (ssh-add), or name another with --key",
                )
            return signature.read_text()


def find_key(given: str | None) -> SigningKey:
    """The key that was ``given``, else git's user.signingKey, else the first of the usual files that is there.

    Raises:
        NotFoundError: there is none.
        InputError: what is named is not an SSH key.
    """
    named = given or _configured()
    if named and named.startswith((INLINE, "ssh-", "ecdsa-", "sk-")):
        return SigningKey(named.removeprefix(INLINE).strip(), None)
    if named:
        return _from_file(Path(named).expanduser(), origin="--key" if given else "git config user.signingKey")
    for name in USUAL_KEYS:
        file = Path("~/.ssh").expanduser() / name
        if file.with_name(f"{name}.pub").is_file() or file.is_file():
            return _from_file(file, origin="~/.ssh")
    todo = "make one with: ssh-keygen -t ed25519, or name one with --key"
    raise NotFoundError("no SSH key was found in git's configuration or in ~/.ssh", todo=todo)


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command of OpenSSH's; a passphrase is asked for on the terminal, not on our input.

    Raises:
        NotFoundError: it is not installed.
    """
    try:
        return subprocess.run(  # noqa: S603 - arguments are never a shell's
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=TOUCH_SECONDS,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError as error:
        raise NotFoundError(f"{command[0]} is not installed here", todo="install OpenSSH's client") from error
    except subprocess.TimeoutExpired as error:
        raise InputError(f"{command[0]} waited {TOUCH_SECONDS} s for a passphrase or a touch") from error


def _configured() -> str:
    try:
        done = subprocess.run(
            ["git", "config", "--get", "user.signingKey"],  # noqa: S607 - the caller's own git
            capture_output=True,
            text=True,
            check=False,
        )
        form = subprocess.run(
            ["git", "config", "--get", "gpg.format"],  # noqa: S607 - the caller's own git
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return ""
    # Without gpg.format=ssh the name is one of an OpenPGP key.
    return done.stdout.strip() if form.stdout.strip() == "ssh" else ""


def _from_file(file: Path, *, origin: str) -> SigningKey:
    public = file if file.suffix == ".pub" else file.with_name(f"{file.name}.pub")
    if public.is_file():
        line = public.read_text(errors="replace").strip()
    elif file.is_file():
        done = run(["ssh-keygen", "-y", "-f", str(file)])
        line = done.stdout.strip()
    else:
        raise NotFoundError("there is no such key", place=f"{origin}: {file}", todo="name one with --key")
    if len(line.split(" ")) < 2 or not line.startswith(("ssh-", "ecdsa-", "sk-")):  # noqa: PLR2004 - type and key
        raise InputError("not an SSH key", place=f"{origin}: {file}", todo="name one with --key")
    return SigningKey(line, file)
