"""The whole way through a real sshd: its key question, the forced command, git, the hook."""

import asyncio
import contextlib
import getpass
import os
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from everproof.cli.git.install import sshd_configuration
from tests.git.conftest import Running
from tests.git.lab import GIT, Clone, Person, call, make_key, run

SSHD = shutil.which("sshd") or ("/usr/sbin/sshd" if Path("/usr/sbin/sshd").exists() else None)


def skip(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def make_privilege_folder() -> None:
    """Debian's sshd wants it, and its service makes it."""
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)


@pytest.fixture
async def port(lab: Running) -> AsyncIterator[int]:
    """The port of an sshd that asks the server about every key."""
    if SSHD is None:
        skip("sshd is not installed (Debian: openssh-server)")
    if os.geteuid() != 0:
        skip("sshd runs AuthorizedKeysCommand only when it was started by root")
    make_privilege_folder()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = int(probe.getsockname()[1])
    configuration = lab.folder / "sshd_config"
    configuration.write_text(
        f"Port {number}\nListenAddress 127.0.0.1\nHostKey {make_key(lab.folder, 'host')}\nPidFile none\n"
        "UsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
        f"AcceptEnv *\n{sshd_configuration(getpass.getuser(), lab.socket, GIT)}"
    )
    daemon = await asyncio.create_subprocess_exec(
        str(SSHD), "-D", "-e", "-f", str(configuration), stderr=asyncio.subprocess.PIPE
    )
    assert daemon.stderr is not None
    said = b""
    while b"Server listening" not in said:
        line = await asyncio.wait_for(daemon.stderr.readline(), 10)
        assert line, said.decode()
        said += line
    reading = asyncio.create_task(daemon.stderr.read())
    yield number
    daemon.terminate()
    await daemon.wait()
    reading.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await reading


def ssh(lab: Running, key: Path, port: int, *more: str) -> str:
    known = "-o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no -o LogLevel=ERROR"
    return " ".join([f"ssh -F none -p {port} -i {key} -o IdentitiesOnly=yes -o BatchMode=yes {known}", *more])


async def through(lab: Running, person: Person, port: int, name: str = "app", *more: str) -> Clone:
    clone = await lab.clone(person, name)
    clone.env = {"GIT_SSH_COMMAND": ssh(lab, person.key, port, *more)}
    address = f"ssh://{getpass.getuser()}@127.0.0.1:{port}/team/{name}.git"
    await clone.ok("remote", "set-url", "origin", address)
    return clone


async def test_signed_push_and_fetch_through_sshd(lab: Running, port: int) -> None:
    lab.repository()
    alice = await through(lab, await lab.enrol(lab.person("alice")), port)
    oid = await alice.commit()
    ran = await alice.push("main", "--signed")
    assert ran.ok, ran.said
    certified = [lab.authorizer.asked[-1][2]["push_certificate"]]
    await alice.commit("without a certificate")
    ran = await alice.push()
    assert ran.ok, ran.said
    certified.append(lab.authorizer.asked[-1][2]["push_certificate"])
    assert certified == [True, False]
    bob = await through(lab, await lab.enrol(lab.person("bob")), port)
    await bob.ok("fetch", "-q", "origin")
    assert await bob.ok("rev-parse", "origin/main~1") == oid


async def test_variables_that_the_client_sends_through_sshd_prove_nobody(lab: Running, port: int) -> None:
    """AcceptEnv * lets every variable in; the environment of the session decides nothing."""
    lab.repository()
    mallory = await lab.enrol(lab.person("other"))
    sent = {
        "SSH_ORIGINAL_COMMAND": "git-receive-pack 'team/app.git'",
        "GIT_PUSH_CERT_STATUS": "G",
        "GIT_PUSH_CERT_SIGNER": "alice@x.test",
        "EVERPROOF_PRINCIPAL": "alice",
        "PYTHONPATH": str(lab.folder),
        "PYTHONSTARTUP": str(lab.folder / "x.py"),
    }
    (lab.folder / "everproof.py").write_text("raise SystemExit(0)")
    clone = await through(lab, mallory, port, "app", "-o SendEnv=*")
    await clone.commit()
    ran = await clone.push("topic", **{name: value for name, value in sent.items() if not name.startswith("PYTHON")})
    assert not ran.ok
    assert "other may not" in ran.said


async def test_unknown_key_is_not_let_in_and_a_known_one_gets_no_shell(lab: Running, port: int) -> None:
    lab.repository()
    stranger = await through(lab, lab.person("stranger"), port)
    ran = await stranger.git("fetch", "origin")
    assert not ran.ok
    assert "Permission denied (publickey)" in ran.said
    alice = await lab.enrol(lab.person("alice"))
    command = ssh(lab, alice.key, port).split()
    for wish in ([], ["id"], ["sh", "-c", "id"], ["git-upload-archive", "team/app.git"]):
        ran = await run(*command, f"{getpass.getuser()}@127.0.0.1", *wish, cwd=lab.folder, env=lab.environment)
        assert not ran.ok
        assert "uid=" not in ran.said
        assert "everproof refused" in ran.said


async def test_job_key_fetches_its_own_source_through_sshd_and_nothing_else(lab: Running, port: int) -> None:
    lab.repository()
    lab.repository("web")
    alice = await through(lab, await lab.enrol(lab.person("alice")), port)
    oid = await alice.commit()
    assert (await alice.push()).ok
    job = await through(lab, await lab.job(lab.person("job", kind="ecdsa"), "team/app"), port)
    await job.ok("fetch", "-q", "origin")
    assert await job.ok("rev-parse", "origin/main") == oid
    ran = await job.push("topic", source="origin/main")
    assert not ran.ok
    assert "no policy permits" in ran.said
    await job.ok("remote", "set-url", "origin", f"ssh://{getpass.getuser()}@127.0.0.1:{port}/team/web.git")
    assert not (await job.git("fetch", "origin")).ok


async def test_agent_signs_commit_and_certificate(lab: Running, port: int) -> None:
    """The private key lives in an ssh-agent alone."""
    lab.repository()
    alice = await lab.enrol(lab.person("alice"))
    said = call("ssh-agent", "-s", "-a", lab.folder / "agent").decode()
    number = said.partition("SSH_AGENT_PID=")[2].partition(";")[0]
    agent: dict[str, Any] = {"SSH_AUTH_SOCK": str(lab.folder / "agent"), "SSH_AGENT_PID": number}
    try:
        call("ssh-add", "-q", alice.key, **agent)
        alice.key.rename(lab.folder / "away")
        clone = await through(lab, alice, port)
        clone.env |= agent
        clone.env["GIT_SSH_COMMAND"] = ssh(lab, Path(f"{alice.key}.pub"), port)
        await clone.commit()
        ran = await clone.push("main", "--signed")
        assert ran.ok, ran.said
    finally:
        call("ssh-agent", "-k", **agent)
