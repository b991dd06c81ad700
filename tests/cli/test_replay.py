"""`everproof policy replay` and `policy apply` against a real server: whom a change would have locked out."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from everproof.policy import starter_files
from tests.cli.run import Home
from tests.cli.server import Server


def folder(at: Path, **changes: str) -> Path:
    """The starter bundle with files of its own, in a folder; ``policies__x.cedar`` stands for policies/x.cedar."""
    for path, content in starter_files().items():
        file = at / ".everproof" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    for name, text in changes.items():
        file = at / ".everproof" / name.replace("__", "/").replace("_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return at


LOCKOUT = """
@id("ledger/auditors")
@title("Only auditors read the ledger")
forbid (principal, action == Action::"ledger:read", resource) unless { principal in Group::"auditors" };
"""


def replayed(home: Home, *arguments: str) -> tuple[int, Any]:
    done = home.everproof("policy", "replay", "--json", *arguments)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def source_at(short_folder: Path) -> Path:
    """Where the bundle's repository lies."""
    return short_folder / "policy"


@pytest.fixture(scope="module")
def server(short_folder: Path, source_at: Path) -> Iterator[Server]:
    server = Server(short_folder / "state", f'[bundle]\nrepository = "{source_at}"\n')
    yield server
    server.stop()


@pytest.fixture(scope="module")
def asked(ada: Home) -> Home:
    """Ada has read the ledger twice, and asked for something that she may not do."""
    for _ in range(2):
        assert ada.everproof("ledger", "tail").returncode == 0
    assert ada.everproof("ask", "git:push", "shop@refs/heads/main").returncode == 1
    return ada


def test_the_bundle_that_decided_decides_the_same_byte_for_byte(asked: Home, server: Server, tmp_path: Path) -> None:
    done = asked.everproof("policy", "replay", "--with", str(folder(tmp_path)), "--state", str(server.state))
    assert done.returncode == 0, done.stderr
    decided = int(done.stdout.partition(" decisions of the last 30d decided again")[0])
    assert decided > 4
    assert (
        f"answered as before: {decided}\ndecided by this very bundle: {decided} came out byte for byte" in done.stdout
    )


def test_whoever_would_be_locked_out_is_named_with_an_example(asked: Home, server: Server, tmp_path: Path) -> None:
    at = folder(tmp_path, policies__lock_cedar=LOCKOUT)
    code, told = replayed(asked, "--with", str(at), "--state", str(server.state))
    [group] = told["findings"]["groups"]
    assert (code, group["turn"], group["how"], group["policies"]) == (1, "denied", "forbidden", ["ledger/auditors"])
    assert (group["principal"], group["count"]) == ({"type": "User", "id": "ada"}, 2)
    assert group["example"]["action"] == "ledger:read"


def test_it_is_replayed_from_afar_by_who_may_read_the_ledger(asked: Home, tmp_path: Path) -> None:
    code, told = replayed(asked, "--with", str(folder(tmp_path, policies__lock_cedar=LOCKOUT)))
    assert code == 1
    assert {group["principal"]["id"] for group in told["findings"]["groups"]} == {"ada"}


def test_a_span_that_is_none_is_refused_with_how_to_write_it(asked: Home, tmp_path: Path) -> None:
    done = asked.everproof("policy", "replay", "--with", str(folder(tmp_path)), "--since", "yesterday")
    assert done.returncode == 2
    assert "30d" in done.stderr


class Source:
    """The bundle's repository, and who signs in it."""

    def __init__(self, at: Path, home: Home) -> None:
        self.at = at
        self.home = home
        at.mkdir(parents=True, exist_ok=True)
        home.git("init", "-q", str(at))

    def commit(self, **changes: str) -> str:
        folder(self.at, **changes)
        self.home.git("add", "-A", at=self.at)
        self.home.git("commit", "-q", "--allow-empty", "-S", "-m", "policy", at=self.at)
        return self.home.git("rev-parse", "HEAD", at=self.at).strip()

    def apply(self, *arguments: str) -> tuple[int, str, str]:
        done = self.home.everproof("policy", "apply", *arguments)
        return done.returncode, done.stdout, done.stderr


def test_a_lockout_is_refused_at_apply_with_whom_it_locks_out(asked: Home, source_at: Path) -> None:
    source = Source(source_at, asked)
    locking = source.commit(policies__lock_cedar=LOCKOUT)
    code, said, wrong = source.apply("HEAD")
    assert code == 1
    assert 'User::"ada"  forbidden: ledger/auditors' in said
    assert "would have denied" in wrong
    assert "--despite" in wrong
    code, said, wrong = source.apply("HEAD", "--despite")
    assert (code, wrong) == (0, "")
    assert f"rules now: {locking}" in said
    code, said, wrong = source.apply("HEAD", "--at-most", "many")
    assert code == 2
    assert "no bound" in wrong
