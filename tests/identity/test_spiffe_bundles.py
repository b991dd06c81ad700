"""Bundles from their endpoints: kept fresh, never going back, and not believed for ever."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from everproof.identity.certificate_trust import TrustDomainSource
from everproof.identity.outbound import OutboundError
from everproof.identity.spiffe import read_spiffe_bundle
from everproof.identity.spiffe_bundles import LASTS, RETRY, SpiffeBundles
from tests.conftest import SettableClock
from tests.pki import TrustDomain

NAME = "partner.example"
ENDPOINT = "https://partner.example/bundle"


class Endpoint:
    """What is published, or why not."""

    def __init__(self) -> None:
        self.document = b""
        self.asked: list[str] = []

    async def get(self, url: str) -> bytes:
        self.asked.append(url)
        if not self.document:
            raise OutboundError("down", place=url)
        return self.document


class Watch:
    """A trust domain with an endpoint, and how often its trust changed."""

    def __init__(self, clock: SettableClock) -> None:
        clock.time = datetime.now(UTC)
        self.clock = clock
        self.endpoint = Endpoint()
        self.partner = TrustDomain(NAME)
        self.bundles = SpiffeBundles(self.endpoint, clock)
        self.changes = 0
        self.bundles.on_change(self.changed)

    def changed(self) -> None:
        self.changes += 1

    def trust(self, bundle: bytes | None = None) -> None:
        known = None if bundle is None else read_spiffe_bundle(bundle, NAME, place="file")
        self.bundles.trust({NAME: TrustDomainSource(NAME, None, known, ENDPOINT)})

    async def publish(self, document: bytes, *, after: timedelta = timedelta(minutes=2)) -> None:
        self.endpoint.document = document
        self.clock.advance(after)
        await self.bundles.refresh()

    def believed(self) -> list[bytes] | None:
        found = self.bundles.current(NAME)
        return None if found is None else [one.public_bytes(Encoding.DER) for one in found.authorities]


@pytest.fixture
async def watch(clock: SettableClock) -> AsyncIterator[Watch]:
    watch = Watch(clock)
    watch.trust()
    yield watch
    await watch.bundles.stop()


async def test_an_endpoint_is_asked_as_often_as_its_bundle_asks_for(watch: Watch) -> None:
    assert watch.believed() is None
    await watch.publish(watch.partner.bundle(refresh=600))
    assert watch.believed() == [watch.partner.der]
    await watch.publish(watch.partner.bundle(), after=timedelta(seconds=599))
    assert len(watch.endpoint.asked) == 1
    await watch.publish(watch.partner.bundle(refresh=1), after=timedelta(seconds=1))
    await watch.publish(watch.partner.bundle(refresh=10**9), after=timedelta(seconds=29))
    assert len(watch.endpoint.asked) == 2
    await watch.publish(watch.partner.bundle(refresh=10**9), after=timedelta(seconds=1))
    await watch.publish(watch.partner.bundle(), after=timedelta(hours=1))
    assert len(watch.endpoint.asked) == 4


async def test_a_new_authority_is_believed_and_the_old_one_no_more(watch: Watch) -> None:
    await watch.publish(watch.partner.bundle())
    before = watch.changes
    await watch.publish(watch.partner.bundle(sequence=2))
    assert watch.changes == before
    new = TrustDomain(NAME)
    await watch.publish(new.bundle(sequence=3))
    assert (watch.believed(), watch.changes) == ([new.der], before + 1)


async def test_a_bundle_does_not_go_back_to_an_older_one(watch: Watch) -> None:
    await watch.publish(watch.partner.bundle(sequence=5))
    await watch.publish(TrustDomain(NAME).bundle(sequence=4))
    assert watch.believed() == [watch.partner.der]


@pytest.mark.parametrize("document", [b"", b"(", b'{"keys": []}', TrustDomain("other.example").bundle(sequence=9)])
async def test_what_cannot_be_read_changes_nothing_and_is_asked_for_again(watch: Watch, document: bytes) -> None:
    await watch.publish(watch.partner.bundle())
    await watch.publish(document)
    assert watch.believed() == [watch.partner.der]
    asked = len(watch.endpoint.asked)
    await watch.publish(document, after=RETRY - timedelta(seconds=1))
    assert len(watch.endpoint.asked) == asked
    await watch.publish(document, after=timedelta(seconds=1))
    assert len(watch.endpoint.asked) == asked + 1


async def test_an_endpoint_that_stays_down_is_believed_for_a_day_and_then_nobody_is(watch: Watch) -> None:
    await watch.publish(watch.partner.bundle())
    await watch.publish(b"", after=LASTS)
    assert watch.believed() == [watch.partner.der]
    before = watch.changes
    await watch.publish(b"", after=timedelta(minutes=1))
    assert (watch.believed(), watch.changes) == (None, before + 1)


async def test_a_file_serves_until_the_endpoint_answers(watch: Watch) -> None:
    first, new = TrustDomain(NAME), TrustDomain(NAME)
    watch.trust(first.bundle())
    assert watch.believed() == [first.der]
    await watch.publish(new.bundle())
    assert watch.believed() == [new.der]
    watch.trust(first.bundle())  # another policy bundle, with the same endpoint
    assert watch.believed() == [new.der]


async def test_a_trust_domain_that_leaves_the_policy_bundle_is_believed_no_more(watch: Watch) -> None:
    await watch.publish(watch.partner.bundle())
    watch.bundles.trust({})
    assert watch.believed() is None
    await watch.bundles.refresh()
    assert len(watch.endpoint.asked) == 1


async def test_a_server_that_runs_asks_by_itself(watch: Watch) -> None:
    watch.endpoint.document = watch.partner.bundle()
    asked = len(watch.endpoint.asked)
    await watch.bundles.start()
    await watch.bundles.refresh()
    assert len(watch.endpoint.asked) > asked
    assert watch.believed() == [watch.partner.der]
