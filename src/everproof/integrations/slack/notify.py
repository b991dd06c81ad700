"""Notices in Slack: by an incoming webhook, or by a bot (``chat.postMessage``), which also reaches people.

docs.slack.dev, "Sending messages using incoming webhooks", "chat.postMessage", "users.lookupByEmail", "Formatting
message text". Whatever others wrote is shown as it is: ``&``, ``<`` and ``>`` are escaped, so that nobody is mentioned
and no link says one thing and leads elsewhere, and markup is switched off.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from everproof.identity.outbound import Answer, Outbound, OutboundError, https_url
from everproof.integrations.answers import AnsweredError, refusal, retry_after
from everproof.integrations.secret_source import SecretSource
from everproof.kernel.errors import Error, InputError
from everproof.work import HopelessError, PostponedError
from everproof.work.notices import Message, Recipient

API: Final = "https://slack.com/api"
WAIT: Final = timedelta(seconds=30)
"""Where Slack says to wait, and not how long."""

_LATER: Final = frozenset(
    {"ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"}
)
"""Errors of the Web API that pass by themselves."""
_MENDABLE: Final = frozenset(
    {
        "invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive", "missing_scope",
        "not_in_channel",
    }
)  # fmt: skip
"""Errors that someone may mend without a new notice: another token, an invitation of the bot."""
_OK: Final = 200


class _Said(msgspec.Struct, frozen=True):
    ok: bool
    error: str = ""
    user: dict[str, Any] = {}


class SlackNotices:
    """One workspace: as in ``Channel``."""

    def __init__(
        self,
        name: str,
        outbound: Outbound,
        *,
        now: Callable[[], datetime],
        webhook: SecretSource | None = None,
        token: SecretSource | None = None,
        channel: str = "",
        api: str = "",
        people: bool = False,
        groups: frozenset[str] = frozenset(),
    ) -> None:
        """Either ``webhook`` holds the address of an incoming webhook, or ``token`` a bot's.

        Raises:
            InputError: neither or both; or people are to be reached by a webhook, which has one channel only.
        """
        place = f"notify.{name}"
        if (webhook is None) == (token is None):
            raise InputError("give either webhook or token", place=place)
        if webhook is not None and (people or channel):
            raise InputError("a webhook has one channel, and reaches no people", place=place, todo="use a bot's token")
        self._name = name
        self._outbound = outbound
        self._now = now
        self._webhook, self._token, self._channel = webhook, token, channel
        self._api = (api or API).rstrip("/")
        self.people = people
        self.groups = groups

    async def deliver(self, message: Message) -> None:
        """As in ``Channel``."""
        text = f"{escape(message.subject)}\n\n{escape(message.text)}"
        if message.link:
            text += f"\n\n<{message.link}>"
        said = {"text": text, "mrkdwn": False, "unfurl_links": False, "unfurl_media": False}
        if self._webhook is not None:
            await self._post(self._webhook.read().decode("ascii", "replace"), said)
        else:
            where = await self._conversation(message.to)
            await self._call("chat.postMessage", body={**said, "channel": where, "parse": "none", "link_names": False})

    async def _post(self, url: str, said: dict[str, Any]) -> None:
        try:
            https_url(url)
            answer = await self._outbound.ask("POST", url, headers={}, body=msgspec.json.encode(said))
        except (OutboundError, InputError) as error:  # not with its address, which is a secret
            raise AnsweredError("Slack cannot be reached", place=self._name) from error
        if answer.status != _OK:
            raise refusal(answer, "Slack", place=self._name, now=self._now())

    async def _conversation(self, to: Recipient) -> str:
        """Where to say it: to a person by their id, which Slack has for their address."""
        if to.ref.type != "User":
            if not self._channel:
                raise HopelessError("no channel is named", place=f"notify.{self._name}.channel")
            return self._channel
        for address in to.addresses:
            try:
                found = await self._call("users.lookupByEmail", query=urlencode({"email": address}))
            except _UnknownError:
                continue
            if isinstance(id_ := found.user.get("id"), str) and id_:
                return id_
        raise HopelessError(f"Slack knows no address of {to.ref}", place=self._name)

    async def _call(self, method: str, *, body: dict[str, Any] | None = None, query: str = "") -> _Said:
        assert self._token is not None
        headers = {"authorization": f"Bearer {self._token.read().decode('ascii', 'replace')}"}
        try:
            answer = await self._outbound.ask(
                "GET" if body is None else "POST",
                f"{self._api}/{method}",
                headers=headers,
                query=query,
                body=None if body is None else msgspec.json.encode(body),
            )
        except OutboundError as error:
            raise AnsweredError("Slack cannot be reached", place=self._name) from error
        if answer.status != _OK:
            raise refusal(answer, "Slack", place=self._name, now=self._now())
        try:
            said = msgspec.json.decode(answer.body, type=_Said)
        except msgspec.DecodeError as error:
            raise AnsweredError("Slack's answer cannot be read", place=self._name) from error
        if not said.ok:
            raise self._error(said.error, answer)
        return said

    def _error(self, word: str, answer: Answer) -> Error:
        plain = word if word.isascii() and word.replace("_", "").isalnum() else "an error"
        said = f"Slack answered {plain[:60]}"
        if word == "users_not_found":
            return _UnknownError(said, place=self._name)
        if word in _LATER:
            return PostponedError(said, after=retry_after(answer, self._now()) or WAIT, place=self._name)
        return (AnsweredError if word in _MENDABLE else HopelessError)(said, place=self._name)


class _UnknownError(HopelessError):
    """Nobody has this address."""


def escape(text: str) -> str:
    """``text`` as Slack shows it again: its three control characters as entities."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
