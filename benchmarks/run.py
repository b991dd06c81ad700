"""What `everproof run` adds to a step: of /bin/true, with the server's work, a job's fresh token each, durable entries.

From the runner's call to the command's own first instruction and from its end to the exit: start of the interpreter,
keys, TLS, token exchange, the stage's decision, the command's end on record.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.issuer import github_claims
from tests.issuer import running as issuing

from benchmarks._site import running
from benchmarks.exchange import TRUST
from benchmarks.figure import Figure, measures
from everproof.kernel.settings import Outbound

STEPS: Final = 40
WARM: Final = 5
EVERPROOF: Final = str(Path(sys.executable).parent / "everproof")
TRUE: Final = "/bin/true"


@measures("step_overhead")
def run() -> list[Figure]:
    """The median of steps, less that of the command alone."""
    with tempfile.TemporaryDirectory(prefix="everproof-issuer-") as folder, issuing(Path(folder)) as issuer:
        outbound = Outbound(ca_file=issuer.ca_file, private_hosts=("127.0.0.1",))

        def trust(audience: str) -> bytes:
            return TRUST.format(url=issuer.url, audience=audience).encode()

        with running({}, trust=trust, outbound=outbound) as site:
            steps, alone = [], []
            for number in range(WARM + STEPS):
                own = {"jti": str(uuid.uuid4()), "run_id": str(time.time_ns())}
                environment = {
                    "PATH": os.environ["PATH"],
                    "EVERPROOF_SERVER": site.url,
                    "EVERPROOF_CA": str(site.folder / "state" / "ca.pem"),
                    "EVERPROOF_ID_TOKEN": issuer.mint(github_claims(datetime.now(UTC), audience=site.url, **own)),
                }
                taken = _timed([EVERPROOF, "run", "--stage", "build", "--", TRUE], environment)
                if number >= WARM:
                    steps.append(taken)
                    alone.append(_timed([TRUE], environment))
    return [Figure("step_overhead", statistics.median(steps) - statistics.median(alone), "ms", 150)]


def _timed(command: list[str], environment: dict[str, str]) -> float:
    """Milliseconds that ``command`` takes."""
    started = time.perf_counter()
    subprocess.run(command, env=environment, check=True)
    return (time.perf_counter() - started) * 1000
