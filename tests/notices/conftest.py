import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword

from everproof.identity.outbound import Outbound
from everproof.integrations.secret_source import SecretSource
from everproof.kernel.words import Ref
from everproof.work.notices import Message, Recipient
from tests.fakes.https import Api, Served, serving
from tests.issuer import _tls

ALICE = Recipient(ref=Ref("User", "alice"), name="Alice Ångström", addresses=("alice@example.com",))


def message(
    *, to: Recipient = ALICE, subject: str = "A passkey was added", text: str = "A day.", **more: Any
) -> Message:
    link = more.pop("link", "https://localhost:8443/factors")
    return Message(id="0123abcd", sent=1_795_262_400_000, to=to, subject=subject, text=text, link=link, **more)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Api], tuple[Served, Outbound]]]:
    with ExitStack() as stack:

        def started(api: Api) -> tuple[Served, Outbound]:
            served = stack.enter_context(serving(api, tmp_path))
            return served, Outbound(ca_file=served.ca_file, private_hosts=("127.0.0.1",))

        yield started


@pytest.fixture
def secret(tmp_path: Path) -> Callable[[str], SecretSource]:
    """A secret source over a file that holds this."""

    def made(value: str) -> SecretSource:
        path = tmp_path / "secret"
        path.write_text(value)
        path.chmod(0o600)
        return SecretSource(f"file:{path}", place="notify.test.secret")

    return made


class Mailbox:
    """A mail server: what it took, and the code it gives an address instead."""

    def __init__(self) -> None:
        self.mails: list[Envelope] = []
        self.refuses: dict[str, str] = {}
        self.logins: list[tuple[str, str]] = []
        self.password = "correct horse"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Envelope, address: str, options: Any) -> str:  # noqa: ARG002, N802 - aiosmtpd's interface
        if address in self.refuses:
            return self.refuses[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:  # noqa: ARG002, N802 - aiosmtpd's interface
        self.mails.append(envelope)
        return "250 OK"

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:  # noqa: ARG002 - aiosmtpd's interface
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=data.password.decode() == self.password, handled=False)


class PlainController(Controller):
    """aiosmtpd's, on a port that the system chooses."""

    def __init__(self, handler: Any, **options: Any) -> None:
        super().__init__(handler, hostname="127.0.0.1", port=0, **options)

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        super()._trigger_server()  # type: ignore[no-untyped-call]


@contextmanager
def mail_server(box: Mailbox, folder: Path, *, tls: str, auth: bool = False) -> Iterator[tuple[int, Path]]:
    """A real mail server; its port and its CA."""
    ca_file = folder / "mail-ca.pem"
    context: ssl.SSLContext | None = _tls(folder, ca_file)
    options: dict[str, Any] = {"auth_required": auth, "authenticator": box.authenticate}
    if tls == "implicit":
        options |= {"ssl_context": context, "auth_require_tls": False}
    elif tls == "starttls":
        options |= {"tls_context": context, "require_starttls": True}
    else:
        options["auth_require_tls"] = False
    controller = PlainController(box, **options)
    controller.start()
    try:
        yield controller.port, ca_file
    finally:
        controller.stop()
