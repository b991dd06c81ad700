"""Notices by webhook, signed as Standard Webhooks has it: HMAC-SHA256 over the id, the time and the body.

standardwebhooks.com, "Standard Webhooks" 1.0. The id is the same at each attempt, so that a receiver knows a second
one; the time is the attempt's, so that a recorded one is refused later.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable
from datetime import datetime
from typing import Final

from everproof.identity.outbound import Outbound, OutboundError, https_url
from everproof.integrations.answers import AnsweredError, refusal
from everproof.integrations.secret_source import SecretError, SecretSource
from everproof.kernel.canonical import encode
from everproof.kernel.clock import from_milliseconds
from everproof.work.notices import Message

PREFIX: Final = "whsec_"
TYPE: Final = "notice"
KEY_BYTES: Final = range(24, 65)
"""What the specification has a key be, in bytes."""
_GOOD: Final = range(200, 300)


class WebhookNotices:
    """One receiver: as in ``Channel``."""

    def __init__(
        self,
        name: str,
        outbound: Outbound,
        *,
        url: str,
        secret: SecretSource,
        now: Callable[[], datetime],
        people: bool = False,
        groups: frozenset[str] = frozenset(),
    ) -> None:
        """``secret`` holds one key, or while it changes several, each of which signs.

        Raises:
            InputError: ``url`` is no plain https address.
        """
        https_url(url, place=f"notify.{name}.url")
        self._name = name
        self._outbound = outbound
        self._url = url
        self._secret = secret
        self._now = now
        self.people = people
        self.groups = groups

    async def deliver(self, message: Message) -> None:
        """As in ``Channel``."""
        body = encode(
            {
                "type": TYPE,
                "timestamp": from_milliseconds(message.sent).isoformat(),
                "data": {
                    "to": {"type": message.to.ref.type, "id": message.to.ref.id},
                    "subject": message.subject,
                    "text": message.text,
                    "link": message.link,
                },
            }
        )
        now = self._now()
        id_, time = f"msg_{message.id}", str(int(now.timestamp()))
        signatures = " ".join(signature(key, id_, time, body) for key in self._keys())
        headers = {"webhook-id": id_, "webhook-timestamp": time, "webhook-signature": signatures}
        try:
            answer = await self._outbound.ask("POST", self._url, headers=headers, body=body)
        except OutboundError as error:
            # Not with its address: many receivers are known by nothing but a path that nobody else knows.
            raise AnsweredError("the receiver cannot be reached", place=self._name) from error
        if answer.status not in _GOOD:
            raise refusal(answer, "the receiver", place=self._name, now=now)

    def _keys(self) -> list[bytes]:
        try:
            keys = [
                base64.b64decode(one.removeprefix(PREFIX), validate=True)
                for one in self._secret.read().decode("ascii").split()
            ]
        except (UnicodeDecodeError, binascii.Error) as error:
            raise SecretError("is no webhook key in base64", place=f"notify.{self._name}.secret") from error
        if not all(len(key) in KEY_BYTES for key in keys):
            raise SecretError("a webhook key has 24 to 64 bytes", place=f"notify.{self._name}.secret")
        return keys


def signature(key: bytes, id_: str, time: str, body: bytes) -> str:
    """What one key says of a webhook's id, its time in seconds, and its body."""
    signed = b".".join((id_.encode(), time.encode(), body))
    return f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"
