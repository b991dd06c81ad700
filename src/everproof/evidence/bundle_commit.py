"""A policy bundle as a commit has it: the files under ``.everproof/``, and the proof of who signed the commit.

git finds the objects, and no more: that each is the one whose name the signed commit leads to is checked here, since
git does not look when it reads one, and whoever can write into the repository could have put another in its place. The
signature is judged here too, by the directory's keys as of when all has been read.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import msgspec

from everproof.evidence.objects import OID, ObjectType, object_name, parse_commit
from everproof.evidence.signatures import NAMESPACE, verify
from everproof.identity import Identity, sshsig
from everproof.kernel.clock import Clock
from everproof.kernel.errors import InputError, NotFoundError, RefusedError, TooLargeError
from everproof.kernel.words import Proof

FOLDER: Final = ".everproof"
MAX_FILES: Final = 2_000
MAX_BYTES: Final = 16 << 20
"""Of all files together; an organisation's policies are a hundredth of it."""
MAX_DEPTH: Final = 16
"""Folders within folders."""
MAX_FOLDERS: Final = 500
"""Of all: a folder that holds one other a hundred times, and that one again, is small to sign and endless to read."""
SECONDS: Final = 20
"""For one object."""
ALL_SECONDS: Final = 60

_REVISION: Final = re.compile(r"[A-Za-z0-9_./-]{1,200}")
_TREE_ENTRY: Final = re.compile(rb"([0-7]{5,6}) ([^/\0]+)\0")
_FOLDER_MODE: Final = b"40000"
_FILE_MODES: Final = frozenset({b"100644", b"100755", b"100664"})

_ENVIRONMENT: Final = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    # The repository is another account's, perhaps. Where it says that it is a partial clone, git would fetch what is
    # missing, by a command of its choice; no transport is called "none".
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
}


class BundleCommit(msgspec.Struct, frozen=True):
    """A bundle's files by their path under ``.everproof/``, the commit they are from, and its signer's proof."""

    commit: str
    files: dict[str, bytes]
    proof: Proof


async def read_bundle_commit(repository: Path, revision: str, identity: Identity, clock: Clock) -> BundleCommit:
    """The bundle at ``revision`` of the repository, whose commit must be signed by a key that is good now.

    Raises:
        NotFoundError: no such commit, or no bundle in it.
        RefusedError: the commit's signature is not good; with what is wrong with it.
        InputError: the tree holds what no bundle may (links, submodules), or an object is not what its name says.
        TooLargeError: more than any bundle.
    """
    if _REVISION.fullmatch(revision) is None or revision.startswith("-"):
        raise InputError("not the name of a commit", place=revision[:80])
    oid = (
        (await _git(repository, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")).decode().strip()
    )
    raw = await _git(repository, "cat-file", "commit", oid)
    commit = parse_commit(oid, raw)
    verdict = verify(commit.signature, identity.directory, clock.now())
    if verdict.standing != "good" or commit.signature is None:
        raise RefusedError(
            f"commit {oid[:12]} {verdict.why}",
            place=str(repository),
            todo="have the bundle signed by someone whom the ruling bundle lets change it: git commit -S",
        )
    signed = sshsig.verify(commit.signature.armour, commit.signature.payload, namespace=NAMESPACE)
    try:
        async with asyncio.timeout(ALL_SECONDS):
            files = await _files(repository, oid, raw)
    except TimeoutError:
        raise TooLargeError(f"reading the bundle took longer than {ALL_SECONDS} s", place=str(repository)) from None
    # Last, since reading takes its time: the key may have been revoked, or its holder disabled, meanwhile.
    proof = identity.proofs.ssh_key(signed.public_key, kind="commit-signature", at=clock.now())
    return BundleCommit(oid, files, proof)


async def _files(repository: Path, commit: str, raw: bytes) -> dict[str, bytes]:
    root = raw.partition(b"\n")[0].removeprefix(b"tree ").decode("ascii", "replace")
    if len(root) != len(commit) or OID.fullmatch(root) is None:
        raise InputError("the commit has no tree", place=commit[:12])
    top = {name: (mode, oid) for mode, name, oid in _entries(await _object(repository, "tree", root), root)}
    mode, folder = top.get(FOLDER, (b"", ""))
    files: dict[str, bytes] = {}
    total = 0
    if mode == _FOLDER_MODE:
        async for path, blob in _walk(repository, folder, "", [MAX_FOLDERS]):
            if len(files) >= MAX_FILES:
                raise _too_large(commit)
            files[path] = await _object(repository, "blob", blob)
            total += len(files[path])
            if total > MAX_BYTES:
                raise _too_large(commit)
    if not files:
        raise NotFoundError(f"the commit has no {FOLDER}/", place=commit[:12], todo="write one with: everproof init")
    return files


async def _walk(repository: Path, tree: str, above: str, left: list[int]) -> AsyncIterator[tuple[str, str]]:
    """The files under ``tree`` and the names of their blobs. ``left``: how many more folders are read."""
    left[0] -= 1
    if above.count("/") > MAX_DEPTH or left[0] < 0:
        raise TooLargeError("folders within folders, more than in any honest bundle", place=above[:80])
    for mode, name, oid in _entries(await _object(repository, "tree", tree), tree):
        path = above + name
        if mode == _FOLDER_MODE:
            async for found in _walk(repository, oid, f"{path}/", left):
                yield found
        elif mode in _FILE_MODES:
            yield path, oid
        else:
            raise InputError("a bundle is of plain files", place=f"{FOLDER}/{path}", todo="put the file itself there")


def _entries(raw: bytes, oid: str) -> Iterator[tuple[bytes, str, str]]:
    """Mode, name and object of each entry of a tree."""
    at, size = 0, len(oid) // 2
    seen: set[str] = set()
    while at < len(raw):
        match = _TREE_ENTRY.match(raw, at)
        if match is None or match.end() + size > len(raw):
            raise InputError("not a tree of git's", place=oid[:12])
        at = match.end() + size
        name = match[2].decode(errors="replace")
        if name in {".", "..", *seen}:
            raise InputError("a name that stands in no honest tree", place=f"{oid[:12]}: {name[:80]!a}")
        seen.add(name)
        yield match[1], name, raw[match.end() : at].hex()


async def _object(repository: Path, kind: ObjectType, oid: str) -> bytes:
    """The bytes of an object, if they are those that its name is made of."""
    raw = await _git(repository, "cat-file", kind, oid)
    if object_name(kind, raw, digits=len(oid)) != oid:
        raise InputError(
            f"the {kind} {oid[:12]} is not what its name says",
            place=str(repository),
            todo="find out who changed the repository's objects: git fsck",
        )
    return raw


def _too_large(commit: str) -> TooLargeError:
    return TooLargeError("the bundle is larger than any honest one", place=f"{commit[:12]}:{FOLDER}")


def git_command(repository: Path, *arguments: str) -> tuple[str, ...]:
    """git, asked about what lies in ``repository`` and about nothing that was put in its place."""
    # A ref under refs/replace/ would put another tree in the place of the one that was signed.
    return ("git", "--no-replace-objects", "-c", "safe.directory=*", "-C", str(repository), *arguments)


def environment(repository: Path) -> dict[str, str]:
    """What git is run with, and nothing else of this process. It looks for no repository above the one it is given."""
    return {**_ENVIRONMENT, "GIT_CEILING_DIRECTORIES": str(repository.absolute().parent)}


async def _git(repository: Path, *arguments: str) -> bytes:
    process = await asyncio.create_subprocess_exec(
        *git_command(repository, *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(repository),
    )
    try:
        output, said = await asyncio.wait_for(_output(process), SECONDS)
    except TimeoutError:
        raise TooLargeError(f"git took longer than {SECONDS} s", place=str(repository)) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        reason = said.decode(errors="replace").strip().splitlines()
        raise NotFoundError(f"git: {reason[-1] if reason else 'failed'}", place=str(repository))
    return output


async def _output(process: asyncio.subprocess.Process) -> tuple[bytes, bytes]:
    """All that git writes, if it is no more than any bundle."""
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        await process.stdout.readexactly(MAX_BYTES + 1)
    except asyncio.IncompleteReadError as error:
        output = error.partial
    else:
        raise TooLargeError("an object is larger than any honest bundle")
    said = await process.stderr.read()
    await process.wait()
    return output, said
