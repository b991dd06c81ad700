"""The built-in bundle passes its own tests, and every policy of it is decided by one."""

import msgspec
import pytest

from everproof.policy import Engine, TrialRun, diff, load_bundle, run_trials, starter_bundle, starter_files
from everproof.policy.schema import Schema

RUNS = run_trials(Engine(starter_bundle()))


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_of_the_starter(run: TrialRun) -> None:
    assert run.passed, run.text()


def test_every_policy_of_the_starter_decides_a_test() -> None:
    decided = {id_ for run in RUNS for id_ in run.reasons}
    assert {policy.id for policy in starter_bundle().policies} == decided


def test_every_policy_of_the_starter_has_a_title() -> None:
    assert all(policy.title != policy.id for policy in starter_bundle().policies)


def test_every_fact_about_a_push_is_in_the_schema() -> None:
    from datetime import UTC, datetime

    from everproof.evidence import RefEvidence, RefUpdate
    from everproof.kernel.words import Ref

    update = RefUpdate("refs/heads/main", "0" * 40, "1" * 40)
    evidence = RefEvidence(update=update, fast_forward=True, known=False, object_type="commit", commits=(), tag=None)
    facts = evidence.facts(datetime.now(UTC), pusher=Ref("User", "a"), certificate=True)
    schema: Schema = starter_bundle().schema
    assert {fact.name for fact in facts} <= schema.facts


def test_a_failing_test_says_what_came_instead_and_why() -> None:
    files = starter_files()
    files["policies/mine.test.toml"] = b"""
[[test]]
name = "mallory fetches"
principal = 'User::"mallory"'
action = "git:fetch"
resource = 'Repository::"shop"'
expect = "allow"

[[test]]
name = "ada is stopped by the wrong policy"
principal = 'User::"mallory"'
action = "git:fetch"
resource = 'Repository::"shop"'
expect = "deny"
by = "git/commits-are-signed"

[[test]]
name = "denied by mistake"
principal = 'User::"mallory"'
action = "git:fetch"
resource = 'Secret::"shop"'
expect = "deny"
"""
    failed = [run for run in run_trials(Engine(load_bundle(files))) if not run.passed]
    assert [run.problem.partition(":")[0] for run in failed] == [
        "expected allow, but it is denied",
        "expected 'git/commits-are-signed' to decide it, but it is decided by nothing",
        "denied only since it cannot be decided",
    ]
    assert failed[0].text().startswith("FAIL mallory fetches\n     policies/mine.test.toml:3: expected allow")
    assert "user mallory is not in group developers" in failed[0].text()
    assert msgspec.json.encode(failed)


def test_a_diff_shows_policies_by_meaning_and_the_decisions_that_change() -> None:
    before = starter_bundle()
    files = starter_files()
    text = files["policies/git.cedar"].decode()
    text = text.replace("context.commits_bad_signature == 0", "context.commits_bad_signature <= 1")
    text = text.replace("// What follows", "// What comes").replace("Developers read the", "Developers read all")
    files["policies/git.cedar"] = text.encode()
    files["policies/mine.cedar"] = (
        b'@id("mine") permit(principal in Group::"ops", action == Action::"host:login", resource is Host);'
    )
    files["policies/administrators.links.toml"] = files["policies/administrators.links.toml"].replace(
        b"administrators/main", b"admins"
    )
    for path in [path for path in files if path.endswith(".test.toml")]:
        files[path] = files[path].replace(b"administrators/main", b"admins")
    files["trust/github.toml"] = b"x"
    found = diff(before, load_bundle(files))
    assert {change.id: change.what for change in found.policies} == {
        "administrators/main": "removed", "admins": "added", "mine": "added",
        "git/commits-are-signed": "changed", "developers/fetch": "reworded",
    }  # fmt: skip
    assert found.files == ("trust/github.toml",)
    assert not found.schema_changed
    flipped = [change for change in found.decisions if change.before != change.after]
    assert [(change.test, change.after) for change in flipped] == [("a signature that does not hold", True)]
    assert "denied by git/commits-are-signed → allowed by developers/push" in found.text()
    assert diff(before, before).text() == f"0 of {found.requests} requests of the tests are decided otherwise"
