import stat
import subprocess
from pathlib import Path

import pytest

from everproof.cli.git.install import install, sshd_configuration
from everproof.cli.git.keys import forced_command, main
from everproof.kernel.errors import ConflictError, InputError
from tests.git.lab import GIT, Lab


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    path = tmp_path / "app.git"
    subprocess.run([GIT, "init", "-q", "--bare", str(path)], check=True)
    return path


def setting(repository: Path, name: str) -> str:
    return subprocess.run(
        [GIT, "--git-dir", repository, "config", "--get", name], capture_output=True, text=True, check=False
    ).stdout.strip()


def test_install_sets_up_and_the_second_time_changes_nothing(bare: Path, tmp_path: Path) -> None:
    assert install(bare, tmp_path / "everproof.sock", GIT)
    hook, seed = bare / "hooks" / "pre-receive", setting(bare, "receive.certNonceSeed")
    assert hook.stat().st_mode & stat.S_IXUSR
    assert len(seed) == 64
    assert setting(bare, "receive.advertisePushOptions") == "true"
    assert (bare / "config").stat().st_mode & 0o007 == 0
    assert install(bare, tmp_path / "everproof.sock", GIT) == []
    assert setting(bare, "receive.certNonceSeed") == seed


def test_install_follows_a_state_folder_that_moved(bare: Path, tmp_path: Path) -> None:
    install(bare, tmp_path / "one.sock", GIT)
    assert install(bare, tmp_path / "two.sock", GIT) == [f"hook: {bare}/hooks/pre-receive"]


def test_hook_of_someone_else_is_not_overwritten_unasked(bare: Path, tmp_path: Path) -> None:
    hook = bare / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\n")
    with pytest.raises(ConflictError, match="hook of its own"):
        install(bare, tmp_path / "s", GIT)
    install(bare, tmp_path / "s", GIT, replace=True)
    assert (bare / "hooks" / "pre-receive.before-everproof").read_text() == "#!/bin/sh\n"


def test_folder_that_is_not_a_bare_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="bare"):
        install(tmp_path, tmp_path / "s", GIT)


def test_hooks_path_of_the_whole_account_does_not_pass_the_hook_by(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    (lab.home / ".gitconfig").write_text(f"[core]\n\thooksPath = {tmp_path}/elsewhere\n")
    path = lab.repository()
    assert setting(path, "core.hooksPath") == "hooks"


def test_forced_command_and_sshd_lines_survive_hard_paths() -> None:
    command = forced_command('/srv/it\'s "here"/everproof.sock', "/usr/bin/git", "AAAA")
    said = subprocess.run(["sh", "-c", f'printf "%s\\n" {command}'], capture_output=True, text=True, check=True).stdout
    assert '/srv/it\'s "here"/everproof.sock' in said.splitlines()
    assert "AuthorizedKeysFile none" in sshd_configuration("git", Path("/s/everproof.sock"), "/usr/bin/git")


@pytest.mark.parametrize("key", ["", 'AAAA\' command="sh"', "AAAA\nssh-rsa AAAA", "A" * 5000])
def test_key_that_is_none_gets_no_line(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["/nowhere", GIT, "git", "ssh-ed25519", key]) == 1
    assert capsys.readouterr().out == ""
