"""Webhooks, as a receiver sees them that does as Standard Webhooks advises."""

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from everproof.integrations.answers import AnsweredError
from everproof.integrations.secret_source import SecretError
from everproof.integrations.webhook.notify import WebhookNotices, signature
from everproof.work import HopelessError, PostponedError
from tests.conftest import SettableClock
from tests.fakes.https import Asked, Said
from tests.notices.conftest import message

OLD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEW = "whsec_" + base64.b64encode(b"n" * 32).decode()


@dataclass
class Receiver:
    """Takes what is signed with its key, is not older than five minutes, and is not a second time the same."""

    key: str
    clock: SettableClock
    says: list[Said] = field(default_factory=list)
    taken: list[Any] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    asked: list[Asked] = field(default_factory=list)

    def answer(self, asked: Asked) -> Said:
        id_, time = asked.headers["webhook-id"], asked.headers["webhook-timestamp"]
        if abs(self.clock.now().timestamp() - int(time)) > 300:
            return Said(400, {"error": "too old"})
        key = base64.b64decode(self.key.removeprefix("whsec_"))
        wanted = hmac.new(key, f"{id_}.{time}.".encode() + asked.content, hashlib.sha256).digest()
        given = [base64.b64decode(one.partition(",")[2]) for one in asked.headers["webhook-signature"].split()]
        if not any(hmac.compare_digest(one, wanted) for one in given):
            return Said(401, {"error": "not signed"})
        if self.says:
            return self.says.pop(0)
        if id_ not in self.seen:
            self.seen.add(id_)
            self.taken.append(asked.body)
        return Said(204)


def channel(receiver: Receiver, serve: Any, source: Any, clock: SettableClock) -> WebhookNotices:
    served, outbound = serve(receiver)
    return WebhookNotices("hook", outbound, url=f"{served.url}/in", secret=source, now=clock.now)


def test_signature_is_the_specifications() -> None:
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    said = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert said == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_a_second_attempt_is_known_as_one_and_its_time_is_new(
    serve: Any, secret: Any, clock: SettableClock
) -> None:
    receiver = Receiver(OLD, clock)
    hook = channel(receiver, serve, secret(f"{NEW}\n{OLD}"), clock)
    await hook.deliver(message())
    clock.advance(timedelta(hours=1))
    await hook.deliver(message())
    assert len(receiver.asked) == 2
    assert receiver.taken == [
        {
            "type": "notice",
            "timestamp": datetime(2026, 11, 21, 12, 0, tzinfo=UTC).isoformat(),
            "data": {
                "to": {"type": "User", "id": "alice"},
                "subject": "A passkey was added",
                "text": "A day.",
                "link": "https://localhost:8443/factors",
            },
        }
    ]


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (Said(500), AnsweredError),
        (Said(302, None, {"location": "https://evil.example"}), AnsweredError),
        (Said(410), HopelessError),
        (Said(429, None, {"retry-after": "30"}), PostponedError),
        (Said(503, None, {"retry-after": "Sat, 21 Nov 2026 12:00:30 GMT"}), PostponedError),
    ],
)
async def test_refusals_are_told_apart(said: Said, kind: Any, serve: Any, secret: Any, clock: SettableClock) -> None:
    hook = channel(Receiver(OLD, clock, says=[said]), serve, secret(OLD), clock)
    with pytest.raises(kind) as failed:
        await hook.deliver(message())
    if isinstance(failed.value, PostponedError):
        assert failed.value.after == timedelta(seconds=30)


@pytest.mark.parametrize("key", ["whsec_c2hvcnQ=", "not base64 at all!", "whsec_" + "A" * 200])
async def test_what_is_no_key_signs_nothing(key: str, serve: Any, secret: Any, clock: SettableClock) -> None:
    receiver = Receiver(OLD, clock)
    with pytest.raises(SecretError) as failed:
        await channel(receiver, serve, secret(key), clock).deliver(message())
    assert key not in str(failed.value)
    assert not receiver.asked
