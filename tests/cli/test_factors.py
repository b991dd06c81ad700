"""`everproof factors`, against a real server."""

import json
import re
import subprocess
import time
from base64 import b32decode
from datetime import UTC, datetime
from typing import Any

import pytest

from everproof.cli import session as sessions
from everproof.cli import ssh, step_up
from everproof.identity import sshsig
from everproof.identity.challenges import LOGIN_NAMESPACE, login_message
from everproof.identity.factors import totp
from tests.cli.run import EVERPROOF, Home
from tests.cli.server import Server
from tests.identity.ssh import SecurityKey


def _code(secret: str, steps: int = 0) -> str:
    key = b32decode(secret + "=" * (-len(secret) % 8))
    return totp.code_at(key, int(time.time()) // totp.STEP_SECONDS + steps)


def test_somebody_adds_an_app_and_recovery_codes_at_the_terminal(server: Server, ada: Home) -> None:
    assert "none" in ada.everproof("factors", "list").stdout
    with subprocess.Popen(
        [*EVERPROOF, "factors", "add", "totp", "--name", "phone"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ada.environment,
    ) as adding:  # fmt: skip
        assert adding.stdout is not None
        assert adding.stdout.readline().startswith("otpauth://totp/localhost:ada?secret=")
        secret = adding.stdout.readline().removeprefix("secret: ").strip()
        out, err = adding.communicate(f"000000\n{_code(secret)}\n", timeout=30)
    assert adding.returncode == 0, err
    assert "the code does not hold" in err
    assert "added: phone" in out
    (factor,) = json.loads(ada.everproof("factors", "list", "--json").stdout)["factors"]
    assert (factor["kind"], factor["name"], factor["state"]) == ("totp", "phone", "live")
    renamed = ada.everproof("factors", "rename", factor["id"], "old phone")
    assert renamed.returncode == 0, renamed.stderr
    assert "old phone" in ada.everproof("factors", "list").stdout
    codes = ada.everproof("factors", "add", "recovery-codes")
    assert codes.returncode == 0, codes.stderr
    assert len(re.findall(r"^(?:[0-9A-Z]{4}-){3}[0-9A-Z]{4}$", codes.stdout, re.MULTILINE)) == 10
    last = ada.everproof("factors", "remove", factor["id"])
    assert last.returncode == 1
    assert "last factor" in last.stderr


def test_a_recovery_is_begun_and_stopped_at_the_terminal(server: Server, ada: Home) -> None:
    begun = ada.everproof("factors", "recover", "--reason", "lost at sea", "--json")
    assert begun.returncode == 0, begun.stderr
    id_ = json.loads(begun.stdout)["recovery"]["id"]
    assert "lost at sea" in ada.everproof("factors", "recoveries").stdout
    vouched = ada.everproof("factors", "vouch", id_)
    assert vouched.returncode == 1
    assert "Nobody vouches for themselves" in vouched.stderr
    assert ada.everproof("factors", "stop", id_).returncode == 0
    assert id_ not in ada.everproof("factors", "recoveries").stdout
    assert ada.everproof("factors", "remove", "nonsense").returncode == 2


class _Server:
    """Takes one signature."""

    def __init__(self) -> None:
        self.session = sessions.Session(server="https://everproof.example", key=sessions.new_key())
        self.shown: list[dict[str, Any]] = []

    def request(self, _method: str, path: str, *, json: dict[str, Any]) -> dict[str, Any]:
        if path.endswith("/options"):
            asked = {"challenge": "c", "at": datetime(2026, 11, 21, tzinfo=UTC).isoformat()}
            return {"methods": ["totp", "ssh-security-key"], "ssh": asked}
        self.shown.append(json)
        return {}


def test_a_terminal_shows_the_security_key_that_git_signs_with(monkeypatch: pytest.MonkeyPatch) -> None:
    key, server = SecurityKey(), _Server()

    class Found:
        public = key.line

        def sign(self, message: bytes, namespace: str) -> str:
            return key.sign(message, namespace).decode()

    monkeypatch.setattr(ssh, "find_key", lambda _given: Found())
    client: Any = server
    assert step_up.show_factor(client, "cred_x", ("ssh-security-key", "totp")) == "ssh-security-key"
    (shown,) = server.shown
    bound = sessions.thumbprint(sessions.public_jwk(server.session.private_key))
    at = datetime(2026, 11, 21, tzinfo=UTC)
    message = login_message(server=server.session.server, challenge="c", at=at, key=bound)
    assert sshsig.verify(shown["ssh"]["signature"].encode(), message, LOGIN_NAMESPACE).user_present
