"""Attacks of a step on what stands above it, and on the end that it is to have."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.delivery.site import Site

pytestmark = pytest.mark.skipif(os.uname().sysname != "Linux", reason="steps are held together on Linux alone")

READS_ITS_ANCESTORS = """
import os
import signal
pid, chain = os.getppid(), []
while pid > 1:
    for name in ("environ", "cmdline", "maps"):
        try:
            content = open(f"/proc/{pid}/{name}", "rb").read()
        except OSError:
            continue
        if b"lea" + b"k-" in content or b"ey" + b"Jh" in content:
            chain.append((pid, name))
    stat = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
    if pid == int(os.environ["RUNNER"]):
        break
    print("looked at", pid)
    pid = int(stat[1])
print("FOUND", chain)
"""

OUTLIVES = """
import os, sys, time, signal
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGPIPE):
    signal.signal(number, signal.SIG_IGN)
os.closerange(0, 64)
open(sys.argv[1], "w").write(str(os.getpid()))
while True:
    time.sleep(0.01)
    os.utime(sys.argv[1])
"""

FORKS_WITHOUT_END = """
import os, sys, time
open(sys.argv[1], "a").write(f"{os.getpid()}\\n")
end = time.monotonic() + 60
while time.monotonic() < end:
    time.sleep(0.002)
    if os.fork():
        os._exit(0)
"""
"""It does end, so that a test that fails leaves nothing behind."""


def test_no_ancestor_that_is_ours_tells_its_environment(site: Site) -> None:
    """Every process between the step and the runner, which alone is not ours to hide."""
    runner = {**site.runner(), "RUNNER": str(os.getpid())}
    done = site.run("python3", "-c", READS_ITS_ANCESTORS, options=("--env", "RUNNER"), environment=runner)
    assert "looked at" in done.stdout, done.stderr
    assert "FOUND []" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="taking another account needs root")
def test_an_account_without_power_cannot_even_open_it(site: Site) -> None:
    script = (
        "import os,sys\nppid=os.getppid()\nos.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "for name in ('environ','mem','fd'):\n"
        "    path = f'/proc/{ppid}/{name}'\n"
        "    try:\n        os.listdir(path) if name == 'fd' else open(path, 'rb').read(1)\n"
        "        print('OPENED', name)\n    except PermissionError: print('closed', name)\n"
    )
    done = site.run("python3", "-c", script)
    assert "OPENED" not in done.stdout
    assert done.stdout.count("closed") == 3


def test_a_grandchild_that_forks_twice_and_ignores_every_signal_does_not_outlive_the_step(site: Site) -> None:
    marker = site.folder / "daemon"
    wait = f"python3 -c '{OUTLIVES}' {marker}; while [ ! -s {marker} ]; do sleep 0.02; done"
    done = site.run("sh", "-c", wait.replace("'", "'", 1))
    assert done.returncode == 0, done.stderr
    assert not _is_alive(int(marker.read_text()))
    assert site.entries()[-1]["entry"]["body"]["detail"]["result"]["survivors"] >= 1


def test_nor_with_nohup(site: Site) -> None:
    marker = site.folder / "nohup"
    script = (
        f"nohup sh -c 'echo $$ > {marker}; sleep 600' > /dev/null 2>&1 & while [ ! -s {marker} ]; do sleep 0.02; done"
    )
    assert site.run("sh", "-c", script).returncode == 0
    assert not _is_alive(int(marker.read_text()))


def test_nor_by_forking_without_end(site: Site) -> None:
    marker = site.folder / "forks"
    script = f"python3 -c '{FORKS_WITHOUT_END}' {marker} & while [ ! -s {marker} ]; do sleep 0.02; done"
    assert site.run("sh", "-c", script).returncode == 0
    size = marker.stat().st_size
    assert not [one for one in Path("/proc").iterdir() if one.name.isdigit() and str(marker).encode() in _said(one)]
    assert marker.stat().st_size == size


def test_a_revoked_step_is_killed_with_all_its_children(site: Site) -> None:
    marker = site.folder / "revoked"
    session = site.folder / "its-session"
    script = (
        f"cp $EVERPROOF_SESSION {session}; (setsid sh -c 'echo $$ > {marker}; sleep 600') & trap '' TERM; sleep 600"
    )
    process = site.begin("sh", "-c", script)
    _wait_for(marker)
    started = time.monotonic()
    site.everproof("revoke", _credential(session))
    _, err = process.communicate(timeout=20)
    assert process.returncode == 137
    assert "revoked" in err
    assert not _is_alive(int(marker.read_text()))
    assert time.monotonic() - started < 5
    assert site.entries()[-1]["entry"]["body"]["detail"]["result"]["killed"] == "revoked"


def test_revoking_the_job_ends_its_steps(site: Site) -> None:
    marker, session = site.folder / "of-the-job", site.folder / "job-session"
    process = site.begin("sh", "-c", f"cp $EVERPROOF_SESSION {session}; echo $$ > {marker}; sleep 600")
    _wait_for(marker)
    import json

    drawn = json.loads(site.everproof("identity", "lineage", _credential(session), "--json"))
    site.everproof("revoke", drawn["ancestors"][0]["id"])
    process.communicate(timeout=20)
    assert process.returncode == 137
    assert not _is_alive(int(marker.read_text()))


def test_a_step_ends_with_its_time(site: Site) -> None:
    done = site.run("sleep", "600", options=("--timeout", "1"))
    assert done.returncode == 137
    assert "--timeout" in done.stderr


def test_killing_the_parent_kills_the_command(site: Site) -> None:
    marker = site.folder / "orphan"
    process = site.begin("sh", "-c", f"echo $$ > {marker}; exec sleep 600")
    _wait_for(marker)
    process.kill()
    process.wait(10)
    deadline = time.monotonic() + 5
    while _is_alive(int(marker.read_text())) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _is_alive(int(marker.read_text()))
    process.communicate()


def _wait_for(file: Path) -> None:
    deadline = time.monotonic() + 20
    while not (file.exists() and file.stat().st_size):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _said(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


def _credential(session: Path) -> str:
    import base64
    import json

    part = json.loads(session.read_text())["token"].split(".")[1]
    found: str = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))["jti"]
    return found


def test_a_step_does_not_go_on_without_a_server(site: Site) -> None:
    marker = site.folder / "without"
    process = site.begin("sh", "-c", f"echo $$ > {marker}; exec sleep 30", options=("--grace", "1"))
    _wait_for(marker)
    site.process.send_signal(signal.SIGSTOP)
    try:
        deadline = time.monotonic() + 15
        while _is_alive(int(marker.read_text())):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        site.process.send_signal(signal.SIGCONT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 137
    assert "--grace" in err


def test_a_step_ends_with_its_credential_where_policy_gives_no_other(site: Site) -> None:
    until = int(time.time()) + 4
    done = site.run("sleep", "600", environment=site.runner(exp=until))
    assert done.returncode == 137, done.stderr
    assert "expired" in done.stderr
    assert time.time() < until + 5


def test_a_step_that_goes_on_is_given_another_credential(site: Site) -> None:
    script = (
        'cat "$EVERPROOF_SESSION"; sleep 3.5; echo; cat "$EVERPROOF_SESSION"; everproof ask git:fetch Repository::x'
    )
    done = site.run("sh", "-c", script, options=("--lifetime", "4"))
    first, second, *_ = done.stdout.splitlines()
    assert first != second
    assert "session is over" not in done.stderr
