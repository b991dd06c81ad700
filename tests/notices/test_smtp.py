"""Mail, taken by a real mail server."""

import email
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest

from everproof.integrations.answers import AnsweredError
from everproof.integrations.smtp.notify import SmtpNotices
from everproof.kernel.errors import InputError
from everproof.kernel.words import Ref
from everproof.work import HopelessError
from everproof.work.notices import Recipient
from tests.notices.conftest import ALICE, Mailbox, mail_server, message

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
"""aiosmtpd's word on AUTH without STARTTLS, which is also what implicit TLS looks like to it."""


def notices(port: int, ca_file: Path, **more: Any) -> SmtpNotices:
    return SmtpNotices("mail", host="127.0.0.1", port=port, sender="everproof@example.com", ca_file=ca_file, **more)


def read(box: Mailbox) -> EmailMessage:
    content = box.mails[-1].content
    assert isinstance(content, bytes)
    mail = email.message_from_bytes(content, policy=default)
    assert isinstance(mail, EmailMessage)
    return mail


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
async def test_a_notice_arrives_over_tls(tmp_path: Path, secret: Any, tls: Any) -> None:
    box = Mailbox()
    with mail_server(box, tmp_path, tls=tls, auth=True) as (port, ca_file):
        channel = notices(port, ca_file, tls=tls, user="everproof", secret=secret(box.password))
        await channel.deliver(message(text="Ein Gerät kam hinzu.\n.\nQUIT"))
    mail = read(box)
    assert box.mails[0].rcpt_tos == ["alice@example.com"]
    assert box.logins == [("everproof", box.password)]
    assert mail["Subject"] == "A passkey was added"
    assert mail["To"].addresses[0].display_name == "Alice Ångström"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Message-ID"] == "<0123abcd@example.com>"
    text = mail.get_content().replace("\r\n", "\n")
    assert text.startswith("Ein Gerät kam hinzu.\n.\nQUIT\n\nhttps://localhost:8443/factors\n")


@pytest.mark.parametrize(
    "subject", ["Hi\r\nBcc: eve@evil.example", "Hi\nX: y", "Hi\rBcc: eve@evil.example\r\n\r\nbody"]
)
async def test_header_injection_is_refused(tmp_path: Path, subject: str) -> None:
    box = Mailbox()
    with mail_server(box, tmp_path, tls="none") as (port, ca_file):
        channel = notices(port, ca_file, tls="none")
        with pytest.raises(HopelessError, match="cannot be a mail"):
            await channel.deliver(message(subject=subject))
        named = Recipient(ref=ALICE.ref, name=subject, addresses=ALICE.addresses)
        with pytest.raises((HopelessError, ValueError)):
            await channel.deliver(message(to=named))
        for address in ("alice@example.com\r\nRCPT TO:<eve@evil.example>", "<alice@example.com>, eve@evil.example"):
            with pytest.raises((InputError, HopelessError)):
                await channel.deliver(message(to=Recipient(ref=ALICE.ref, addresses=(address,))))
    assert not box.mails


async def test_downgrade_to_plain_text_is_refused(tmp_path: Path, secret: Any) -> None:
    box = Mailbox()
    with mail_server(box, tmp_path, tls="none") as (port, ca_file):
        channel = notices(port, ca_file, tls="starttls", user="everproof", secret=secret(box.password))
        with pytest.raises(AnsweredError, match="does not offer"):
            await channel.deliver(message())
    assert not box.logins
    assert not box.mails
    with pytest.raises(InputError, match="only to this machine"):
        SmtpNotices("mail", host="mail.example.com", port=25, sender="everproof@example.com", tls="none")


async def test_a_server_with_another_certificate_is_not_told(tmp_path: Path) -> None:
    box = Mailbox()
    other = tmp_path / "other"
    other.mkdir()
    with mail_server(Mailbox(), other, tls="none") as (_, wrong_ca):
        pass
    with mail_server(box, tmp_path, tls="implicit") as (port, _):
        channel = notices(port, wrong_ca)
        with pytest.raises(AnsweredError, match="SSLCertVerificationError"):
            await channel.deliver(message())
    assert not box.mails


async def test_refusals_are_told_apart(tmp_path: Path, secret: Any) -> None:
    box = Mailbox()
    with mail_server(box, tmp_path, tls="none", auth=True) as (port, ca_file):
        channel = notices(port, ca_file, tls="none", user="everproof", secret=secret("wrong"))
        with pytest.raises(AnsweredError, match="535 to the login"):
            await channel.deliver(message())
    with mail_server(box, tmp_path, tls="none") as (port, ca_file):
        channel = notices(port, ca_file, tls="none")
        box.refuses["alice@example.com"] = "450 try later"
        with pytest.raises(AnsweredError, match="450"):
            await channel.deliver(message())
        box.refuses["alice@example.com"] = "550 no such user"
        with pytest.raises(HopelessError, match="550"):
            await channel.deliver(message())
        two = Recipient(ref=ALICE.ref, addresses=("alice@example.com", "a@example.org"))
        await channel.deliver(message(to=two))
        assert [one.rcpt_tos for one in box.mails] == [["a@example.org"]]
        with pytest.raises(HopelessError, match="no address"):
            await channel.deliver(message(to=Recipient(ref=Ref("User", "bob"))))
        with pytest.raises(HopelessError, match="no address"):
            await channel.deliver(message(to=Recipient(ref=Ref("Group", "platform"))))
