import json
from pathlib import Path

import pytest

from everproof.policy import starter_files
from tests.cli.run import Home

MAIN = 'Branch::"shop@refs/heads/main"'


def write(folder: Path, files: dict[str, bytes] | None = None, **changes: str) -> Path:
    for name, content in (starter_files() if files is None else files).items():
        file = folder / ".everproof" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    for name, text in changes.items():
        (folder / ".everproof" / "policies" / f"{name}.cedar").write_text(text)
    return folder


def test_a_good_bundle_is_good_and_its_tests_pass(home: Home, tmp_path: Path) -> None:
    folder = str(write(tmp_path / "b"))
    checked = home.everproof("policy", "check", folder)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout.startswith("good: ")
    tested = home.everproof("policy", "test", folder, "--json")
    assert tested.returncode == 0
    told = json.loads(tested.stdout)
    assert told["failed"] == 0
    assert told["passed"] > 20


def test_every_mistake_of_a_bundle_is_named_with_its_place(home: Home, tmp_path: Path) -> None:
    wrong = (
        '@id("a")\npermit (principal, action, resource) when { principal.colour == 1 };\n@id("b")\npermit (principal'
    )
    folder = str(write(tmp_path / "b", wrong=wrong))
    done = home.everproof("policy", "check", folder)
    assert done.returncode == 2
    assert "policies/wrong.cedar:2:" in done.stderr
    assert "policies/wrong.cedar:4:" in done.stderr
    problems = json.loads(home.everproof("policy", "check", folder, "--json").stdout)["problems"]
    assert len(problems) >= 2
    assert all(one["place"].startswith("policies/wrong.cedar:") for one in problems)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("everproof.toml", b'[doors]\ngit = "obsreve"\n', "everproof.toml: doors[...]: Invalid enum value 'obsreve'"),
        ("everproof.toml", b"[door]\n", "everproof.toml: Object contains unknown field `door`"),
        ("trust/github.toml", b"nonsense", "trust/github.toml: not TOML"),
        (
            "routes/wiki.toml",
            b'origins = ["https://Wiki.example"]\n',
            "routes/wiki.toml:1:13: 'https://Wiki.example' is no",
        ),
        ("elsewhere.cedar", b"", "elsewhere.cedar: a .cedar file outside policies/"),
    ],
)
def test_all_that_rules_is_checked_and_not_the_policies_alone(
    home: Home, tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    folder = write(tmp_path / "b", {**starter_files(), name: content})
    done = home.everproof("policy", "check", str(folder))
    assert done.returncode == 2
    assert said in done.stderr


def test_a_test_that_fails_says_what_was_expected_and_what_is(home: Home, tmp_path: Path) -> None:
    files = starter_files()
    files["policies/git.test.toml"] += (
        b'\n[[test]]\nname = "anyone may push"\nprincipal = \'User::"mallory"\'\naction = "git:push"\n'
        b'resource = \'Branch::"shop@refs/heads/main"\'\nexpect = "allow"\n'
    )
    done = home.everproof("policy", "test", str(write(tmp_path / "b", files)))
    assert done.returncode == 1
    assert "anyone may push  policies/git.test.toml:" in done.stdout
    assert "expected allowed, is denied" in done.stdout
    assert "1 failed" in done.stdout


def test_a_decision_is_explained_by_the_name_of_its_test_or_by_its_parts(home: Home, tmp_path: Path) -> None:
    folder = str(write(tmp_path / "b"))
    named = home.everproof("policy", "explain", "--bundle", folder, "one unsigned commit is one too many")
    assert named.returncode == 1
    assert named.stdout.startswith('denied: User::"alice" git:push Branch::"shop@refs/heads/topic"')
    assert "git/commits-are-signed" in named.stdout
    allowed = home.everproof("policy", "explain", "--bundle", folder, 'Job::"build"', "git:fetch", "app")
    assert (allowed.returncode, allowed.stdout.splitlines()[1]) == (0, "by jobs/fetch-own-source")
    wrong = home.everproof("policy", "explain", "--bundle", folder, "one unsigned commit is one too few")
    assert wrong.returncode == 2
    assert "did you mean 'one unsigned commit is one too many'?" in wrong.stderr


def test_a_change_of_policy_is_told_with_whose_decision_changes(home: Home, tmp_path: Path) -> None:
    home.ssh_key()
    folder = write(tmp_path / "b")
    home.git("init", "-q", at=folder)
    home.git("add", ".", at=folder)
    home.git("commit", "-qm", "first", at=folder)
    same = home.everproof("policy", "diff", "HEAD", at=folder)
    assert (same.returncode, same.stderr) == (0, "")
    (folder / ".everproof/policies/jobs.cedar").write_text(
        '@id("jobs/all")\npermit (principal is Job, action == Action::"git:fetch", resource is Repository);\n'
    )
    for name in ("jobs", "stages"):  # their tests name the policy that is gone
        (folder / f".everproof/policies/{name}.test.toml").unlink()
    done = home.everproof("policy", "diff", "HEAD", ".", at=folder)
    assert done.returncode == 1
    assert "+ jobs/all" in done.stdout
    assert "- jobs/fetch-own-source" in done.stdout
    assert "now allowed  a job does not fetch what belongs to others" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("check", "nowhere"), "name a folder, a branch, a tag or a commit"),
        (("check", "."), "write one with: everproof init"),
        (("explain", "a", "b"), "give the name of a test, or PRINCIPAL ACTION RESOURCE"),
        (("chekc",), "No such command"),
        (("diff",), "Missing argument"),
    ],
)
def test_a_wrong_call_says_what_to_do(home: Home, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    if arguments[0] == "explain":
        arguments = (*arguments, "--bundle", str(write(tmp_path / "b")))
    done = home.everproof("policy", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_link_in_a_bundle_is_refused(home: Home, tmp_path: Path) -> None:
    folder = write(tmp_path / "b")
    (folder / ".everproof/policies/link.cedar").symlink_to("/etc/hostname")
    done = home.everproof("policy", "check", str(folder))
    assert done.returncode == 2
    assert "a bundle is of plain files" in done.stderr
