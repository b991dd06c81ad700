"""Several servers on one PostgreSQL: how soon a revocation holds at all of them, and what each more of them adds.

Each server is a process with all of its rooms, asked without its doors: what HTTPS costs is measured beside.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests import postgres
from tests.replicas.fleet import Fleet, fleet_of
from tests.replicas.replica import Load, ask, revoke

from benchmarks.figure import Figure, measures
from everproof.app import Everproof

SERVERS: Final = 3
REVOCATIONS: Final = 100
SECONDS: Final = 3.0
TASKS: Final = 64


@contextmanager
def _fleet(pool: int) -> Iterator[Fleet]:
    with tempfile.TemporaryDirectory(prefix="everproof-bench-") as folder, postgres.running() as database:
        Path(folder).chmod(0o755)
        with fleet_of(Fleet(database.fresh(), Path(folder) / "fleet", pool=pool)) as fleet:
            yield fleet


@measures("revocation_replicas_p99")
def revocation_replicas() -> list[Figure]:
    """From the acknowledgement at one of three servers to the last first refusal at the others, all under load.

    A credential is asked for at both others without a pause; the figure is when the slower of them first refuses.
    """
    with _fleet(REVOCATIONS * 10) as fleet:
        servers = [fleet.start(number, Load(tasks=2, rest=0.01)) for number in range(SERVERS)]
        for server in servers:
            server.wait()
        taken = asyncio.run(_revocations(fleet))
    return [Figure("revocation_replicas_p99", statistics.quantiles(taken, n=100)[98] * 1e3, "ms", 250)]


async def _revocations(fleet: Fleet) -> list[float]:
    """With three more servers in this process, beside the loaded ones."""
    apps = [fleet.open(f"asking{number}") for number in range(SERVERS)]
    for app in apps:
        await app.start()
    taken = []
    try:
        for credential in fleet.pool[:REVOCATIONS]:
            first, *others = apps
            asking = [asyncio.create_task(_first_refusal(app, credential)) for app in others]
            await asyncio.sleep(0.01)
            acknowledged = (await revoke(first, credential)).answered
            taken.append(max(0.0, max(await asyncio.gather(*asking)) - acknowledged))
    finally:
        for app in apps:
            await app.stop()
    return taken


async def _first_refusal(app: Everproof, credential: str) -> float:
    while True:
        told = await ask(app, credential)
        if not told.allowed:
            return told.answered


def throughput(count: int) -> float:
    """Decisions a second of ``count`` servers, each with `TASKS` callers."""
    with _fleet(1000) as fleet:
        servers = [fleet.start(number, Load(tasks=TASKS)) for number in range(count)]
        for server in servers:
            server.wait()
        time.sleep(0.5)
        began = time.monotonic()
        time.sleep(SECONDS)
        ended = time.monotonic()
        for server in servers:
            server.kill()
        return sum(began < one.answered <= ended for server in servers for one in server.told) / (ended - began)


@measures("replicas_1", "replicas_2", "replicas_3")
def throughputs() -> list[Figure]:
    """Recorded decisions a second of one, two and three servers on one PostgreSQL; how they share the cores, too."""
    return [Figure(f"replicas_{count}", throughput(count), "decisions/s") for count in (1, 2, 3)]
