"""`everproof git serve`: the one command that sshd lets a key run. It asks the server, then becomes git by exec.

By exec, because the process that the server saw asking is then the one whose hook it will be asked by
(everproof.server.git.sessions). Only the standard library is imported.
"""

import os
import pwd
import re
import sys
from pathlib import Path
from typing import Final

from everproof.cli.git.socket import UnansweredError, ask, say

_COMMAND: Final = re.compile(r"git[- ](?P<service>[a-z-]{1,20}) (?P<quote>'?)(?P<path>[^'\\!\s]{1,200})(?P=quote)")
"""What git's clients send: the service and one path, quoted for a shell that is never run."""
_SERVICES: Final = ("upload-pack", "receive-pack")
_PROTOCOL: Final = re.compile(r"version=[0-2]")


def main(arguments: list[str] | None = None) -> int:  # noqa: RET503 - exec does not return
    """Run as ``serve SOCKET GIT KEY`` with the client's wish in ``SSH_ORIGINAL_COMMAND``; returns only a refusal."""
    server, git, key = (sys.argv[1:] if arguments is None else arguments)[:3]
    try:
        service, path = read_command(os.environ.get("SSH_ORIGINAL_COMMAND", ""))
        answer = ask(server, "/git/session", {"key": key, "service": service, "repository": path})
    except UnansweredError as error:
        say(["", "everproof refused this; nothing was changed.", "", f"error: {error}"])
        say([f"hint: {error.todo}", ""] if error.todo else [""])
        return 1
    lines, folder = answer.get("lines"), answer.get("path")
    say(map(str, lines) if isinstance(lines, list) else ["everproof refused this: the server's answer cannot be read"])
    if not isinstance(lines, list) or answer.get("allowed") is not True or not isinstance(folder, str):
        return 1
    os.execve(git, [git, service, folder], _environment(git))  # noqa: S606 - git, by the path found at installation


def read_command(command: str) -> tuple[str, str]:
    """The service and the path that an SSH client asks for.

    The path is a name to be looked up: it reaches neither a shell nor git, which is given the server's own path.

    Raises:
        UnansweredError: it is not what git's clients send to fetch or push.
    """
    if not command:
        raise UnansweredError("your key is known here, but this account gives no shell", "use git: clone, fetch, push")
    found = _COMMAND.fullmatch(command)
    if found is None or found["service"] not in _SERVICES or found["path"].startswith("-"):
        raise UnansweredError("this account answers git fetch and git push, and nothing else")
    return found["service"], found["path"]


def _environment(git: str) -> dict[str, str]:
    """A clean one: AcceptEnv may have let anything in, and git obeys dozens of variables."""
    account = pwd.getpwuid(os.getuid())
    environment = {
        "PATH": f"{Path(git).parent}:/usr/bin:/bin",
        "HOME": account.pw_dir,
        "USER": account.pw_name,
        "LC_ALL": "C.UTF-8",
    }
    protocol = os.environ.get("GIT_PROTOCOL", "")
    if _PROTOCOL.fullmatch(protocol):
        environment["GIT_PROTOCOL"] = protocol
    return environment


if __name__ == "__main__":
    raise SystemExit(main())
