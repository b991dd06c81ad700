"""From the name in a clone address to the one bare repository that it means, or to none."""

import re
from pathlib import Path
from typing import Final

import msgspec

from everproof.authorize.facts import entity
from everproof.kernel.errors import InputError, NotFoundError
from everproof.kernel.words import Ref, Resource

MAX_NAME: Final = 200
"""Characters of a repository's name."""

_COMPONENT: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_SPACE: Final = (Ref("Space", "main"),)


class Repository(msgspec.Struct, frozen=True):
    """A bare repository: its name (``team/app``, without ``.git``) and where it lies."""

    name: str
    path: Path

    @property
    def default_branch(self) -> str:
        """The ref that HEAD stands for, which no push can change; empty where HEAD stands for none."""
        text = (self.path / "HEAD").read_text(encoding="utf-8", errors="replace")
        return text.removeprefix("ref:").strip() if text.startswith("ref:") else ""

    @property
    def ref(self) -> Ref:
        """How policy names it."""
        return Ref("Repository", self.name)

    def resource(self) -> Resource:
        """The repository, as something that is asked for."""
        return Resource(
            ref=self.ref, parents=_SPACE, attributes={"name": self.name, "default_branch": _short(self.default_branch)}
        )

    def branch(self, ref: str) -> Resource:
        """One ref of it, as something that is asked for; the branch that HEAD stands for is a protected one."""
        return Resource(
            ref=Ref("Branch", f"{self.name}@{ref}"),
            parents=(self.ref, *_SPACE),
            attributes={
                "name": _short(ref),
                "ref": ref,
                "protected": ref == self.default_branch,
                "repository": entity(self.ref.type, self.ref.id),
            },
        )


class Repositories:
    """The bare repositories under one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def named(self, name: str) -> Repository:
        """The repository that a client asks for, such as ``/team/app.git`` or ``team/app``.

        Raises:
            InputError: the name holds what no name of ours holds (``..``, ``~``, an option, a blank).
            NotFoundError: there is no such bare repository.
        """
        if len(name) > MAX_NAME:
            raise InputError("the repository's name is too long", place="repository")
        plain = name.removeprefix("/").removesuffix("/").removesuffix(".git")
        components = plain.split("/")
        if not all(_COMPONENT.fullmatch(part) and not part.endswith(".git") for part in components):
            raise InputError(
                f"{name!r} is not the name of a repository",
                place="repository",
                todo="name it as in ssh://HOST/team/app.git",
            )
        for path in (self._root / f"{plain}.git", self._root / plain):
            if _is_bare(path):
                return self._inside(plain, path)
        raise NotFoundError(
            f"there is no repository {plain!r} here", todo="check its name, or ask who runs this server"
        )

    def at(self, path: Path) -> Repository:
        """The repository in the folder ``path``, as a hook names it.

        Raises:
            NotFoundError: it is not a bare repository under the root.
        """
        real = path.resolve()
        if not real.is_relative_to(self._root) or not _is_bare(real):
            raise NotFoundError(
                "the hook's repository is not under the folder of the git door",
                place=str(path),
                todo="set git.root in server.toml to the folder that holds the repositories",
            )
        return Repository(str(real.relative_to(self._root)).removesuffix(".git"), real)

    def _inside(self, name: str, path: Path) -> Repository:
        real = path.resolve()
        # A link may lie in a repository's place, but its decision must be that of the repository it leads to.
        if real != path:
            return self.at(real)
        return Repository(name, real)


def _short(ref: str) -> str:
    return ref.removeprefix("refs/heads/")


def _is_bare(path: Path) -> bool:
    return (path / "HEAD").is_file() and (path / "objects").is_dir() and (path / "refs").is_dir()
