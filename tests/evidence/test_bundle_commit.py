"""A bundle from a commit: what whoever can write into the repository, but sign nothing, might try."""

import asyncio
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from everproof.evidence import bundle_commit
from everproof.evidence.bundle_commit import BundleCommit, read_bundle_commit
from everproof.identity.credentials import Credentials
from everproof.identity.directory import Directory
from everproof.identity.proofs import Proofs
from everproof.identity.roster import add_principal, add_ssh_key, disable
from everproof.kernel.errors import InputError, NotFoundError, RefusedError, TooLargeError, UnauthenticatedError
from everproof.kernel.words import Ref
from everproof.storage import Storage
from tests.git.lab import GIT, call, make_key, public_line

ADA = Ref("User", "ada")
FILES = {"policies/own.cedar": b"// ours\n", "everproof.toml": b"", "policies/deep/er.cedar": b"// deeper\n"}


class Source:
    """A repository with one signed bundle, and the people who are known."""

    def __init__(self, folder: Path, storage: Storage) -> None:
        self.folder = folder / "source"
        self.storage = storage
        directory = Directory(storage)
        proofs = Proofs(directory, Credentials(storage, issuer="https://everproof.test"))
        self.identity: Any = SimpleNamespace(directory=directory, proofs=proofs)
        self.key = make_key(folder, "ada")

    def git(self, *arguments: str, stdin: bytes = b"") -> str:
        return call(GIT, "-C", self.folder, *arguments, stdin=stdin).decode().strip()

    def commit(self, *options: str) -> str:
        person = ("-c", "user.name=ada", "-c", "user.email=ada@x.test", "-c", f"user.signingkey={self.key}.pub")
        self.git(*person, "-c", "gpg.format=ssh", "commit", "-q", "-m", "bundle", *options)
        return self.git("rev-parse", "HEAD")

    def put(self, name: str, kind: str, content: bytes) -> None:
        """Put other bytes in an object's place."""
        file = self.folder / ".git/objects" / name[:2] / name[2:]
        file.chmod(0o644)
        file.write_bytes(zlib.compress(b"%s %d\0%s" % (kind.encode(), len(content), content)))

    async def read(self, revision: str = "HEAD") -> BundleCommit:
        return await read_bundle_commit(self.folder, revision, self.identity, self.storage.clock)


@pytest.fixture
async def source(storage: Storage, tmp_path: Path) -> Source:
    source = Source(tmp_path, storage)
    await storage.write(lambda tx: add_principal(tx, ADA, emails=["ada@x.test"]))
    await storage.write(lambda tx: add_ssh_key(tx, ADA, public_line(source.key)))
    call(GIT, "init", "-q", "-b", "main", source.folder)
    for path, content in FILES.items():
        file = source.folder / ".everproof" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    (source.folder / "other").write_bytes(b"not of the bundle")
    source.git("add", "-A")
    source.commit("-S")
    return source


async def test_a_bundle_is_the_files_of_a_signed_commit(source: Source) -> None:
    found = await source.read()
    assert found.files == FILES
    assert found.commit == source.git("rev-parse", "HEAD")
    assert (found.proof.principal.ref, found.proof.kind) == (ADA, "commit-signature")


async def test_an_unsigned_commit_is_no_bundle(source: Source) -> None:
    source.commit("--allow-empty", "--no-gpg-sign")
    with pytest.raises(RefusedError, match="is not signed"):
        await source.read()


async def test_a_file_that_was_put_in_the_place_of_a_signed_one_is_refused(source: Source) -> None:
    """git does not look whether an object is what its name says when it reads one."""
    source.put(
        source.git("rev-parse", "HEAD:.everproof/policies/own.cedar"), "blob", b"permit (principal, action, resource);"
    )
    with pytest.raises(InputError, match="not what its name says"):
        await source.read()


async def test_a_folder_that_was_put_in_the_place_of_a_signed_one_is_refused(source: Source) -> None:
    blob = source.git("hash-object", "-w", "--stdin", stdin=b"permit (principal, action, resource);")
    tree = b"100644 own.cedar\0" + bytes.fromhex(blob)
    source.put(source.git("rev-parse", "HEAD:.everproof/policies"), "tree", tree)
    with pytest.raises(InputError, match="not what its name says"):
        await source.read()


async def test_a_commit_under_refs_replace_changes_nothing(source: Source) -> None:
    signed = source.git("rev-parse", "HEAD")
    (source.folder / ".everproof/policies/own.cedar").write_bytes(b"permit (principal, action, resource);")
    source.git("add", "-A")
    other = source.commit("--no-gpg-sign")
    source.git("update-ref", f"refs/replace/{signed}", other)
    assert (await source.read(signed)).files == FILES


async def test_the_repository_runs_no_command_as_the_server(source: Source, tmp_path: Path) -> None:
    """A partial clone fetches what is missing, by a transport that its own configuration names."""
    ran = tmp_path / "ran"
    for name, value in {
        "core.repositoryformatversion": "1",
        "extensions.partialClone": "origin",
        "remote.origin.promisor": "true",
        "remote.origin.url": f"ext::touch {ran}",
        "protocol.ext.allow": "always",
    }.items():
        source.git("config", name, value)
    with pytest.raises(NotFoundError):
        await source.read("1" * 40)
    assert not ran.exists()


async def test_a_link_in_a_bundle_is_refused(source: Source) -> None:
    (source.folder / ".everproof/link").symlink_to("/etc/passwd")
    source.git("add", "-A")
    source.commit("-S")
    with pytest.raises(InputError, match="plain files"):
        await source.read()


async def test_a_signer_who_is_disabled_while_the_bundle_is_read_proves_nothing(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = asyncio.create_subprocess_exec

    async def slowly(*command: str, **options: Any) -> Any:
        if "cat-file" in command and "blob" in command:
            await source.storage.write(lambda tx: disable(tx, ADA, "left"))
        return await execute(*command, **options)

    monkeypatch.setattr("asyncio.create_subprocess_exec", slowly)
    with pytest.raises(UnauthenticatedError, match="disabled"):
        await source.read()


async def test_a_name_that_is_an_option_or_reaches_elsewhere_names_no_commit(source: Source) -> None:
    for revision in ("--all", "HEAD@{1}", ":/bundle", "HEAD:other", "", "a b", "-"):
        with pytest.raises((InputError, NotFoundError)):
            await source.read(revision)


async def test_attack_a_folder_that_holds_one_folder_a_hundred_times_is_not_read_to_its_end(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three objects, and a hundred million folders for whoever walks through them."""
    blob = source.git("hash-object", "-w", "--stdin", stdin=b"")
    tree = source.git("mktree", stdin=f"100644 blob {blob}\tempty\n".encode())
    for _ in range(4):
        lines = "".join(f"040000 tree {tree}\t{number:03}\n" for number in range(100))
        tree = source.git("mktree", stdin=lines.encode())
    top = source.git("mktree", stdin=f"040000 tree {tree}\t.everproof\n".encode())
    person = ("-c", "user.name=ada", "-c", "user.email=ada@x.test", "-c", f"user.signingkey={source.key}.pub")
    commit = source.git(*person, "-c", "gpg.format=ssh", "commit-tree", "-S", "-m", "bomb", top)
    monkeypatch.setattr(bundle_commit, "MAX_FOLDERS", 20)
    with pytest.raises(TooLargeError, match="folders"):
        await source.read(commit)


async def test_a_folder_that_is_no_repository_is_not_looked_for_above_it(source: Source) -> None:
    """Whoever can write above it would give the server another."""
    below = source.folder / "below"
    below.mkdir()
    with pytest.raises(NotFoundError):
        await read_bundle_commit(below, "HEAD", source.identity, source.storage.clock)


async def test_a_signature_for_something_else_than_git_is_none_of_a_commit(source: Source) -> None:
    """An SSH signature that was made to log in, or over a file, does not sign a policy."""
    raw = call(GIT, "-C", source.folder, "cat-file", "commit", source.git("rev-parse", "HEAD"))
    head, _, message = raw.partition(b"\n\n")
    lines = head.split(b"\n")
    at = next(number for number, line in enumerate(lines) if line.startswith(b"gpgsig "))
    unsigned = b"\n".join(lines[:at]) + b"\n\n" + message
    signed = call("ssh-keygen", "-q", "-Y", "sign", "-n", "file", "-f", source.key, stdin=unsigned)
    armour = signed.strip().replace(b"\n", b"\n ")
    forged = b"\n".join([*lines[:at], b"gpgsig " + armour]) + b"\n\n" + message
    name = source.git("hash-object", "-t", "commit", "-w", "--stdin", stdin=forged)
    with pytest.raises(RefusedError, match="does not hold"):
        await source.read(name)
