"""The part of Slack that takes messages, refusing what Slack refuses.

docs.slack.dev: "Sending messages using incoming webhooks" (errors as plain text), "chat.postMessage",
"users.lookupByEmail" (errors as ``ok: false`` with status 200), "Rate limits" (429 with Retry-After).
"""

import re
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs

from tests.fakes.https import Asked, Said

WEBHOOK: Final = "/services/T024BE7LD/B024BE7LE/XXXXXXXXXXXXXXXXXXXXXXXX"
MAX_TEXT: Final = 40_000
_CONTROL: Final = re.compile(r"<([^<>]*)>")
_ENTITY: Final = re.compile(r"&(?!amp;|lt;|gt;)")
_KNOWN: Final = frozenset(
    {"text", "channel", "mrkdwn", "parse", "link_names", "unfurl_links", "unfurl_media", "blocks"}
)


@dataclass
class Shown:
    """A message as a reader sees it: ``text`` with its entities resolved, and what it makes anyone do."""

    channel: str
    text: str
    mentions: list[str] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class SlackApi:
    """One workspace. ``errors`` are given in turn instead of an answer; ``waits`` as 429 with these seconds."""

    token: str = "xoxb-1234-5678-abcdefghijkl"
    scopes: set[str] = field(default_factory=lambda: {"chat:write", "users:read", "users:read.email"})
    channels: set[str] = field(default_factory=lambda: {"C024BE91L"})
    members: dict[str, str] = field(default_factory=dict)
    archived: bool = False
    errors: list[str] = field(default_factory=list)
    waits: list[int] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    def answer(self, asked: Asked) -> Said:
        """What Slack says."""
        if self.waits:
            raise Said(429, {"ok": False, "error": "ratelimited"}, {"retry-after": str(self.waits.pop(0))})
        if asked.path.startswith("/services/"):
            return self._webhook(asked)
        if self.errors:
            raise Said(200, {"ok": False, "error": self.errors.pop(0)})
        if asked.headers.get("authorization") != f"Bearer {self.token}":
            given = "authorization" in asked.headers
            raise Said(200, {"ok": False, "error": "invalid_auth" if given else "not_authed"})
        if asked.path == "/api/chat.postMessage" and asked.method == "POST":
            return self._message(asked)
        if asked.path == "/api/users.lookupByEmail":
            self._require("users:read.email")
            email = parse_qs(asked.query).get("email", [""])[0]
            if email not in self.members:
                raise Said(200, {"ok": False, "error": "users_not_found"})
            return Said(200, {"ok": True, "user": {"id": self.members[email], "profile": {"email": email}}})
        raise Said(200, {"ok": False, "error": "unknown_method"})

    def _webhook(self, asked: Asked) -> Said:
        if asked.path != WEBHOOK:
            raise Said(404, "no_service")
        if self.archived:
            raise Said(410, "channel_is_archived")
        if asked.method != "POST" or not isinstance(asked.body, dict):
            raise Said(400, "invalid_payload")
        if not asked.body.get("text"):
            raise Said(400, "no_text")
        self.shown.append(_shown("webhook", asked.body))
        return Said(200, "ok")

    def _message(self, asked: Asked) -> Said:
        self._require("chat:write")
        body = asked.body
        if asked.headers.get("content-type", "").partition(";")[0] != "application/json" or not isinstance(body, dict):
            raise Said(200, {"ok": False, "error": "invalid_json"})
        if body.keys() - _KNOWN:
            raise Said(200, {"ok": False, "error": "invalid_arguments"})
        if not body.get("text"):
            raise Said(200, {"ok": False, "error": "no_text"})
        if len(body["text"]) > MAX_TEXT:
            raise Said(200, {"ok": False, "error": "msg_too_long"})
        channel = str(body.get("channel"))
        if channel not in self.channels and channel not in self.members.values():
            raise Said(200, {"ok": False, "error": "channel_not_found"})
        self.shown.append(_shown(channel, body))
        return Said(200, {"ok": True, "channel": channel, "ts": "1503435956.000247"})

    def _require(self, scope: str) -> None:
        if scope not in self.scopes:
            raise Said(200, {"ok": False, "error": "missing_scope", "needed": scope})


def _shown(channel: str, body: dict[str, Any]) -> Shown:
    """What Slack makes of ``text``: what stands in angle brackets is a mention or a link, entities are characters."""
    text = body["text"]
    assert _ENTITY.search(text) is None, "an ampersand that is no entity"
    shown = Shown(channel, "")
    for inner in _CONTROL.findall(text):
        if inner[:1] in {"!", "@", "#"}:
            shown.mentions.append(inner)
        else:
            url, _, label = inner.partition("|")
            shown.links.append((url, label or url))
    plain = _CONTROL.sub(lambda match: match[1].partition("|")[2] or match[1], text)
    shown.text = plain.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    if body.get("mrkdwn", True):
        shown.text = re.sub(r"[*_~`]", "", shown.text)
    return shown
