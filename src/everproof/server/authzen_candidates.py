"""What a search looks through: everything of a type that this server knows of, and no more.

Principals are those on record; jobs are on no record, so none is found. Resources are what this server itself has
(repositories, its bundle, its ledger), what the ruling bundle names, and whatever the caller proposes: nobody keeps a
list of all secrets or routes here.
"""

import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

from everproof.identity import Directory
from everproof.kernel.words import Ref
from everproof.policy import Bundle

PRINCIPALS: Final = frozenset({"User", "Service", "Machine", "Device", "Job"})
MAX_FOLDERS: Final = 20_000
"""Folders that are looked into for repositories."""
DEPTH: Final = 4

_OWN: Final = {"Bundle": "organisation", "Ledger": "organisation", "Server": "organisation", "Identity": "organisation"}


class Candidates:
    """Everything that is known of a type, by its id."""

    def __init__(
        self, directory: Directory, bundle: Callable[[], Bundle], *, issuer: str, repositories: Path | None
    ) -> None:
        self._directory = directory
        self._bundle = bundle
        self._issuer = issuer
        self._repositories = repositories
        self._named: tuple[str, dict[str, set[str]]] = ("", {})

    def principals(self, type_: str) -> list[str]:
        """The ids of those on record, disabled ones too: what they may is asked of each."""
        return [record.ref.id for record in self._directory.records() if record.ref.type == type_]

    def resources(self, type_: str) -> list[str]:
        """The ids of the resources of a type. Looks at the disk: call it in a thread."""
        found = set(self._named_in_policy().get(type_, ()))
        if type_ in PRINCIPALS:
            found.update(self.principals(type_))
        if type_ in _OWN:
            found.add(_OWN[type_])
        if type_ == "Audience":
            found.add(self._issuer)
        if type_ == "Repository" and self._repositories is not None:
            found.update(_repositories(self._repositories))
        return list(found)

    def actions(self, principal: str, resource: str) -> list[str]:
        """The names of the actions that a principal of one type may be allowed on a resource of another at all."""
        actions = self._bundle().schema.types.actions.values()
        return [one.name for one in actions if principal in one.principals and resource in one.resources]

    def _named_in_policy(self) -> dict[str, set[str]]:
        bundle = self._bundle()
        digest, named = self._named
        if digest != bundle.digest:
            named = {}
            for policy in bundle.policies:
                for ref in _entities(policy.est):
                    named.setdefault(ref.type, set()).add(ref.id)
            self._named = bundle.digest, named
        return named


def _entities(est: Any) -> Iterator[Ref]:
    """Every entity that a policy names, in its scope or its conditions."""
    todo = [est]
    while todo:
        one = todo.pop()
        if isinstance(one, list):
            todo += one
        elif isinstance(one, dict):
            if one.keys() == {"type", "id"} and isinstance(one["type"], str) and isinstance(one["id"], str):
                yield Ref(one["type"], one["id"])
            else:
                todo += one.values()


def _repositories(root: Path) -> Iterator[str]:
    """The names of the bare repositories under a folder; links are not followed."""
    for folder, below, files in islice(os.walk(root), MAX_FOLDERS):
        if "HEAD" in files and "objects" in below and "refs" in below:
            yield os.path.relpath(folder, root).removesuffix(".git")
            below.clear()
        elif os.path.relpath(folder, root).count(os.sep) >= DEPTH:
            below.clear()
        below[:] = [name for name in below if not name.startswith(".")]
