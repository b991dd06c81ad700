"""A step as a runner runs it, against a real server: what it gets, what it is told, what is on record."""

import json
import os
import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.delivery.site import Site

pytestmark = pytest.mark.skipif(os.uname().sysname != "Linux", reason="steps are held together on Linux alone")


def test_a_step_runs_with_little_else_than_its_own_credential(site: Site) -> None:
    done = site.run("env")
    assert done.returncode == 0, done.stderr
    given = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert {name for name in given if not name.startswith("LC_")} == {
        "PATH", "HOME", "CI", "EVERPROOF_SESSION", "EVERPROOF_STAGE",
    }  # fmt: skip
    assert "leak-" not in done.stdout


def test_the_session_is_closed_to_others_and_gone_afterwards(site: Site) -> None:
    done = site.run("sh", "-c", 'stat -c "%a" "$EVERPROOF_SESSION" "${EVERPROOF_SESSION%/*}"; echo $EVERPROOF_SESSION')
    *modes, file = done.stdout.split()
    assert modes == ["600", "700"]
    assert not Path(file).parent.exists()


def test_the_step_asks_with_its_own_credential(site: Site) -> None:
    asked = "everproof ask deployment:start Environment::production --json"
    done = site.run("sh", "-c", asked, stage="deploy")
    assert json.loads(done.stdout)["decision"] is True, done.stdout + done.stderr


def test_what_ran_and_how_it_ended_are_on_record(site: Site) -> None:
    environment = site.runner()
    done = site.run("sh", "-c", "exit 3", environment=environment)
    assert done.returncode == 3
    began, ended = (entry["entry"]["body"] for entry in site.entries()[-2:])
    assert began["action"] == "stage:build"
    assert began["detail"]["command"]["program"] == "sh"
    assert "arguments" not in began["detail"]["command"]
    assert began["detail"]["run"] == ended["detail"]["run"]
    assert ended["action"] == "credential:revoke"
    assert ended["detail"]["result"]["exit_status"] == 3
    assert ended["detail"]["stage"] == "build"


def test_arguments_are_recorded_where_somebody_asked_for_it(site: Site) -> None:
    site.run("echo", "one", "two", options=("--record-arguments",))
    began = site.entries()[-2]["entry"]["body"]
    assert began["detail"]["command"]["arguments"] == ["one", "two"]


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("false",), 1),
        (("sh", "-c", "kill -9 $$"), 137),
        (("sh", "-c", "kill -TERM $$"), 143),
        (("/nonexistent",), 127),
        (("/etc/passwd",), 126),
    ],
)
def test_the_exit_status_is_the_commands(site: Site, words: tuple[str, ...], status: int) -> None:
    assert site.run(*words).returncode == status


def test_signals_reach_the_command(site: Site) -> None:
    process = site.begin("sh", "-c", "trap 'echo told; exit 7' TERM; echo ready; while :; do sleep 0.02; done")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    assert (out, process.returncode) == ("told\n", 7)


def test_what_the_runner_left_open_stays_with_the_runner(site: Site) -> None:
    import subprocess

    with (site.folder / "secret").open("w+") as secret:
        os.set_inheritable(secret.fileno(), True)
        done = subprocess.run(
            site.command("sh", "-c", "ls /proc/$$/fd"), env=site.runner(), pass_fds=[secret.fileno()],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert str(secret.fileno()) not in done.stdout.split()


def test_a_refused_step_does_not_run_and_is_told_why(site: Site) -> None:
    marker = site.folder / "ran"
    done = site.run("touch", str(marker), stage="deploy", environment=site.runner(ref_protected="false"))
    assert done.returncode == 1
    assert "stages/deploy" in done.stderr
    assert not marker.exists()


def test_policy_bounds_how_long_a_stage_lives(site: Site) -> None:
    refused = site.run("true", stage="test")
    assert refused.returncode == 1
    assert "house/no-long-tests" in refused.stderr
    assert site.run("true", stage="test", options=("--lifetime", "600")).returncode == 0


def test_a_job_of_another_repository_is_nobody(site: Site) -> None:
    assert site.run("true", environment=site.runner(repository_id="75", repository="acme/fork")).returncode == 2


def test_the_credential_descends_from_the_jobs_and_ends_with_the_step(site: Site) -> None:
    done = site.run("sh", "-c", 'cat "$EVERPROOF_SESSION"')
    session = json.loads(done.stdout)
    assert session["stage"] == "build"
    credential = json.loads(_payload(session["token"]))["jti"]
    drawn = json.loads(site.everproof("identity", "lineage", credential, "--json"))
    assert [one["kind"] for one in drawn["ancestors"]] == ["ci-token", "access-token", "stage"]
    assert drawn["ancestors"][-1]["revoked_at"] is not None
    assert datetime.fromisoformat(drawn["ancestors"][-1]["revoked_at"]) <= datetime.now(UTC)


def test_the_command_must_be_there(site: Site) -> None:
    import subprocess

    done = subprocess.run(
        [*site.command() ], env=site.runner(), capture_output=True, text=True, check=False, timeout=60
    )  # fmt: skip
    assert done.returncode == 2


def _payload(token: str) -> bytes:
    import base64

    part = token.split(".")[1]
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
