"""Replay: a ledger of recorded decisions, decided again by a bundle of 100 policies on two processes.

What is measured is the whole of it: rows read, bodies unsealed and decoded, requests made anew, decided, compared byte
by byte and counted; the start of the processes too. A sample is compared with single decisions.
"""

import asyncio
import random
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from benchmarks.decision import bundle, requests
from benchmarks.figure import Figure, measures
from everproof.authorize.record import DecisionRecord, ProofRecord
from everproof.authorize.replaying import Replay, replay_ledger
from everproof.kernel.canonical import encode
from everproof.kernel.ids import new_id
from everproof.kernel.settings import Settings
from everproof.kernel.words import MAIN_SPACE, Entry
from everproof.keys import Keyring, SigningKeys, open_root_key
from everproof.ledger import Ledger
from everproof.policy import Engine, Request
from everproof.policy.replay import past_decision, replay
from everproof.storage import Storage

DECISIONS: Final = 100_000
POLICIES: Final = 100
PROCESSES: Final = 2
AT_ONCE: Final = 5_000
SAMPLE: Final = 500


def entry(engine: Engine, request: Request, at: datetime) -> Entry:
    """A decision as the authorizer records it."""
    verdict = engine.decide(request)
    body = DecisionRecord(
        decision="allow" if verdict.decision.allowed else "deny",
        principal=request.principal.ref,
        action=request.action.name,
        resource=request.resource.ref,
        proof=ProofRecord("access-token", credential=new_id("cred")),
        context=msgspec.Raw(verdict.context),
        entities=msgspec.Raw(verdict.entities),
        sources=tuple((name, "proof") for name in request.context),
        bundle=verdict.decision.bundle,
        engine=engine.version,
        reasons=verdict.decision.reasons,
        errors=verdict.decision.errors,
    )
    return Entry(id=new_id("ent"), at=at, kind="decision", about=MAIN_SPACE, body=msgspec.Raw(encode(body)))


async def replayed() -> Replay:
    engine = Engine(bundle(POLICIES))
    asked = requests()
    with tempfile.TemporaryDirectory(prefix="everproof-bench-") as folder:
        settings = Settings(state=Path(folder))
        storage = Storage.open(settings.database_url, state=settings.state)
        keyring = Keyring(storage, open_root_key("", settings.state))
        ledger = Ledger(storage, keyring, SigningKeys(storage, keyring).current("Ed25519"), origin="bench")
        await storage.start()
        now = datetime.now(UTC)
        for start in range(0, DECISIONS, AT_ONCE):
            some = [entry(engine, asked[at % len(asked)], now) for at in range(start, start + AT_ONCE)]
            await asyncio.gather(*map(ledger.record, some))
        for index in random.Random(3).sample(range(DECISIONS), SAMPLE):
            again = replay(engine, past_decision(bytes(ledger.read(index).body)))
            assert again.identical
            assert again.verdict.decision == engine.decide(asked[index % len(asked)]).decision
        found = await replay_ledger(
            ledger, settings, engine.bundle.files, since=now - timedelta(days=1), processes=PROCESSES
        )
        await storage.stop()
    assert found.complete
    assert (found.findings.decisions, found.findings.identical) == (DECISIONS, DECISIONS), found.findings
    return found


@measures("replay_rate")
def replay_rate() -> list[Figure]:
    found = uvloop.run(replayed())
    return [Figure("replay_rate", found.findings.decisions / found.seconds, "/s", 12_000)]
