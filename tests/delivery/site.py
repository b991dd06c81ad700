"""A server whose bundle trusts a pipeline's issuer, and steps run as a runner would run them."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from everproof.app import Everproof
from everproof.authorize.store import StoredBundle, save_bundle
from everproof.cli import session as sessions
from everproof.identity import roster
from everproof.kernel.settings import Outbound, Settings
from everproof.kernel.words import Ref
from everproof.policy import load_bundle
from everproof.policy.starter import starter_files
from everproof.storage import Transaction
from tests.cli.server import free_port
from tests.issuer import Issuer, github_claims

EVERPROOF = [sys.executable, "-m", "everproof.cli.main"]
START_SECONDS = 20
STEP_SECONDS = 45

TRUST = """\
[issuer]
url = "{issuer}"
type = "github"
audience = "{audience}"

[[binding]]
name = "shop"
id = "github/{{repository_id}}/{{run_id}}"
groups = ["publishers", "deployers"]
claims.repository_owner_id = "65"
claims.repository_id = "74"
"""

HOUSE = """\
@id("house/publish")
permit(principal is Job in Group::"publishers", action == Action::"artifact:publish", resource is Artifact);
@id("house/deploy")
permit(principal is Job in Group::"deployers", action == Action::"deployment:start", resource is Environment);
@id("house/secrets")
permit(principal is Job in Group::"deployers", action == Action::"secret:read", resource is Secret);
@id("house/no-long-tests")
@advice("ask for less")
forbid(principal, action == Action::"stage:test", resource)
when { context has lifetime && context.lifetime > 1500 };
"""
"""Wide on purpose: what keeps stages apart is the starter's forbids alone."""


class Site:
    """The server and its issuer."""

    def __init__(self, folder: Path, issuer: Issuer) -> None:
        self.folder, self.issuer = folder, issuer
        self.state = folder / "state"
        self.state.mkdir(mode=0o700)
        port = free_port()
        self.url = f"https://localhost:{port}"
        text = f'port = {port}\n[outbound]\nca_file = "{issuer.ca_file}"\nprivate_hosts = ["127.0.0.1"]\n'
        (self.state / "server.toml").write_text(text)
        self._key = sessions.new_key()
        self._prepare(port)
        self.process: subprocess.Popen[bytes]
        self.start()
        self._log_in()

    def start(self) -> None:
        with (self.folder / "up.log").open("wb") as log:
            self.process = subprocess.Popen(
                [*EVERPROOF, "up", "--state", str(self.state)],
                stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=self.operator,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while "Everproof is up" not in (said := (self.folder / "up.log").read_text(errors="replace")):
            assert self.process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.02)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.wait(20)

    @property
    def ca(self) -> Path:
        return self.state / "ca.pem"

    @property
    def operator(self) -> dict[str, str]:
        """The environment of a command on the server's own machine."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "EVERPROOF_STATE": str(self.state),
            "EVERPROOF_SESSION": str(self.folder / "operator.json"),
        }

    def everproof(self, *arguments: str) -> str:
        """What a command of the operator printed."""
        done = subprocess.run(
            [*EVERPROOF, *arguments], env=self.operator, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def entries(self) -> list[dict[str, Any]]:
        """Every entry of the ledger."""
        return [json.loads(line) for line in self.everproof("ledger", "tail", "-n", "100000", "--json").splitlines()]

    def token(self, **claims: Any) -> str:
        """What the platform says of a job on the protected main branch, with changes."""
        own = {"jti": str(uuid.uuid4()), "run_id": str(time.time_ns())}
        return self.issuer.mint(github_claims(datetime.now(UTC), audience=self.url, **{**own, **claims}))

    def runner(self, **claims: Any) -> dict[str, str]:
        """The environment of a job's shell, full of what no step should see."""
        return {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "EVERPROOF_SERVER": self.url,
            "EVERPROOF_CA": str(self.ca),
            "EVERPROOF_ID_TOKEN": self.token(**claims),
            "GITHUB_TOKEN": "leak-github",
            "CI_JOB_TOKEN": "leak-gitlab",
            "CI_JOB_JWT_V2": "leak-jwt",
            "NPM_TOKEN": "leak-npm",
            "AWS_SECRET_ACCESS_KEY": "leak-aws",
            "DATABASE_URL": "postgresql://leak-database",
            "LD_LIBRARY_PATH": "/leak-library",
            "CI": "true",
        }

    def command(self, *words: str, stage: str = "build", options: tuple[str, ...] = ()) -> list[str]:
        return [*EVERPROOF, "run", "--stage", stage, *options, "--", *words]

    def begin(
        self,
        *words: str,
        stage: str = "build",
        options: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
    ) -> "subprocess.Popen[str]":
        """Start a step."""
        return subprocess.Popen(
            self.command(*words, stage=stage, options=options), env=environment or self.runner(),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.folder,
        )  # fmt: skip

    def run(
        self,
        *words: str,
        stage: str = "build",
        options: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a step to its end."""
        with self.begin(*words, stage=stage, options=options, environment=environment) as process:
            try:
                out, err = process.communicate(timeout=STEP_SECONDS)
            except BaseException:
                process.kill()
                raise
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def _log_in(self) -> None:
        """The operator's session, which its key renews."""
        ca = self.ca.read_text()
        session = sessions.Session(server=self.url, ca=ca, key=self._key, principal='Machine::"operator"')
        (self.folder / "operator.json").write_bytes(msgspec.json.encode(session))

    def _prepare(self, port: int) -> None:
        files = dict(starter_files())
        files["policies/house.cedar"] = HOUSE.encode()
        files["trust/pipeline.toml"] = TRUST.format(issuer=self.issuer.url, audience=self.url).encode()
        outbound = Outbound(ca_file=self.issuer.ca_file, private_hosts=("127.0.0.1",))
        app = Everproof(Settings(state=self.state, port=port, outbound=outbound))

        def change(tx: Transaction) -> None:
            save_bundle(tx, StoredBundle(load_bundle(files).digest, "", files))
            jwk = sessions.public_jwk(sessions.Session(server=self.url, key=self._key).private_key)
            roster.register_client(tx, Ref("Machine", "operator"), [jwk], groups=("administrators",))

        app.storage.write_now(change)
        app.storage.close()
