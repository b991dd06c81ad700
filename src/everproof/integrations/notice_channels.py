"""Every channel by which people are told, as the settings name them."""

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from everproof.identity.outbound import Outbound, https_url
from everproof.integrations.secret_source import SecretSource
from everproof.integrations.slack.notify import SlackNotices
from everproof.integrations.smtp.notify import SmtpNotices
from everproof.integrations.webhook.notify import WebhookNotices
from everproof.kernel import settings
from everproof.work.notices import Channel

Named = settings.WebhookChannel | settings.SmtpChannel | settings.SlackChannel


def notice_channels(
    named: Mapping[str, Named], outbound: Outbound, now: Callable[[], datetime], *, ca_file: Path | None = None
) -> dict[str, Channel]:
    """The channels by their names.

    Raises:
        InputError: one of them is set up wrongly.
    """
    return {name: _channel(name, one, outbound, now, ca_file) for name, one in named.items()}


def _channel(name: str, one: Named, outbound: Outbound, now: Callable[[], datetime], ca_file: Path | None) -> Channel:
    def secret(spec: str, field: str) -> SecretSource | None:
        return SecretSource(spec, place=f"notify.{name}.{field}") if spec else None

    groups = frozenset(one.groups)
    if isinstance(one, settings.WebhookChannel):
        key = SecretSource(one.secret, place=f"notify.{name}.secret")
        return WebhookNotices(name, outbound, url=one.url, secret=key, now=now, people=one.people, groups=groups)
    if isinstance(one, settings.SmtpChannel):
        return SmtpNotices(
            name, host=one.host, port=one.port, sender=one.sender, tls=one.tls, user=one.user,
            secret=secret(one.secret, "secret"), ca_file=ca_file, people=one.people, groups=groups, to=one.to,
        )  # fmt: skip
    if one.api:
        https_url(one.api, place=f"notify.{name}.api")
    return SlackNotices(
        name, outbound, now=now, webhook=secret(one.webhook, "webhook"), token=secret(one.token, "token"),
        channel=one.channel, api=one.api, people=one.people, groups=groups,
    )  # fmt: skip
