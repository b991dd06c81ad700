"""A request for access, as its approvers hear of it on each channel of a whole server, whatever its reason says."""

import email
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

from everproof.access import Wanted
from everproof.app import Everproof
from everproof.identity import roster
from everproof.kernel.settings import Outbound, Settings, SlackChannel, SmtpChannel, WebhookChannel
from everproof.kernel.words import Proof, Ref
from everproof.storage import Transaction
from tests.conftest import SettableClock
from tests.fakes.https import serving
from tests.fakes.slack_api import WEBHOOK, SlackApi
from tests.notices.conftest import Mailbox, mail_server
from tests.notices.test_webhook import OLD, Receiver

REASON = "<!channel> hotfix & <https://evil.example|approve here> *now*"


def settings(folder: Path, ca: bytes, urls: dict[str, str], port: int) -> Settings:
    known = folder / "cas.pem"
    known.write_bytes(ca)
    for name, text in (("slack", f"{urls['slack']}{WEBHOOK}"), ("hook", OLD)):
        (folder / name).touch(0o600)
        (folder / name).write_text(text)
    return Settings(
        state=folder / "state",
        url="https://everproof.example",
        outbound=Outbound(ca_file=known, private_hosts=("127.0.0.1",)),
        notify={
            "mail": SmtpChannel(host="127.0.0.1", port=port, tls="none", sender="everproof@example.com"),
            "chat": SlackChannel(webhook=f"file:{folder / 'slack'}", groups=("administrators",)),
            "hook": WebhookChannel(url=f"{urls['hook']}/in", secret=f"file:{folder / 'hook'}", groups=("*",)),
        },
    )


async def test_approvers_hear_of_a_request_on_every_channel(tmp_path: Path, clock: SettableClock) -> None:
    box, slack, receiver = Mailbox(), SlackApi(), Receiver(OLD, clock)
    for name in ("slack-tls", "hook-tls", "mail-tls"):
        (tmp_path / name).mkdir()
    with (
        serving(slack, tmp_path / "slack-tls") as chat,
        serving(receiver, tmp_path / "hook-tls") as hook,
        mail_server(box, tmp_path / "mail-tls", tls="none") as (port, _),
    ):
        ca = chat.ca_file.read_bytes() + hook.ca_file.read_bytes()
        app = Everproof(settings(tmp_path, ca, {"slack": chat.url, "hook": hook.url}, port), clock=clock)

        def fill(tx: Transaction) -> None:
            roster.add_principal(tx, Ref("User", "ada"), emails=["ada@example.com"], groups=["administrators"])
            roster.add_principal(tx, Ref("User", "dev"), emails=["dev@example.com"], groups=["developers"])

        app.storage.write_now(fill)
        await app.start()
        try:
            id_ = await asked(app, clock)
            await app.work.idle()
            assert app.work.jobs(states=("stuck", "waiting"), verb="notify.mail") == []
        finally:
            await app.stop()
    link = f"https://everproof.example/requests/{id_}"
    [envelope] = box.mails
    assert envelope.rcpt_tos == ["ada@example.com"]
    assert isinstance(envelope.content, bytes)
    mail = email.message_from_bytes(envelope.content, policy=default)
    assert isinstance(mail, EmailMessage)
    assert mail["Subject"] == 'dev asks for deployment:start on Environment::"production"'
    assert f"Reason: {REASON}" in mail.get_content()
    assert link in mail.get_content()
    [shown] = slack.shown
    assert f"Reason: {REASON}" in shown.text
    assert (shown.mentions, shown.links) == ([], [(link, link)])
    assert [one["data"]["to"] for one in receiver.taken] == [{"type": "Group", "id": "administrators"}]
    assert f"Reason: {REASON}" in receiver.taken[0]["data"]["text"]


async def asked(app: Everproof, clock: SettableClock) -> str:
    """The id of a request that dev has made."""
    principal = app.identity.directory.principal(Ref("User", "dev"))
    assert principal is not None
    wanted = Wanted(action="deployment:start", resource=Ref("Environment", "production"), seconds=3600, reason=REASON)
    outcome: Any = await app.access.requests.request(
        Proof(kind="access-token", principal=principal, at=clock.now()), wanted
    )
    found: str = outcome.outcome.id
    return found
