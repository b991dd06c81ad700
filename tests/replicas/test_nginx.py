"""Three servers as `everproof up` starts them, behind nginx as docs/replicas.md has it."""

import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from everproof.app import Everproof
from everproof.authorize.store import StoredBundle, save_bundle
from everproof.identity import roster
from everproof.kernel.clock import SystemClock
from everproof.kernel.settings import Settings
from everproof.kernel.words import Ref
from everproof.policy import load_bundle
from everproof.policy.starter import starter_files
from everproof.server.http.body import read_body
from everproof.storage import Transaction
from tests.gateways.gateway import Process, free_port
from tests.postgres import PostgreSQL
from tests.server.asgi import Answer
from tests.server.client import Client

pytestmark = [pytest.mark.timeout(240), pytest.mark.xdist_group("replicas-nginx")]

NGINX = "/usr/sbin/nginx"
PAGE = Path(__file__).parents[2] / "docs" / "replicas.md"
SERVERS = 3

POLICY = b"""
@id("test/read")
@title("Services read")
@advice("none")
permit (principal is Service, action == Action::"secret:read", resource is Secret);

@id("test/revoke")
@title("The warden revokes")
@advice("none")
permit (principal in Group::"wardens", action == Action::"credential:revoke", resource is Credential);
"""
QUESTION = {
    "subject": {"type": "Service", "id": "worker"},
    "action": {"name": "secret:read"},
    "resource": {"type": "Secret", "id": "build/key"},
}


def over_https(base: str, context: ssl.SSLContext) -> ASGIApp:
    """An application whose answers are those of the server at ``base``."""

    async def forward(scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(scope, receive)
        async with httpx.AsyncClient(verify=context, base_url=base, timeout=20, trust_env=False) as http:
            answer = await http.request(scope["method"], scope["path"], content=body, headers=scope["headers"])
        headers = [(name.lower(), value) for name, value in answer.headers.raw]
        await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": answer.content})

    return forward


class Cluster:
    """The three, and nginx before them."""

    def __init__(self, url: str, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"https://localhost:{self.port}"
        self.ports = [free_port() for _ in range(SERVERS)]
        self._database = url
        self._root = folder / "root.key"
        self._prepare()
        self.servers = [self._start(number) for number in range(SERVERS)]
        for server in self.servers:
            stack.callback(server.stop)
        for server, port in zip(self.servers, self.ports, strict=True):
            server.wait(port)
        authorities = "".join((self._state(number) / "ca.pem").read_text() for number in range(SERVERS))
        (folder / "authorities.pem").write_text(authorities)
        self.context = ssl.create_default_context(cafile=str(folder / "authorities.pem"))
        nginx = Process([NGINX, "-c", str(self._nginx())], folder / "nginx.log")
        stack.callback(nginx.stop)
        nginx.wait(self.port)

    def client(self, at: int | None = None) -> Client:
        """A caller of nginx, or of one of the servers."""
        base = self.url if at is None else f"https://localhost:{self.ports[at]}"
        return Client(over_https(base, self.context), self.url, SystemClock())  # type: ignore[arg-type]  # any clock does

    def _state(self, number: int) -> Path:
        return self.folder / f"server{number}"

    def _start(self, number: int) -> Process:
        state = self._state(number)
        state.mkdir(mode=0o700)
        (state / "server.toml").write_text(
            f'database = "{self._database}"\nroot_key = "file:{self._root}"\nurl = "{self.url}"\n'
        )
        command = [sys.executable, "-m", "everproof.cli.main", "up"]
        return Process(
            [*command, "--state", str(state), "--port", str(self.ports[number])],
            self.folder / f"server{number}.log",
            {"PATH": os.environ["PATH"], "HOME": str(self.folder)},
        )

    def _prepare(self) -> None:
        """Do what administrators would have done, as one more server of the cluster."""
        settings = Settings(
            state=self.folder / "first", database=self._database, root_key=f"file:{self._root}", url=self.url
        )
        app = Everproof(settings)
        files = {**starter_files(), "policies/test.cedar": POLICY}
        bundle = StoredBundle(load_bundle(files).digest, "", files)
        app.storage.write_now(lambda tx: save_bundle(tx, bundle))
        self._settings = settings
        app.storage.close()

    def register(self, client: Client, name: str, *groups: str) -> None:
        app = Everproof(self._settings)

        def change(tx: Transaction) -> None:
            roster.register_client(tx, Ref("Service", name), [client.jwk], groups=groups)

        app.storage.write_now(change)
        app.storage.close()

    def _nginx(self) -> Path:
        [text] = re.findall(r"(?ms)^```nginx\n(.*?)^```$", PAGE.read_text())
        for number, port in enumerate(self.ports, 1):
            text = text.replace(f"server{number}.internal:8443", f"127.0.0.1:{port}")
        text = text.replace("/etc/nginx/authorities.pem", str(self.folder / "authorities.pem"))
        text = re.sub(r"(ssl_certificate(_key)?) \S+;", rf"\1 {self._state(0) / 'server.pem'};", text)
        text = text.replace("listen 443 ssl", f"listen 127.0.0.1:{self.port} ssl")
        temporary = "".join(
            f"{kind}_temp_path {self.folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        file = self.folder / "nginx.conf"
        file.write_text(
            f"user root;\ndaemon off;\npid {self.folder}/nginx.pid;\nerror_log stderr;\nevents {{}}\n"
            f"http {{\naccess_log off;\n{temporary}{text}\n}}\n"
        )
        return file


@pytest.fixture(scope="module")
def cluster(postgresql: PostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if not Path(NGINX).exists() and shutil.which("nginx") is None:
        pytest.skip("nginx is not installed: NOT TESTED HERE")
    if subprocess.run([NGINX, "-v"], check=False, capture_output=True).returncode != 0:
        pytest.skip("nginx does not run: NOT TESTED HERE")
    with ExitStack() as stack:
        yield Cluster(postgresql.fresh(), tmp_path_factory.mktemp("cluster"), stack)


async def asked(client: Client) -> Answer:
    return await client.send("POST", "/access/v1/evaluation", QUESTION)


async def test_a_revocation_holds_at_every_server_as_soon_as_it_is_acknowledged(cluster: Cluster) -> None:
    worker, warden = cluster.client(), cluster.client(0)
    cluster.register(worker, "worker")
    cluster.register(warden, "warden", "wardens")
    assert (await warden.credentials("service:warden")).status == 200
    assert (await worker.credentials("service:worker")).status == 200
    everywhere = []
    for number in range(SERVERS):
        direct = cluster.client(number)
        direct.key, direct.jwk, direct.token = worker.key, worker.jwk, worker.token
        everywhere.append(direct)
    for client in (worker, *everywhere):
        answer = await asked(client)
        assert (answer.status, answer.json["decision"]) == (200, True), answer.body
    revoked = await warden.send("POST", "/oauth/revoke", form={"token": worker.token})
    assert revoked.status == 200, revoked.body
    for client in (*everywhere, worker):
        answer = await asked(client)
        assert answer.status == 401 or answer.json.get("decision") is False, answer.body


async def test_a_server_that_dies_or_hangs_is_passed_over(cluster: Cluster) -> None:
    worker = cluster.client()
    cluster.register(worker, "steady")
    assert (await worker.credentials("service:steady")).status == 200
    question = {**QUESTION, "subject": {"type": "Service", "id": "steady"}}
    for number, how in ((0, signal.SIGSTOP), (1, signal.SIGKILL)):
        server = cluster.servers[number]
        server.process.send_signal(how)
        began = time.monotonic()
        for _ in range(3):
            answer = await worker.send("POST", "/access/v1/evaluation", question)
            while answer.status in {502, 504} and time.monotonic() < began + 15:
                answer = await worker.send("POST", "/access/v1/evaluation", question)
            assert (answer.status, answer.json.get("decision")) == (200, True), answer.body
        if how == signal.SIGSTOP:
            server.process.send_signal(signal.SIGCONT)
