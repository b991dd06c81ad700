"""Every command that speaks to a server, against a real one."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.run import Home
from tests.cli.server import Server


def told(home: Home, *arguments: str) -> Any:
    done = home.everproof(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_up_works_within_five_seconds_and_says_how_to_come_in(server: Server) -> None:
    assert server.seconds_to_start < 5
    assert server.url in server.said
    assert str(server.state) in server.said
    assert server.link.startswith(f"{server.url}/enrol#")


def test_a_second_server_on_the_state_folder_is_refused_with_what_to_do(server: Server, home: Home) -> None:
    done = home.everproof("up", "--state", str(server.state), "--port", "0")
    assert done.returncode == 2
    assert "in use by process" in done.stderr
    assert "--state" in done.stderr


def test_the_link_makes_the_first_administrator(ada: Home) -> None:
    me = told(ada, "identity", "me")
    assert me["principal"]["ref"] == {"type": "User", "id": "ada"}
    assert {"type": "Group", "id": "administrators"} in me["principal"]["parents"]
    session = ada.folder / "session.json"
    assert session.stat().st_mode & 0o777 == 0o600


def test_a_link_is_good_once(ada: Home, server: Server, home: Home) -> None:
    home.ssh_key()
    done = home.everproof("login", "--enrol", server.link)
    assert done.returncode == 1
    assert "was used" in done.stderr
    assert not (home.folder / "session.json").exists()


def test_attack_another_server_answers_at_the_address_of_the_link(ada: Home, server: Server, home: Home) -> None:
    """The link names the server's own authority; whoever else answers is told nothing."""
    home.ssh_key()
    secret, _, ca = server.link.rpartition(".")
    forged = "A" * len(ca)
    done = home.everproof("login", "--enrol", f"{secret}.{forged}")
    assert done.returncode == 1
    assert "not the server that made the link" in done.stderr


def test_a_server_that_nobody_vouches_for_is_not_spoken_to(server: Server, home: Home) -> None:
    home.ssh_key()
    done = home.everproof("login", "--server", server.url)
    assert done.returncode == 1
    assert "give its certificate authority with --ca" in done.stderr


def test_login_by_a_key_of_the_agent_and_by_a_key_that_nobody_has(ada: Home, server: Server, home: Home) -> None:
    invited = told(ada, "identity", "invite", "bob", "--group", "developers")
    file = home.ssh_key()
    agent = home.run("ssh-agent", "-s").stdout
    socket, pid = (agent.partition(f"{name}=")[2].partition(";")[0] for name in ("SSH_AUTH_SOCK", "SSH_AGENT_PID"))
    try:
        assert home.run("ssh-add", "-q", str(file), SSH_AUTH_SOCK=socket).returncode == 0
        file.unlink()  # the agent alone has it
        enrolled = home.everproof("login", "--enrol", invited["link"], "--user", "bob", SSH_AUTH_SOCK=socket)
        assert enrolled.returncode == 0, enrolled.stderr
        public = "key::" + file.with_suffix(".pub").read_text().strip()
        again = home.everproof("login", "--key", public, SSH_AUTH_SOCK=socket)
        assert (again.returncode, again.stdout.splitlines()[0]) == (0, 'logged in as User::"bob"')
    finally:
        home.run("kill", pid)
    groups = told(ada, "identity", "show", "bob")["principal"]["groups"]
    assert groups == ["developers"]
    stranger = home.ssh_key("stranger")
    refused = home.everproof("login", "--key", str(stranger))
    assert refused.returncode == 1
    assert "nobody here has the key" in refused.stderr


def test_a_denial_says_what_was_asked_by_whom_which_policy_and_what_to_do(ada: Home) -> None:
    done = ada.everproof("ask", "git:push", "shop@refs/heads/main")
    assert done.returncode == 1
    for part in ("denied", 'git:push on Branch::"shop@refs/heads/main"', 'User::"ada"', "git/commits-are-signed", "→"):
        assert part in done.stdout
    assert "recorded as entry" in done.stdout
    allowed = told(ada, "ask", "policy:read", "organisation")
    assert allowed["decision"] is True
    assert ada.everproof("ask", "policy:read", "").returncode == 2


def test_people_groups_and_keys(ada: Home, tmp_path: Path) -> None:
    carol = Home(tmp_path / "carol", "carol")
    key = carol.ssh_key()
    private = ada.everproof("identity", "add", "carol", "--ssh-key", str(key))
    assert private.returncode == 2
    assert ".pub" in private.stderr
    made = told(ada, "identity", "add", "carol", "--email", "carol@shop.example", "--ssh-key", f"{key}.pub")
    assert made["principal"]["emails"] == ["carol@shop.example"]
    told(ada, "identity", "groups", "set", "backend", "--in", "developers")
    told(ada, "identity", "groups", "join", "carol", "backend")
    assert told(ada, "identity", "show", "carol")["principal"]["groups"] == ["backend"]
    told(ada, "identity", "groups", "leave", "carol", "backend")
    assert not told(ada, "identity", "show", "carol")["principal"].get("groups")
    second = carol.ssh_key("second")
    added = told(ada, "identity", "add-key", "carol", f"{second}.pub", "--until", "2099-01-31")
    assert added["valid_until"].startswith("2099-01-31")
    told(ada, "identity", "disable", "carol")
    assert told(ada, "identity", "show", "carol")["principal"]["disabled"]
    told(ada, "identity", "enable", "carol")
    assert "User::carol" in ada.everproof("identity", "list", "--type", "User").stdout
    missing = ada.everproof("identity", "show", "nobody")
    assert missing.returncode == 2
    assert "Traceback" not in missing.stderr


def test_a_revoked_key_ends_all_that_came_from_it(ada: Home, server: Server, tmp_path: Path) -> None:
    dave = Home(tmp_path / "dave", "dave")
    key = dave.ssh_key()
    told(ada, "identity", "add", "dave", "--ssh-key", f"{key}.pub")
    ca = str(server.state / "ca.pem")
    assert dave.everproof("login", "--server", server.url, "--ca", ca).returncode == 0
    credential = told(dave, "identity", "me")["credential"]
    tree = ada.everproof("identity", "lineage", credential)
    assert tree.stdout.splitlines()[0].endswith("ssh-key of User::dave")
    assert f"└─ {credential}" in tree.stdout
    fingerprint = dave.run("ssh-keygen", "-lf", f"{key}.pub").stdout.split()[1]
    ended = told(ada, "revoke", fingerprint, "--reason", "compromised")["ended"]
    assert credential in ended
    refused = dave.everproof("identity", "me")
    assert refused.returncode == 1
    assert "revoked" in refused.stderr


def test_services_and_machines(ada: Home, server: Server, tmp_path: Path) -> None:
    private = tmp_path / "billing.pem"
    made = told(ada, "identity", "service", "add", "billing", "--new-key", str(private))
    assert made["keys"][0]["kind"] == "jwk"
    assert private.stat().st_mode & 0o777 == 0o600
    assert ada.everproof("identity", "service", "add", "x", "--new-key", str(private)).returncode == 2
    token = told(ada, "identity", "machine", "token", "web-1", "--group", "edge")["token"]
    machine = Home(tmp_path / "machine", "root")
    call = ("identity", "machine", "join", "web-1", "--server", server.url)
    joined = machine.everproof(*call, EVERPROOF_JOIN_TOKEN=token)
    assert joined.returncode == 0, joined.stderr
    assert told(ada, "identity", "show", "Machine::web-1")["principal"]["groups"] == ["edge"]
    assert told(machine, "identity", "me")["principal"]["ref"] == {"type": "Machine", "id": "web-1"}
    again = machine.everproof(*call, EVERPROOF_JOIN_TOKEN=token)
    assert again.returncode == 1


def test_the_ledger_is_proved_to_a_stranger_and_verified_whole(ada: Home, server: Server, tmp_path: Path) -> None:
    state = ("--state", str(server.state))
    told(ada, "identity", "me")
    last = json.loads(ada.everproof("ledger", "tail", "-n", "1", "--json", *state).stdout)
    file = tmp_path / "entry.tlog-proof"
    proved = ada.everproof("ledger", "prove", last["id"], "-o", str(file), "--disclose", *state)
    assert proved.returncode == 0, proved.stderr
    key = ada.everproof("ledger", "key", *state).stdout.strip()
    stranger = Home(tmp_path / "stranger", "stranger")
    shown = told(stranger, "ledger", "verify", str(file), "--key", key)
    assert (shown["index"], shown["entry"]["id"]) == (last["index"], last["id"])
    file.write_bytes(file.read_bytes().replace(f"index {last['index']}".encode(), b"index 0"))
    forged = stranger.everproof("ledger", "verify", str(file), "--key", key)
    assert forged.returncode == 1
    unsaid = stranger.everproof("ledger", "verify", str(file))
    assert unsaid.returncode == 2
    assert "--key" in unsaid.stderr
    assert told(ada, "ledger", "verify", *state)["holds"] is True
    lines = ada.everproof("ledger", "export", "--to", "2", *state).stdout.splitlines()
    assert [json.loads(line)["index"] for line in lines] == [0, 1]


def test_the_ledger_is_read_from_afar_by_who_may_and_proved_to_anyone(ada: Home, tmp_path: Path) -> None:
    listed = ada.everproof("ledger", "tail", "-n", "2", "--json")
    assert (listed.returncode, listed.stderr) == (0, "")
    first, second = (json.loads(line) for line in listed.stdout.splitlines())
    assert second["index"] == first["index"] + 1
    assert {first["entry"]["kind"], second["entry"]["kind"]} <= {"decision", "event"}
    key = ada.everproof("ledger", "key").stdout.strip()
    file = tmp_path / "first.tlog-proof"
    assert ada.everproof("ledger", "prove", "0", "-o", str(file), "--disclose").returncode == 0
    assert ada.everproof("ledger", "verify", str(file), "--key", key).returncode == 0
    exported = ada.everproof("ledger", "export", "--from", "1", "--to", "4").stdout.splitlines()
    assert [json.loads(line)["index"] for line in exported] == [1, 2, 3]
    eve = Home(tmp_path / "eve", "eve")
    public = f"{eve.ssh_key()}.pub"
    link = told(ada, "identity", "invite", "eve")["link"]
    assert eve.everproof("login", "--enrol", link, "--key", public.removesuffix(".pub")).returncode == 0
    refused = eve.everproof("ledger", "tail")
    assert refused.returncode == 1
    assert "ledger:read" in refused.stderr
    assert eve.everproof("ledger", "prove", "0").stdout.startswith("c2sp.org/tlog-proof@v1\n")


def test_a_changed_row_is_found_and_named(ada: Home, server: Server, tmp_path: Path) -> None:
    import sqlite3

    copy = tmp_path / "copy"
    shutil.copytree(server.state, copy, ignore=shutil.ignore_patterns("*.sock"))
    connection = sqlite3.connect(copy / "everproof.db")
    connection.execute("update ledger_entries set body = zeroblob(length(body)) where idx = 1")
    connection.commit()
    connection.close()
    done = ada.everproof("ledger", "verify", "--state", str(copy))
    assert done.returncode == 1
    assert "entry 1: the entry's body or commitment was changed" in done.stdout


def test_the_doctor_finds_all_well_and_then_what_is_not(ada: Home, server: Server) -> None:
    state = ("--state", str(server.state))
    well = ada.everproof("doctor", "--json", *state)
    assert well.returncode == 0, well.stdout
    assert {one["name"]: one["state"] for one in json.loads(well.stdout)["checks"]}["https"] == "ok"
    key = server.state / "root.key"
    key.chmod(0o644)
    try:
        ill = ada.everproof("doctor", *state)
    finally:
        key.chmod(0o600)
    assert ill.returncode == 1
    assert f"chmod 600 {key}" in ill.stdout
    server.stop()
    try:
        down = ada.everproof("doctor", *state)
    finally:
        server.start()
    assert down.returncode == 1
    assert "everproof up" in down.stdout


@pytest.mark.parametrize("arguments", [("identity", "me"), ("ask", "git:push", "shop"), ("revoke", "cred_1")])
def test_nobody_logged_in_is_told_how(home: Home, arguments: tuple[str, ...]) -> None:
    done = home.everproof(*arguments)
    assert done.returncode == 1
    assert "run: everproof login" in done.stderr
