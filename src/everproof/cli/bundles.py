"""Bundles as a person names them: a folder, or a git commit. Nothing here needs a server."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from everproof.kernel.errors import InputError, NotFoundError

if TYPE_CHECKING:
    from everproof.policy import Bundle

FOLDER: Final = ".everproof"
MAX_FILES: Final = 2_000
MAX_BYTES: Final = 16 * 1024 * 1024
"""Of all files together, as the server takes them."""


def load(place: str) -> "Bundle":
    """The bundle at ``place``, checked as the server would: its policies, trust bindings and settings.

    Raises:
        NotFoundError: there is none.
        InputError: what is wrong with it, and where.
    """
    return check(files_at(place))


def check(files: Mapping[str, bytes]) -> "Bundle":
    """The bundle in these files, with everything in it read as the server would.

    Raises:
        InputError: what is wrong with it, and where.
    """
    from everproof.authorize.doors import doors_of
    from everproof.identity.bindings import load_bindings
    from everproof.identity.provider import clients_of
    from everproof.identity.sign_on import read_sign_on
    from everproof.integrations.issuers import issuer_kinds
    from everproof.integrations.sign_on import provider_kinds
    from everproof.policy import Engine, load_bundle
    from everproof.routes import load_routes

    bundle = load_bundle(files)
    Engine(bundle)
    load_bindings(files, issuer_kinds())
    read_sign_on(files, provider_kinds())
    doors_of(files)
    clients_of(files)
    load_routes(files, bundle.schema)
    return bundle


def files_at(place: str) -> dict[str, bytes]:
    """The files of a bundle by their paths within it: those of a folder, else those of a commit.

    Raises:
        NotFoundError: ``place`` is neither, or holds no bundle.
        InputError: it holds what a bundle cannot.
    """
    folder = Path(place)
    if folder.is_dir():
        return files_in(folder)
    if folder.exists():
        raise InputError("not a folder", place=place, todo="name the folder that .everproof/ is in, or a git commit")
    return files_of(place)


def files_in(folder: Path) -> dict[str, bytes]:
    """The files of the bundle in ``folder``, or in its ``.everproof/``.

    Raises:
        NotFoundError: there is none.
        InputError: a file cannot be read, or is a link.
    """
    root = folder / FOLDER if (folder / FOLDER).is_dir() else folder
    if root.name != FOLDER and not (root / "policies").is_dir():
        todo = "write one with: everproof init"
        raise NotFoundError(f"there is no {FOLDER}/ in this folder", place=str(folder), todo=todo)
    files: dict[str, bytes] = {}
    total = 0
    for path in sorted(root.rglob("*")):
        if path.is_symlink():
            raise InputError("a bundle is of plain files", place=str(path), todo="put the file itself there")
        if not path.is_file():
            continue
        try:
            total += path.stat().st_size
            if total > MAX_BYTES or len(files) >= MAX_FILES:
                raise InputError("the bundle is larger than any honest one", place=str(root))
            files[path.relative_to(root).as_posix()] = path.read_bytes()
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", place=str(path)) from error
    return files


def files_of(revision: str, repository: Path | None = None) -> dict[str, bytes]:
    """The files of the bundle in a commit of the repository, by default the one that this folder is in.

    Raises:
        NotFoundError: there is no such commit, or no bundle in it.
        InputError: it holds what a bundle cannot.
    """
    at = repository or Path()
    oid = git(at, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}").decode().strip()
    files: dict[str, bytes] = {}
    for line in git(at, "ls-tree", "-r", "-z", "--full-tree", oid, "--", f"{FOLDER}/").split(b"\0")[:-1]:
        about, _, name = line.partition(b"\t")
        mode, kind, blob = about.decode().split()
        path = name.decode(errors="replace")
        if kind != "blob" or mode == "120000":
            raise InputError("a bundle is of plain files", place=f"{revision}:{path}", todo="put the file itself there")
        files[path.removeprefix(f"{FOLDER}/")] = git(at, "cat-file", "blob", blob)
    if not files:
        raise NotFoundError(f"the commit has no {FOLDER}/", place=revision, todo="write one with: everproof init")
    return files


def git_version() -> str:
    """What git says of itself.

    Raises:
        NotFoundError: it is not installed.
    """
    return git(Path(), "--version").decode()


def git(repository: Path, *arguments: str) -> bytes:
    """What git printed.

    Raises:
        NotFoundError: it knows no such thing; with its own words.
    """
    try:
        done = subprocess.run(  # noqa: S603 - arguments are never a shell's, and revisions stand behind a marker
            ["git", "-C", str(repository), *arguments],  # noqa: S607 - the caller's own git
            capture_output=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise NotFoundError("git is not installed here", todo="install git") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        what = arguments[-1].removesuffix("^{commit}") if arguments[0] == "rev-parse" else ""
        message = said[-1] if said else "neither a folder nor a commit of this repository"
        raise NotFoundError(message, place=what or None, todo="name a folder, a branch, a tag or a commit")
    return done.stdout
