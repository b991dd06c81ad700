import json
from pathlib import Path

import pytest

from tests.cli.run import Home

IDS = ("--repository-id", "74", "--owner-id", "65")


@pytest.fixture
def repository(home: Home, tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    home.git("init", "-q", at=folder)
    home.git("remote", "add", "origin", "git@github.com:acme/shop.git", at=folder)
    return folder


def test_what_init_writes_checks_and_its_tests_pass(home: Home, repository: Path) -> None:
    done = home.everproof("init", *IDS, at=repository)
    assert (done.returncode, done.stderr) == (0, "")
    checked = home.everproof("policy", "check", "--json", at=repository)
    assert json.loads(checked.stdout)["trust"] == 1
    assert home.everproof("policy", "test", at=repository).returncode == 0
    assert 'git = "observe"' in (repository / ".everproof/everproof.toml").read_text()


def test_trust_goes_by_numbers_and_never_by_names(home: Home, repository: Path) -> None:
    without = home.everproof("init", at=repository, PATH="/usr/bin:/bin")
    assert without.returncode == 0
    trust = repository / ".everproof/trust"
    assert [file.name for file in trust.iterdir()] == ["github.toml.example"]
    assert "GITHUB_REPOSITORY_OWNER_ID" in (trust / "github.toml.example").read_text()
    assert json.loads(home.everproof("policy", "check", "--json", at=repository).stdout)["trust"] == 0
    named = home.everproof("init", "--repository-id", "shop", "--owner-id", "acme", at=repository)
    assert named.returncode == 2
    assert "must be a number" in named.stderr
    in_a_job = home.everproof("init", at=repository, GITHUB_REPOSITORY_ID="74", GITHUB_REPOSITORY_OWNER_ID="65")
    assert in_a_job.returncode == 0
    assert 'repository_id = "74"' in (trust / "github.toml").read_text()


def test_what_is_there_is_never_overwritten(home: Home, repository: Path) -> None:
    mine = repository / ".everproof/policies/mine.cedar"
    mine.parent.mkdir(parents=True)
    mine.write_text('@id("mine") permit (principal, action, resource);')
    done = home.everproof("init", *IDS, at=repository)
    assert done.returncode == 0
    assert [file.name for file in mine.parent.iterdir()] == ["mine.cedar"]
    before = {file: file.read_bytes() for file in (repository / ".everproof").rglob("*") if file.is_file()}
    again = home.everproof("init", "--repository-id", "1", "--owner-id", "2", at=repository)
    assert "kept" in again.stdout
    assert before == {file: file.read_bytes() for file in (repository / ".everproof").rglob("*") if file.is_file()}


def test_a_folder_without_a_repository_is_told_how_to_begin(home: Home, tmp_path: Path) -> None:
    done = home.everproof("init", str(tmp_path))
    assert done.returncode == 2
    assert "git init" in done.stderr
    assert not (tmp_path / ".everproof").exists()


def test_a_repository_at_gitlab_and_jenkins_trusts_by_what_does_not_change(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    home.git("init", "-q", at=folder)
    home.git("remote", "add", "origin", "git@gitlab.acme.example:acme/web/shop.git", at=folder)
    (folder / ".gitlab-ci.yml").touch()
    (folder / "Jenkinsfile").touch()
    job = "https://jenkins.acme.example/job/shop/job/main/"
    without = home.everproof("init", at=folder, JOB_URL=job)
    assert "trust/gitlab.toml.example says what is missing" in without.stdout
    trust = folder / ".everproof/trust"
    assert {file.name for file in trust.iterdir()} == {"gitlab.toml.example", "jenkins.toml"}
    assert "gitlab.acme.example/api/v4/projects/acme%2Fweb%2Fshop" in (trust / "gitlab.toml.example").read_text()
    (trust / "gitlab.toml.example").rename(trust / "gitlab.toml")
    unfilled = home.everproof("policy", "check", at=folder)
    assert unfilled.returncode != 0
    assert "must be a number" in unfilled.stderr + unfilled.stdout
    (trust / "gitlab.toml").unlink()
    named = home.everproof("init", "--id", "project_id=shop", at=folder)
    assert "names can change hands" in named.stderr
    done = home.everproof("init", "--id", "project_id=20", "--id", "namespace_id=72", at=folder)
    assert done.returncode == 0
    assert json.loads(home.everproof("policy", "check", "--json", at=folder).stdout)["trust"] == 2
