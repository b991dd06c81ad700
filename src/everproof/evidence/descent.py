"""Whether one commit comes after another, by the names that the commits themselves have for their parents.

git would answer at once, and by whatever lies in the place of a commit: it does not look whether an object is the one
of its name. So each commit on the way is read and its bytes are held against its name.
"""

import asyncio
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from pathlib import Path
from typing import Final

from everproof.evidence.bundle_commit import environment, git_command
from everproof.evidence.objects import MAX_OBJECT, OID, object_name

MAX_COMMITS: Final = 20_000
"""Commits that are looked at; what has not been found within so many is taken for not being there."""
SECONDS: Final = 15


async def descends(repository: Path, commit: str, ancestor: str) -> bool:
    """Whether ``commit`` is ``ancestor`` or comes after it.

    In doubt it does not: where the history is cut short, longer than `MAX_COMMITS`, or not what its names say.
    """
    if commit == ancestor:
        return True
    if OID.fullmatch(ancestor) is None or OID.fullmatch(commit) is None:
        return False
    process = await asyncio.create_subprocess_exec(
        *git_command(repository, "cat-file", "--batch"),
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
        env=environment(repository),
    )
    try:
        async with asyncio.timeout(SECONDS):
            return await _found(process, commit, ancestor)
    except (TimeoutError, asyncio.IncompleteReadError, ConnectionError, ValueError):
        return False
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _found(process: Process, commit: str, ancestor: str) -> bool:
    seen = {commit}
    todo = deque([commit])
    while todo and len(seen) <= MAX_COMMITS:
        for parent in await _parents(process, todo.popleft()):
            if parent == ancestor:
                return True
            if parent not in seen:
                seen.add(parent)
                todo.append(parent)
    return False


async def _parents(process: Process, oid: str) -> list[str]:
    """The parents of a commit; none where it is not here, or not what its name says."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{oid}\n".encode())
    await process.stdin.drain()
    kind, _, size = (
        (await process.stdout.readuntil(b"\n")).decode("ascii", "replace").strip().partition(" ")[2].partition(" ")
    )
    if not size.isdigit():
        return []
    if int(size) > MAX_OBJECT:
        raise ValueError(oid)
    raw = (await process.stdout.readexactly(int(size) + 1))[:-1]
    if kind != "commit" or object_name("commit", raw, digits=len(oid)) != oid:
        return []
    parents = []
    for line in raw.split(b"\n")[1:]:
        name, _, value = line.partition(b" ")
        if name != b"parent":
            break
        parents.append(value.decode("ascii", "replace"))
    return [one for one in parents if len(one) == len(oid) and OID.fullmatch(one) is not None]
