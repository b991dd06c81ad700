"""`everproof contain` and `everproof work`, against a real server."""

import json
from typing import Any

from tests.cli.run import Home
from tests.cli.server import Server


def told(home: Home, *arguments: str) -> Any:
    done = home.everproof(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def come_in(ada: Home, home: Home, name: str) -> str:
    """Enrol and log somebody in; the credential of their session."""
    invited = told(ada, "identity", "invite", name)
    home.ssh_key()
    done = home.everproof("login", "--enrol", invited["link"], "--user", name)
    assert done.returncode == 0, done.stderr
    return str(told(home, "identity", "me")["credential"])


def test_credential_is_drawn_and_then_contained(server: Server, ada: Home, home: Home) -> None:
    credential = come_in(ada, home, "grace")
    plan = ada.everproof("contain", credential, "--dry-run")
    assert plan.returncode == 0, plan.stderr
    assert "would end: 1 credential; nothing was ended" in plan.stdout
    assert "ssh-key" in plan.stdout  # what it came from is drawn above it
    assert told(home, "identity", "me")["credential"] == credential
    done = ada.everproof("contain", credential, "--reason", "seen in a log")
    assert done.returncode == 0, done.stderr
    assert f"contained: {credential}; 1 credential ended" in done.stdout
    refused = home.everproof("identity", "me")
    assert refused.returncode == 1
    assert "revoked" in refused.stderr
    tail = ada.everproof("ledger", "tail", "--kind", "contained", "--state", str(server.state), "--json")
    assert [json.loads(line)["entry"]["body"]["credential"] for line in tail.stdout.splitlines()] == [credential]


def test_person_is_contained_until_released(ada: Home, tmp_path: Any) -> None:
    linus = Home(tmp_path / "linus")
    come_in(ada, linus, "linus")
    assert told(ada, "contain", "User::linus")["containment"]["finished"]
    refused = linus.everproof("login")
    assert refused.returncode == 1
    assert "contained" in refused.stderr
    released = ada.everproof("contain", "User::linus", "--release")
    assert "may prove itself again" in released.stdout
    assert linus.everproof("login").returncode == 0
    for slip, why in (("crd_1", "neither"), ("User::lnius", "not on record"), ("User::ada", "themselves")):
        done = ada.everproof("contain", slip)
        assert done.returncode != 0
        assert why in done.stderr
    again = ada.everproof("contain", "User::linus", "--release")
    assert again.returncode == 2
    assert "not contained" in again.stderr


def test_work_is_listed_and_what_is_not_there_is_told(ada: Home) -> None:
    [forget] = told(ada, "work", "list", "--verb", "work.forget")
    assert forget["state"] == "waiting"
    assert forget["id"] in ada.everproof("work", "list").stdout
    assert told(ada, "work", "show", forget["id"])["verb"] == "work.forget"
    assert told(ada, "work", "list", "--effects") == []
    assert told(ada, "work", "retry", forget["id"])["state"] == "waiting"
    for arguments, why in (
        (("show", "job_none"), "no job"),
        (("approve", "job_none"), "no effect"),
        (("undo", "eff_none"), "no effect"),
        (("cancel", "../x"), "neither a job nor an effect"),
    ):
        done = ada.everproof("work", *arguments)
        assert done.returncode == 2
        assert why in done.stderr
