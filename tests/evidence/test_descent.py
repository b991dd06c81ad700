"""Whether one commit comes after another, told by what the commits say and by nothing that lies in their place."""

import zlib
from pathlib import Path

import pytest

from everproof.evidence import descent
from everproof.evidence.descent import descends
from tests.git.lab import GIT, call


class History:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        call(GIT, "init", "-q", "-b", "main", folder)

    def git(self, *arguments: str) -> str:
        person = ("-c", "user.name=ada", "-c", "user.email=ada@x.test")
        return call(GIT, "-C", self.folder, *person, *arguments).decode().strip()

    def commit(self, message: str = "more") -> str:
        self.git("commit", "-q", "--allow-empty", "--no-gpg-sign", "-m", message)
        return self.git("rev-parse", "HEAD")

    def put(self, name: str, content: bytes) -> None:
        """Put other bytes in a commit's place."""
        file = self.folder / ".git/objects" / name[:2] / name[2:]
        file.chmod(0o644)
        file.write_bytes(zlib.compress(b"commit %d\0%s" % (len(content), content)))


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "history")


async def test_a_commit_comes_after_those_it_is_made_on_and_after_no_other(history: History) -> None:
    first, second = history.commit("1"), history.commit("2")
    history.git("checkout", "-q", "-b", "side", first)
    side = history.commit("side")
    history.git("checkout", "-q", "main")
    history.git("merge", "-q", "--no-ff", "--no-gpg-sign", "-m", "both", "side")
    merged = history.git("rev-parse", "HEAD")
    for commit, ancestor in ((second, first), (merged, side), (merged, second), (merged, first), (first, first)):
        assert await descends(history.folder, commit, ancestor)
    for commit, ancestor in ((first, second), (side, second), (second, merged)):
        assert not await descends(history.folder, commit, ancestor)


async def test_what_is_no_commit_comes_after_nothing(history: History) -> None:
    first = history.commit()
    for other in ("", "main", "0" * 40, "--all", "0" * 64, first[:12], f"{first}\n{first}"):
        assert not await descends(history.folder, first, other)
        assert not await descends(history.folder, other, first)
    assert not await descends(history.folder / "nowhere", first, "1" * 40)


async def test_attack_an_old_commit_is_given_other_parents(history: History) -> None:
    """Whoever can write into the repository, and signs nothing, makes the old one seem to come after the new one."""
    old = history.commit("old")
    ruling = history.commit("ruling")
    tree = history.git("rev-parse", f"{old}^{{tree}}")
    person = "ada <ada@x.test> 1700000000 +0000"
    forged = f"tree {tree}\nparent {ruling}\nauthor {person}\ncommitter {person}\n\nold\n".encode()

    replacement = history.git("commit-tree", tree, "-p", ruling, "-m", "old")
    history.git("update-ref", f"refs/replace/{old}", replacement)
    call(GIT, "-C", history.folder, "merge-base", "--is-ancestor", ruling, old)  # git believes it
    assert not await descends(history.folder, old, ruling)
    history.git("update-ref", "-d", f"refs/replace/{old}")

    (history.folder / ".git/info").mkdir(exist_ok=True)
    (history.folder / ".git/info/grafts").write_text(f"{old} {ruling}\n")
    assert not await descends(history.folder, old, ruling)

    history.put(old, forged)
    assert not await descends(history.folder, old, ruling)


async def test_attack_a_name_in_the_message_is_no_parent(history: History) -> None:
    ruling = history.commit("ruling")
    history.git("checkout", "-q", "--orphan", "other")
    other = history.commit(f"parent {ruling}\n\nparent {ruling}")
    assert not await descends(history.folder, other, ruling)


async def test_a_history_without_end_is_not_walked_for_ever(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    first = history.commit()
    last = [history.commit() for _ in range(4)][-1]
    assert await descends(history.folder, last, first)
    monkeypatch.setattr(descent, "MAX_COMMITS", 3)
    assert not await descends(history.folder, last, first)


async def test_a_history_that_is_cut_short_ends_there(history: History, tmp_path: Path) -> None:
    first = history.commit()
    history.commit()
    last = history.commit()
    shallow = tmp_path / "shallow"
    call(GIT, "clone", "-q", "--depth", "1", f"file://{history.folder}", shallow)
    assert not await descends(shallow, last, first)
