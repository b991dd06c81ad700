"""Which way `everproof login` takes where none is named."""

from typing import Any

import pytest

from everproof.cli import device_login, login, loopback, renewal, ssh
from everproof.cli import session as sessions
from everproof.kernel.errors import NotFoundError, UnauthenticatedError, UnavailableError


class Server:
    """Stands for the client of a server: says what it is told to."""

    def __init__(self, *answers: Any) -> None:
        self.session = sessions.Session(server="https://everproof.example", key=sessions.new_key())
        self.said = ""
        self.asked: list[str] = []
        self._answers = list(answers)

    def request(self, _method: str, path: str, **_how: Any) -> Any:
        self.asked.append(path)
        answer = self._answers.pop(0)
        if isinstance(answer, tuple):
            self.said, error = answer
            raise error
        return answer


ME = {"principal": {"ref": {"type": "User", "id": "alice"}}}


@pytest.fixture(autouse=True)
def ways(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> list[str]:
    taken: list[str] = []
    monkeypatch.setenv("EVERPROOF_SESSION", str(tmp_path / "session.json"))
    for name in ("SSH_CONNECTION", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr(loopback, "log_in", lambda _client: taken.append("browser"))
    monkeypatch.setattr(device_login, "log_in", lambda _client: taken.append("device"))
    return taken


def without_key(_given: str | None) -> Any:
    raise NotFoundError("no SSH key was found")


def choose(server: Server, key: str | None = None) -> tuple[str, str]:
    return login._log_in_with_key(server, key, None, None, None)  # type: ignore[arg-type]


def test_without_a_key_it_is_a_browser_and_without_a_display_a_code(
    ways: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "find_key", without_key)
    choose(Server(ME))
    monkeypatch.setenv("DISPLAY", ":0")
    choose(Server(ME))
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.1 5 192.0.2.2 22")
    choose(Server(ME))
    assert ways == ["device", "browser", "device"]


def test_a_key_that_is_nobodys_here_leads_to_a_browser_and_any_other_refusal_does_not(
    ways: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Key:
        public, name = "ssh-ed25519 AAAA", "key"

        def sign(self, _message: bytes, _namespace: str) -> str:
            return "signature"

    monkeypatch.setattr(ssh, "find_key", lambda _given: Key())
    asked = {"challenge": "c", "at": "2026-11-21T12:00:00Z"}
    unknown = ("unknown-key", UnauthenticatedError("nobody here has the key"))
    choose(Server(asked, unknown, ME))
    assert ways == ["device"]
    disabled = ("unauthenticated", UnauthenticatedError("alice is disabled"))
    with pytest.raises(UnauthenticatedError, match="disabled"):
        choose(Server(asked, disabled))
    # Whoever names a key wants that key.
    with pytest.raises(UnauthenticatedError, match="nobody"):
        choose(Server(asked, unknown), key="~/.ssh/id_ed25519")
    # And where nobody sits, nobody is asked.
    monkeypatch.setattr("sys.stderr.isatty", lambda: False, raising=False)
    with pytest.raises(UnauthenticatedError, match="nobody"):
        choose(Server(asked, unknown))
    assert ways == ["device"]


def test_a_device_waits_as_long_as_it_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    codes = {"device_code": "d", "user_code": "BCDF-GHJK", "verification_uri": "https://x", "expires_in": 600}
    pending = ("authorization_pending", UnauthenticatedError("not yet"))
    slower = ("slow_down", UnauthenticatedError("slower"))
    gone = ("", UnavailableError("the server cannot be reached"))
    token = {"access_token": "t", "expires_in": 60, "refresh_token": "r"}
    server = Server({**codes, "interval": 2}, pending, slower, gone, pending, token)
    slept: list[float] = []
    device_login.log_in(server, sleep=slept.append)  # type: ignore[arg-type]
    assert slept == [2, 2, 7, 7, 7]
    assert (server.session.token, server.session.refresh) == ("t", "r")
    refused = Server({**codes, "interval": 2}, ("access_denied", UnauthenticatedError("whoever typed it refused")))
    with pytest.raises(UnauthenticatedError, match="refused"):
        device_login.log_in(refused, sleep=slept.append)  # type: ignore[arg-type]


def test_a_session_that_was_replaced_meanwhile_is_not_overwritten() -> None:
    token = {"access_token": "t", "expires_in": 60, "refresh_token": "r"}
    server = Server(token)
    server.session.refresh = "old"
    other = sessions.Session(server="https://other.example", key=sessions.new_key(), token="theirs")
    sessions.save(other)
    renewal.renew(server)  # type: ignore[arg-type]
    assert server.session.refresh == "r"
    assert sessions.load().token == "theirs"


def test_a_session_that_is_over_says_what_to_do() -> None:
    server = Server(("invalid_grant", UnauthenticatedError("the session is over")))
    server.session.refresh = "old"
    with pytest.raises(UnauthenticatedError) as told:
        renewal.renew(server)  # type: ignore[arg-type]
    assert told.value.todo == "run: everproof login"
