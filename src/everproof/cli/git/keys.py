"""`everproof git authorized-keys`: sshd asks which key may log in, and to do what: `git serve`, and nothing else.

Only the standard library is imported.
"""

import re
import shlex
import sys
from typing import Final

from everproof.cli.git.socket import UnansweredError, ask

_KEY_TYPE: Final = re.compile(r"[a-z0-9@.-]{1,64}")
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{40,4096}={0,2}")


def main(arguments: list[str] | None = None) -> int:
    """Run as ``authorized-keys SOCKET GIT USER TYPE KEY``; prints one line of authorized_keys, or nothing.

    Nothing, too, where the server cannot be asked: sshd then refuses the key.
    """
    server, git, user, kind, key = (sys.argv[1:] if arguments is None else arguments)[:5]
    if not _KEY_TYPE.fullmatch(kind) or not _KEY.fullmatch(key):
        return 1
    try:
        answer = ask(server, "/git/key", {"user": user, "key": key})
    except UnansweredError as error:
        print(f"everproof: {error}", file=sys.stderr)
        return 1
    if answer.get("known") is True:
        print(f"restrict,command={_quoted(forced_command(server, git, key))} {kind} {key}")
    return 0


def forced_command(server: str, git: str, key: str) -> str:
    """The shell command that a session with ``key`` (the public key, base64) runs whatever its client asks for."""
    return shlex.join([sys.executable, "-I", "-m", "everproof.cli.git.serve", server, git, key])


def _quoted(command: str) -> str:
    # authorized_keys knows one escape inside its quotes, that of the quote itself (sshd(8)).
    return '"' + command.replace('"', '\\"') + '"'


if __name__ == "__main__":
    raise SystemExit(main())
