"""Slack, as a fake that refuses what Slack refuses and shows what Slack would show."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from everproof.integrations.answers import AnsweredError
from everproof.integrations.slack.notify import SlackNotices
from everproof.kernel.errors import Error, InputError
from everproof.kernel.words import Ref
from everproof.work import HopelessError, PostponedError
from everproof.work.notices import Recipient
from tests.fakes.slack_api import WEBHOOK, SlackApi
from tests.notices.conftest import ALICE, message

TEAM = Recipient(ref=Ref("Group", "platform"), name="platform")
LINK = "https://localhost:8443/factors"


def now() -> datetime:
    return datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture
def slack() -> SlackApi:
    return SlackApi(members={"alice@example.com": "U024BE7LH"})


@pytest.fixture
def bot(slack: SlackApi, serve: Any, secret: Any) -> SlackNotices:
    served, outbound = serve(slack)
    token = secret(slack.token)
    return SlackNotices(
        "chat", outbound, now=now, token=token, channel="C024BE91L", api=f"{served.url}/api", people=True
    )


@pytest.fixture
def webhook(slack: SlackApi, serve: Any, secret: Any) -> SlackNotices:
    served, outbound = serve(slack)
    return SlackNotices("chat", outbound, now=now, webhook=secret(f"{served.url}{WEBHOOK}"))


async def test_people_and_channels_are_told(slack: SlackApi, bot: SlackNotices) -> None:
    await bot.deliver(message())
    await bot.deliver(message(to=TEAM))
    assert [one.channel for one in slack.shown] == ["U024BE7LH", "C024BE91L"]
    assert slack.shown[0].text == f"A passkey was added\n\nA day.\n\n{LINK}"
    with pytest.raises(HopelessError, match="knows no address"):
        await bot.deliver(message(to=Recipient(ref=ALICE.ref, addresses=("a@example.org",))))


HOSTILE = "<!channel> <@U024BE7LH> <https://evil.example|our page> *Approve* &lt;!here&gt; `x` & y"


async def test_markup_in_others_words_is_only_text(slack: SlackApi, webhook: SlackNotices) -> None:
    await webhook.deliver(message(text=HOSTILE, subject=HOSTILE))
    shown = slack.shown[0]
    assert shown.text == f"{HOSTILE}\n\n{HOSTILE}\n\n{LINK}"
    assert not shown.mentions
    assert shown.links == [(LINK, LINK)]


async def test_a_webhooks_address_is_never_told(slack: SlackApi, serve: Any, secret: Any) -> None:
    served, outbound = serve(slack)
    for url in (f"{served.url}/services/T0/B0/secret", "https://127.0.0.1:1/services/T0/B0/secret", "http://x/secret"):
        channel = SlackNotices("chat", outbound, now=now, webhook=secret(url))
        with pytest.raises(Error) as failed:
            await channel.deliver(message())
        assert "secret" not in f"{failed.value} {failed.value.place} {failed.value.todo}"


async def test_refusals_are_told_apart(slack: SlackApi, bot: SlackNotices, serve: Any, secret: Any) -> None:
    slack.waits = [17]
    with pytest.raises(PostponedError) as later:
        await bot.deliver(message(to=TEAM))
    assert later.value.after == timedelta(seconds=17)
    for word, kind in (
        ("invalid_auth", AnsweredError),
        ("channel_not_found", HopelessError),
        ("fatal_error", PostponedError),
    ):
        slack.errors = [word]
        with pytest.raises(kind, match=word):
            await bot.deliver(message(to=TEAM))
    slack.scopes = {"chat:write"}
    with pytest.raises(AnsweredError, match="missing_scope"):
        await bot.deliver(message())
    slack.archived = True
    served, outbound = serve(slack)
    with pytest.raises(HopelessError, match="410"):
        await SlackNotices("chat", outbound, now=now, webhook=secret(f"{served.url}{WEBHOOK}")).deliver(message())
    assert not slack.shown


def test_what_cannot_work_is_refused_at_the_start(serve: Any, secret: Any, slack: SlackApi) -> None:
    _, outbound = serve(slack)
    with pytest.raises(InputError, match="either webhook or token"):
        SlackNotices("chat", outbound, now=now)
    with pytest.raises(InputError, match="reaches no people"):
        SlackNotices("chat", outbound, now=now, webhook=secret("https://x"), people=True)
