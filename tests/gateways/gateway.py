"""The gateways, started with the configurations of docs/gateways.md between a service and Everproof."""

import datetime as dt
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.gateways.caller import send

PAGE = Path(__file__).parents[2] / "docs" / "gateways.md"
START_SECONDS = 20
WIKI, SHOP_HOST = "wiki.example", "api.example"
_PORT = re.compile(r"(?<=127\.0\.0\.1:)(?:8443|8080)\b|(?<=port_value: )(?:8443|8080|443)\b")
"""The ports of the page, where they stand."""


def snippets() -> dict[str, str]:
    """The files of the page, by name."""
    return dict(re.findall(r"(?ms)^```\w+ (\S+)\n(.*?)^```$", PAGE.read_text()))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Process:
    """A process of the tests' own, ended by its id."""

    def __init__(self, command: list[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.log = log
        self._command, self._environment = command, environment
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self._environment
            )

    def wait(self, port: int) -> None:
        """Until it listens."""
        deadline = time.monotonic() + START_SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise AssertionError(f"{self._command[0]} does not listen:\n{self.log.read_text(errors='replace')}")

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Gateways:
    """Starts gateways in ``folder``, before a service on a port and with Everproof on another, known by ``ca``."""

    def __init__(self, folder: Path, *, everproof: int, service: int, secret: str, ca: Path) -> None:
        self.folder = folder
        self.everproof, self.service, self.secret = everproof, service, secret
        self._processes: list[Process] = []
        self._ports: dict[str, int] = {}
        self._change: Callable[[str], str] = str
        _write_certificate(folder)
        shutil.copy(ca, folder / "ca.pem")

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.stop()

    def port(self, name: str, *, change: Callable[[str], str] | None = None) -> int:
        """The port that a gateway listens on, started at the first call; ``change`` is done to its configuration."""
        if change is None and name in self._ports:
            return self._ports[name]
        port = free_port()
        self._change = change or str
        folder = self.folder / f"{name}-{port}"
        folder.mkdir()
        process = Process(getattr(self, f"_{name}")(port, folder), folder / "log", self._environment())
        self._processes.append(process)
        process.wait(port)
        deadline = time.monotonic() + START_SECONDS
        while send(port, "GET", "/", WIKI, {}).status not in {200, 401}:  # it may listen before it has read its routes
            assert time.monotonic() < deadline, process.log.read_text(errors="replace")
            time.sleep(0.05)
        if change is None:
            self._ports[name] = port
        return port

    def _environment(self) -> dict[str, str]:
        home = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "XDG_DATA_HOME": str(self.folder)}
        return home | {"EVERPROOF_GATEWAY": self.secret}

    def _written(self, file: Path, text: str, port: int) -> Path:
        """A file of the page, with this machine's ports and places."""
        text = self._change(text)
        for place in ("ca.pem", "service.pem", "service.key"):
            text = text.replace(f"/etc/everproof/{place}", str(self.folder / place))
        for place in ("edge.conf", "tls.conf"):
            text = text.replace(f"/etc/everproof/{place}", str(file.parent / place))
        # In one pass: a port of this machine may begin like one of the page.
        ports = {"8443": self.everproof, "8080": self.service, "443": port}
        text = _PORT.sub(lambda found: str(ports[found[0]]), text.replace("0.0.0.0", "127.0.0.1"))
        text = text.replace('":443"', f'"127.0.0.1:{port}"')
        text = text.replace("listen 443", f"listen 127.0.0.1:{port}")
        file.write_text(text)
        return file

    def _nginx(self, port: int, folder: Path) -> list[str]:
        found = snippets()
        (folder / "edge.conf").write_text(f'proxy_set_header X-Everproof-Gateway "{self.secret}";\n')
        self._written(folder / "tls.conf", found["tls.conf"], port)
        inner = self._written(folder / "site.conf", found["nginx.conf"], port)
        paths = "".join(
            f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (folder / "nginx.conf").write_text(
            f"daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log {folder}/error.log warn;\n"
            f"events {{ worker_connections 512; }}\nhttp {{\naccess_log off;\n{paths}include {inner};\n}}\n"
        )
        return ["nginx", "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]

    def _caddy(self, port: int, folder: Path) -> list[str]:
        text = snippets()["Caddyfile"].replace("wiki.example {", f"https://wiki.example:{port} {{")
        options = "{\n\tadmin off\n\tauto_https disable_redirects\n\tdefault_bind 127.0.0.1\n}\n"
        file = self._written(folder / "Caddyfile", options + text, port)
        return ["caddy", "run", "--config", str(file), "--adapter", "caddyfile"]

    def _traefik(self, port: int, folder: Path) -> list[str]:
        found = snippets()
        dynamic = self._written(folder / "everproof.yml", found["everproof.yml"], port)
        static = found["traefik.yml"].replace("/etc/traefik/everproof.yml", str(dynamic))
        file = self._written(folder / "traefik.yml", static, port)
        return [_beside("traefik"), f"--configFile={file}"]

    def _envoy(self, port: int, folder: Path) -> list[str]:
        text = snippets()["envoy.yaml"].replace("[api.example]", f"[{SHOP_HOST}, {WIKI}]")
        file = self._written(folder / "envoy.yaml", text, port)
        options = ["--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warning"]
        return [_beside("envoy"), "-c", str(file), *options]


def binary(name: str) -> str | None:
    """Where the gateway is installed; None where it is not."""
    found = {"nginx": "/usr/sbin/nginx", "envoy": _beside("envoy"), "traefik": _beside("traefik")}
    return shutil.which(found.get(name, name))


def _beside(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def _write_certificate(folder: Path) -> None:
    """A certificate for the services' own names, and Everproof's authority, where the gateways look for them."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    now = dt.datetime.now(dt.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName(one) for one in (WIKI, SHOP_HOST)])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + dt.timedelta(days=1))
        .add_extension(names, critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "service.pem").write_bytes(made.public_bytes(Encoding.PEM))
    (folder / "service.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
