"""The company of the story: its server, its SSH daemon, its pipeline's issuer, its policy."""

import getpass
import json
import os
import shutil
import sys
import time
import uuid
from pathlib import Path
from typing import Any, Final

from tests import issuer as issuers

from demo.company import Company
from demo.hosts import Hosts
from demo.jobs import Answer, Job
from demo.world import EVERPROOF, Daemon, Person, World, run

SSHD: Final = "/usr/sbin/sshd"
REPOSITORIES: Final = ("acme/shop", "acme/payroll")

TRUST: Final = """\
[issuer]
url = "{issuer}"
type = "github"
audience = "{audience}"

[[binding]]
name = "shop-build"
id = "github/{{repository_id}}/{{run_id}}"
groups = ["builders"]

[binding.claims]
repository_owner_id = "65"
repository_id = "74"
ref = "refs/heads/main"
"""


class House:
    """What is set up before the first scene."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.issuer = world.enter(issuers.running(world.made("issuer")))
        self.hosts = Hosts(world)
        self.company = Company(world)
        self.policy = world.folder / "policy"
        self.refusals: list[tuple[str, str]] = []
        self.checkpoint = world.folder / "elsewhere" / "checkpoint"
        self.checkpoint.parent.mkdir()
        self._settings()
        for name in REPOSITORIES:
            run("git", "init", "-q", "--bare", "-b", "main", str(self.repository(name)))
            run(EVERPROOF, "git", "install", str(self.repository(name)), environment=self.environment)
        self.server = self.start_server("server")
        self.job_one = Job(world.url, self.ca)
        self._start_sshd()

    @property
    def environment(self) -> dict[str, str]:
        """What the server and the commands on its machine run with."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.world.folder),
            "LC_ALL": "C.UTF-8",
            "EVERPROOF_STATE": str(self.world.state),
            "GIT_CONFIG_NOSYSTEM": "1",
        }

    @property
    def ca(self) -> Path:
        """The CA of the server's certificate."""
        return self.world.state / "ca.pem"

    def repository(self, name: str) -> Path:
        """Where a bare repository lies."""
        return self.world.repositories / f"{name}.git"

    def start_server(self, log: str) -> Daemon:
        """`everproof up`, ready to be asked."""
        server = self.world.start([EVERPROOF, "up"], log, self.environment)
        server.wait_for("Everproof is up")
        return server

    def everproof(self, *arguments: str, state: Path | None = None) -> str:
        """What a command on the server's own machine printed."""
        extra = {"EVERPROOF_STATE": str(state)} if state else {}
        return run(EVERPROOF, *arguments, environment={**self.environment, **extra})

    def enrolment_link(self) -> str:
        """The one-time link that the first start printed."""
        return _link(self.server.wait_for("/enrol"))

    def invite(self, by: Person, name: str, group: str) -> str:
        """An invitation's one-time link."""
        return _link(
            by.everproof("identity", "invite", name, "--email", self.world.person(name).email, "--group", group)
        )

    def claims(self, **changes: Any) -> dict[str, Any]:
        """What the pipeline's platform says of a job of acme/shop on main, with ``changes``."""
        from datetime import UTC, datetime

        own = {"jti": str(uuid.uuid4()), "run_id": str(time.time_ns())}
        return issuers.github_claims(datetime.now(UTC), audience=self.world.url, **{**own, **changes})

    def job(self, **changes: Any) -> tuple[Job, Answer]:
        """A job that has asked for its token, and what it was answered."""
        job = Job(self.world.url, self.ca)
        return job, job.exchange(self.issuer.mint(self.claims(**changes)))

    def write_policy(self, by: Person) -> None:
        """The organisation's policy: the starter's, with trust in the pipeline's issuer."""
        by.run("git", "init", "-q", str(self.policy))
        by.run(EVERPROOF, "init", str(self.policy))
        trust = TRUST.format(issuer=self.issuer.url, audience=self.world.url)
        (self.policy / ".everproof" / "trust").mkdir(exist_ok=True)
        (self.policy / ".everproof" / "trust" / "pipeline.toml").write_text(trust)
        for name, text in self.hosts.trust().items():
            (self.policy / ".everproof" / "trust" / name).write_text(text)
        for name, text in self.company.files().items():
            (self.policy / ".everproof" / name).parent.mkdir(exist_ok=True)
            (self.policy / ".everproof" / name).write_text(text)
        doors = self.policy / ".everproof" / "everproof.toml"
        doors.write_text(doors.read_text().replace('"observe"', '"enforce"'))
        self.commit_policy(by, "Our policy")

    def commit_policy(self, by: Person, message: str) -> None:
        """Commit what is in the policy's folder."""
        by.run("git", "add", "-A", at=self.policy)
        by.run("git", "commit", "-q", "-m", message, at=self.policy)

    def _settings(self) -> None:
        world = self.world
        world.state.mkdir(mode=0o700)
        authorities = world.folder / "authorities.pem"
        known = (self.issuer.ca_file.read_bytes(), self.hosts.authorities, self.company.authorities)
        authorities.write_bytes(b"".join(known))
        (world.state / "server.toml").write_text(
            f"port = {world.port}\n"
            f'url = "{world.url}"\n'
            f'checkpoint_copy = "{self.checkpoint}"\n'
            f'[bundle]\nrepository = "{self.policy}"\n'
            f'[git]\nroot = "{world.repositories}"\nuser = "{getpass.getuser()}"\n'
            f'[outbound]\nca_file = "{authorities}"\nprivate_hosts = ["127.0.0.1", "localhost"]\n'
            f"{self.hosts.settings(self.issuer.url)}{self.company.settings()}"
        )

    def _start_sshd(self) -> None:
        from everproof.cli.git.install import sshd_configuration

        world = self.world
        host_key = world.folder / "ssh_host_key"
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(host_key))
        public = host_key.with_suffix(".pub").read_text()
        (world.folder / "known_hosts").write_text(f"[127.0.0.1]:{world.ssh_port} {public}")
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        git = shutil.which("git")
        assert git is not None
        configuration = world.folder / "sshd_config"
        match = sshd_configuration(getpass.getuser(), world.state / "everproof.sock", git)
        configuration.write_text(
            f"ListenAddress 127.0.0.1:{world.ssh_port}\nHostKey {host_key}\nPidFile none\nUsePAM no\n"
            f"PermitRootLogin prohibit-password\n{match}"
        )
        daemon = world.start([SSHD, "-D", "-e", "-f", str(configuration)], "sshd")
        daemon.wait_for("Server listening")


def _link(text: str) -> str:
    [*_, link] = [word for word in text.split() if "/enrol" in word]
    return link.strip("'\"")


def verify_elsewhere(proof: Path, key: str) -> dict[str, Any]:
    """What a proof shows to a process that has the proof and the log's public key, and nothing else of ours."""
    elsewhere = proof.parent / "stranger"
    elsewhere.mkdir(exist_ok=True)
    environment = {"PATH": os.environ["PATH"], "HOME": str(elsewhere), "EVERPROOF_STATE": str(elsewhere / "none")}
    command = [str(Path(sys.executable).parent / "everproof"), "ledger", "verify", str(proof), "--key", key, "--json"]
    found: dict[str, Any] = json.loads(run(*command, at=elsewhere, environment=environment))
    return found
