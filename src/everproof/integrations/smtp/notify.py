"""Notices by e-mail: RFC 5321 over TLS, implicit (RFC 8314) or by STARTTLS (RFC 3207), never without.

What stands in a header is set by Python's structured headers, which refuse a line break; what a server does not offer
(STARTTLS, authentication) is not done without.
"""

import asyncio
import contextlib
import ipaddress
import smtplib
import ssl
from collections.abc import Iterator
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Final, Literal

from everproof.identity.names import email_address
from everproof.integrations.answers import AnsweredError
from everproof.integrations.secret_source import SecretSource
from everproof.kernel.clock import from_milliseconds
from everproof.kernel.errors import InputError
from everproof.work import HopelessError
from everproof.work.notices import Message, Recipient

TIMEOUT_SECONDS: Final = 15.0
"""For each answer of the server; an attempt as a whole ends with its verb's limit."""
FOOTER: Final = "Everproof sent this. It never asks for a password or a code by mail."
_PERMANENT: Final = range(500, 600)

Tls = Literal["implicit", "starttls", "none"]


class SmtpNotices:
    """One mail server: as in ``Channel``."""

    def __init__(
        self,
        name: str,
        *,
        host: str,
        port: int,
        sender: str,
        tls: Tls = "implicit",
        user: str = "",
        secret: SecretSource | None = None,
        ca_file: Path | None = None,
        people: bool = True,
        groups: frozenset[str] = frozenset(),
        to: tuple[str, ...] = (),
    ) -> None:
        """``to``: who gets what is not for one person.

        Raises:
            InputError: mail would go without TLS to another machine, or an address is none.
        """
        place = f"notify.{name}"
        if tls == "none" and not _is_loopback(host):
            raise InputError("mail goes without TLS only to this machine", place=f"{place}.tls", todo="use starttls")
        if bool(user) != (secret is not None):
            raise InputError("a user has a secret, and a secret a user", place=f"{place}.user")
        self._sender = email_address(sender, place=f"{place}.sender")
        self._to = tuple(email_address(one, place=f"{place}.to") for one in to)
        self._name, self._host, self._port, self._tls = name, host, port, tls
        self._user, self._secret = user, secret
        self._context = ssl.create_default_context()
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        if ca_file is not None:
            self._context.load_verify_locations(ca_file)
        self.people = people
        self.groups = groups

    async def deliver(self, message: Message) -> None:
        """As in ``Channel``: one mail to all of a person's addresses; it is told when one of them takes it."""
        mail = self._mail(message)
        try:
            await asyncio.to_thread(self._send, mail)
        except smtplib.SMTPRecipientsRefused as error:
            codes = {code for code, _ in error.recipients.values()}
            raise self._refused(min(codes), "every address") from error
        except smtplib.SMTPAuthenticationError as error:  # a new password may lie there soon
            raise AnsweredError(f"the mail server answered {error.smtp_code} to the login", place=self._name) from error
        except smtplib.SMTPResponseException as error:
            raise self._refused(error.smtp_code, "the mail") from error
        except smtplib.SMTPNotSupportedError as error:
            raise AnsweredError("the mail server does not offer what is required of it", place=self._name) from error
        except (smtplib.SMTPException, OSError) as error:
            raise AnsweredError(
                f"the mail server cannot be reached: {type(error).__name__}", place=self._name
            ) from error

    def _mail(self, message: Message) -> EmailMessage:
        mail = EmailMessage(policy=SMTP)
        try:
            mail["From"] = Address("Everproof", addr_spec=self._sender)
            mail["To"] = self._addresses(message.to)
            mail["Subject"] = message.subject
            mail["Date"] = from_milliseconds(message.sent)
            mail["Message-ID"] = f"<{message.id}@{self._domain}>"
            mail["Auto-Submitted"] = "auto-generated"
        except (ValueError, MessageError) as error:
            raise HopelessError("the message cannot be a mail", place=self._name) from error
        parts = (message.text, message.link, f"-- \n{FOOTER}")
        mail.set_content("\n\n".join(part for part in parts if part) + "\n", charset="utf-8", cte="quoted-printable")
        return mail

    @property
    def _domain(self) -> str:
        return self._sender.rpartition("@")[2]

    def _addresses(self, to: Recipient) -> list[Address]:
        addresses = to.addresses if to.ref.type == "User" else self._to
        if not addresses:
            raise HopelessError(f"{to.ref} has no address", place=self._name)
        try:
            return [Address(to.name, addr_spec=email_address(one)) for one in addresses]
        except InputError as error:
            raise HopelessError(f"{to.ref} has an address that is none", place=self._name) from error

    def _send(self, mail: EmailMessage) -> None:
        with self._session() as session:
            if self._secret is not None:
                session.login(self._user, self._secret.read().decode())
            session.send_message(mail)

    @contextlib.contextmanager
    def _session(self) -> Iterator[smtplib.SMTP]:
        host, port, name = self._host, self._port, self._domain
        if self._tls == "implicit":
            with smtplib.SMTP_SSL(host, port, name, timeout=TIMEOUT_SECONDS, context=self._context) as session:
                yield session
            return
        with smtplib.SMTP(host, port, name, timeout=TIMEOUT_SECONDS) as session:
            if self._tls == "starttls":
                session.starttls(context=self._context)
            yield session

    def _refused(self, code: int, what: str) -> HopelessError | AnsweredError:
        kind = HopelessError if code in _PERMANENT else AnsweredError
        return kind(f"the mail server answered {code} to {what}", place=self._name)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
