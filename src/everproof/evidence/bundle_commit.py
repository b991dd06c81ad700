"""A policy bundle as a commit has it: the files under ``.everproof/``, and the proof of who signed the commit.

git reads the objects; the signature is judged here, by the directory's keys as of now.
"""

import asyncio
import re
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from everproof.evidence.objects import parse_commit
from everproof.evidence.signatures import NAMESPACE, verify
from everproof.identity import Identity, sshsig
from everproof.kernel.errors import InputError, NotFoundError, RefusedError, TooLargeError
from everproof.kernel.words import Proof

FOLDER: Final = ".everproof/"
MAX_FILES: Final = 2_000
MAX_BYTES: Final = 16 << 20
"""Of all files together; an organisation's policies are a hundredth of it."""
SECONDS: Final = 20

_REVISION: Final = re.compile(r"[A-Za-z0-9_./-]{1,200}")
_TREE_LINE: Final = re.compile(rb"(\d{6}) (\w+) ([0-9a-f]{40,64}) +(\d+|-)\t(.+)", re.DOTALL)


class BundleCommit(msgspec.Struct, frozen=True):
    """A bundle's files by their path under ``.everproof/``, the commit they are from, and its signer's proof."""

    commit: str
    files: dict[str, bytes]
    proof: Proof


async def read_bundle_commit(repository: Path, revision: str, identity: Identity, at: datetime) -> BundleCommit:
    """The bundle at ``revision`` of the repository, whose commit must be signed by a key that is good at ``at``.

    Raises:
        NotFoundError: no such commit, or no bundle in it.
        RefusedError: the commit's signature is not good; with what is wrong with it.
        InputError: the tree holds what no bundle may (links, submodules).
        TooLargeError: more than any bundle.
    """
    if _REVISION.fullmatch(revision) is None or revision.startswith("-"):
        raise InputError("not the name of a commit", place=revision[:80])
    oid = (
        (await _git(repository, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")).decode().strip()
    )
    commit = parse_commit(oid, await _git(repository, "cat-file", "commit", oid))
    verdict = verify(commit.signature, identity.directory, at)
    if verdict.standing != "good" or commit.signature is None:
        raise RefusedError(
            f"commit {oid[:12]} {verdict.why}",
            place=str(repository),
            todo="have the bundle signed by someone whom the ruling bundle lets change it: git commit -S",
        )
    signed = sshsig.verify(commit.signature.armour, commit.signature.payload, namespace=NAMESPACE)
    proof = identity.proofs.ssh_key(signed.public_key, kind="commit-signature", at=at)
    return BundleCommit(oid, await _files(repository, oid), proof)


async def _files(repository: Path, oid: str) -> dict[str, bytes]:
    listed = await _git(repository, "ls-tree", "-r", "-z", "--long", "--full-tree", oid, "--", FOLDER)
    files: dict[str, bytes] = {}
    total = 0
    for line in listed.split(b"\0")[:-1]:
        match = _TREE_LINE.fullmatch(line)
        assert match is not None, "git ls-tree has another form"
        mode, kind, blob, size, name = match.groups()
        path = name.decode(errors="replace")
        if kind != b"blob" or mode == b"120000":
            raise InputError("a bundle is of plain files", place=f"{oid[:12]}:{path}", todo="put the file itself there")
        total += int(size)
        if total > MAX_BYTES or len(files) >= MAX_FILES:
            raise TooLargeError("the bundle is larger than any honest one", place=f"{oid[:12]}:{FOLDER}")
        files[path.removeprefix(FOLDER)] = await _git(repository, "cat-file", "blob", blob.decode())
    if not files:
        raise NotFoundError(f"the commit has no {FOLDER}", place=oid[:12], todo="write one with: everproof init")
    return files


async def _git(repository: Path, *arguments: str) -> bytes:
    # No configuration but the repository's own object store is wanted: nothing in it may run anything.
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}
    process = await asyncio.create_subprocess_exec(
        # A ref under refs/replace/ would put another tree in the place of the one that was signed.
        *("git", "--no-replace-objects", "-c", "safe.directory=*", "-C", str(repository), *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    try:
        output, said = await asyncio.wait_for(process.communicate(), SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise TooLargeError(f"git took longer than {SECONDS} s", place=str(repository)) from None
    if process.returncode != 0:
        reason = said.decode(errors="replace").strip().splitlines()
        raise NotFoundError(f"git: {reason[-1] if reason else 'failed'}", place=str(repository))
    return output
