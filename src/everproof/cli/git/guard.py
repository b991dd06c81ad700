"""`everproof git guard`: the pre-receive hook. It takes what git has in quarantine to the server, and says its answer.

Nothing is judged here. Whatever goes wrong on the way is a refusal: git takes a push only if this ends with 0. Only the
standard library is imported, and only git reads objects: no library sees the quarantine as git does.
"""

import base64
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Final

from everproof.cli.git.socket import UnansweredError, ask, say

MAX_REFS: Final = 1_000
MAX_COMMITS: Final = 5_000
MAX_BYTES: Final = 16 * 1024 * 1024
"""What one push may bring to be judged; at a tenth of a millisecond for a signature, half a second of work."""

_TOO_MUCH: Final = "push in smaller steps; an old history is best brought in before `everproof git install`"
_OID: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_FROM_GIT: Final = ("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_QUARANTINE_PATH")
"""What git tells its hook of the quarantine. Nothing else of the environment is passed on or believed."""


def main(arguments: list[str] | None = None) -> int:
    """Run as ``guard SOCKET GIT``; the exit code is git's answer: 0 takes the push."""
    server, git = (sys.argv[1:] if arguments is None else arguments)[:2]
    try:
        question = _Quarantine(git).describe(sys.stdin.buffer.read(MAX_BYTES))
        answer = ask(server, "/git/push", question)
    except UnansweredError as error:
        return _refuse(str(error), error.todo)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return _refuse(f"what is pushed cannot be read: {error}")
    lines, allowed = answer.get("lines"), answer.get("allowed")
    if not isinstance(lines, list) or not isinstance(allowed, bool):
        return _refuse("the server's answer cannot be read", "tell whoever runs it")
    say(str(line) for line in lines)
    return 0 if allowed else 1


def _refuse(reason: str, todo: str = "") -> int:
    say(["", "everproof refused this push; nothing was changed.", "", f"error: {reason}"])
    say([f"hint: {todo}"] if todo else [])
    return 1


class _Quarantine:
    """The repository as git shows it to its hook: what is there, and what the push would add."""

    def __init__(self, git: str) -> None:
        self._git = git
        self._path = os.path.realpath(os.environ.get("GIT_DIR") or ".")
        self._environment = {name: os.environ[name] for name in _FROM_GIT if name in os.environ} | {
            "GIT_DIR": self._path,
            "PATH": f"{Path(git).parent}:/usr/bin:/bin",
            "LC_ALL": "C",
            # A ref under refs/replace/ would make git show another object under a name.
            "GIT_NO_REPLACE_OBJECTS": "1",
        }

    def describe(self, stdin: bytes) -> dict[str, Any]:
        """The question for the server: which refs go where, and what they bring."""
        updates = [line.split(" ") for line in stdin.decode().split("\n")[:-1]]
        if len(updates) > MAX_REFS:
            raise UnansweredError(f"this push has more than {MAX_REFS} refs", _TOO_MUCH)
        tips = {new for _, new, _ in updates if new.strip("0")}
        fresh = set(self._commits(tips, "--all"))
        aliases = self._aliases([ref for _, _, ref in updates])
        described = [self._update(old, new, ref, fresh) | {"alias": aliases.get(ref, "")} for old, new, ref in updates]
        wanted = {commit for update in described for commit in update["commits"]} | tips
        if len(wanted) > MAX_COMMITS:
            raise UnansweredError(f"this push has more than {MAX_COMMITS} commits to be judged", _TOO_MUCH)
        return {
            "repository": self._path,
            "updates": described,
            "objects": list(self._objects(wanted)),
            "certificate": self._certificate(),
        }

    def _update(self, old: str, new: str, ref: str, fresh: set[str]) -> dict[str, Any]:
        update: dict[str, Any] = {"ref": ref, "old": old, "new": new, "commits": []}
        if not new.strip("0"):
            return update
        # Judged is what is new to this ref, not what is new to the repository: else a commit could be brought in by a
        # branch where anything goes, and then be put on the protected one unseen. A new ref stands on the main branch.
        base = [old] if old.strip("0") else self._head()
        update["commits"] = list(self._commits({new}, *base))
        update["known"] = new not in fresh
        if old.strip("0"):
            update["fast_forward"] = self._run("merge-base", "--is-ancestor", old, new, accept=(0, 1, 128))[0] == 0
        return update

    def _aliases(self, refs: list[str]) -> dict[str, str]:
        """The symbolic ones among ``refs``: a push to one changes another ref, whose policy is the one that counts."""
        _, output = self._run("for-each-ref", "--format=%(refname) %(symref)", *refs)
        pairs = (line.split(" ") for line in output.decode().split("\n")[:-1])
        return {ref: target for ref, target in pairs if target}

    def _head(self) -> list[str]:
        code, output = self._run("rev-parse", "--verify", "--quiet", "HEAD^{commit}", accept=(0, 1, 128))
        return [output.decode().strip()] if code == 0 else []

    def _commits(self, tips: Iterable[str], *without: str) -> Iterator[str]:
        if not (stdin := "".join(f"{tip}\n" for tip in tips)):
            return
        limit = f"--max-count={MAX_COMMITS + 1}"
        _, output = self._run("rev-list", limit, "--stdin", "--not", *without, stdin=stdin.encode())
        yield from output.decode().split()

    def _objects(self, names: set[str]) -> Iterator[dict[str, str]]:
        """The raw commits and tags of these names, and the tags' targets; of trees and blobs, the type alone."""
        total, pending = 0, sorted(names)
        seen = set(pending)
        with subprocess.Popen(  # noqa: S603 - git, by the path that was found at installation
            [self._git, "cat-file", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self._environment
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            while pending:
                name = pending.pop()
                process.stdin.write(f"{name}\n".encode())
                process.stdin.flush()
                kind, raw = _read(process.stdout, name)
                if kind not in ("commit", "tag"):
                    yield {"oid": name, "type": kind}
                    continue
                total += len(raw)
                if total > MAX_BYTES:
                    raise UnansweredError(f"this push has more than {MAX_BYTES >> 20} MiB of commits", _TOO_MUCH)
                yield {"oid": name, "type": kind, "raw": base64.b64encode(raw).decode()}
                if kind == "tag":
                    target = raw.partition(b"\n")[0].removeprefix(b"object ").decode("ascii")
                    pending.extend({target} - seen)
                    seen.add(target)

    def _certificate(self) -> str | None:
        """The push certificate. Only its name is from the environment; the server judges what it finds there."""
        name = os.environ.get("GIT_PUSH_CERT", "")
        if not name.strip("0"):
            return None
        if not _OID.fullmatch(name):
            raise ValueError("GIT_PUSH_CERT does not name an object")
        return base64.b64encode(self._run("cat-file", "blob", name)[1]).decode()

    def _run(self, *arguments: str, stdin: bytes = b"", accept: tuple[int, ...] = (0,)) -> tuple[int, bytes]:
        done = subprocess.run(  # noqa: S603 - git, by the path that was found at installation
            [self._git, *arguments], input=stdin, capture_output=True, check=False, env=self._environment
        )
        if done.returncode not in accept:
            raise ValueError(f"git {arguments[0]} says: {done.stderr.decode(errors='replace').strip()[:200]}")
        return done.returncode, done.stdout


def _read(stream: IO[bytes], name: str) -> tuple[str, bytes]:
    head = stream.readline().decode().split()
    if len(head) != 3:  # noqa: PLR2004 - "NAME missing", or git is gone
        raise ValueError(f"git has no object {name[:12]}")
    size = int(head[2])
    if size > MAX_BYTES and head[1] in ("commit", "tag"):
        raise UnansweredError(f"this push has a {head[1]} of more than {MAX_BYTES >> 20} MiB", _TOO_MUCH)
    left, parts = size + 1, []
    while left:
        part = stream.read(min(left, 1 << 20))
        if not part:
            raise ValueError(f"git ended within object {name[:12]}")
        parts.append(part if head[1] in ("commit", "tag") else b"")
        left -= len(part)
    return head[1], b"".join(parts)[:-1]


if __name__ == "__main__":
    raise SystemExit(main())
