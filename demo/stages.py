"""Steps of a pipeline: each stage has its own work, and none does another's."""

import json
import os
from pathlib import Path
from typing import Final

from demo.house import House
from demo.stage import expect, scene
from demo.world import EVERPROOF, Failed, run

DENIED: Final = "stages/only-deploy-deploys"


def step(house: House, stage: str, script: str) -> str:
    """What a step's command printed, run as a runner of the platform runs it."""
    runner = {
        **house.environment,
        "PATH": f"{Path(EVERPROOF).parent}:{os.environ['PATH']}",
        "EVERPROOF_SERVER": house.world.url,
        "EVERPROOF_CA": str(house.ca),
        "EVERPROOF_ID_TOKEN": house.issuer.mint(house.claims()),
        "GITHUB_TOKEN": "a-secret-of-the-runner",
    }
    return run(EVERPROOF, "run", "--stage", stage, "--", "sh", "-c", script, environment=runner)


@scene("a build step runs, with a credential for the stage build alone")
def build(house: House) -> str:
    said = step(house, "build", "env; everproof ask git:fetch Repository::acme/shop -p name=acme/shop")
    expect("allowed" in said, said)
    expect("a-secret-of-the-runner" not in said, said)
    record = json.loads(house.everproof("ledger", "tail", "-n", "1", "--json").splitlines()[-1])
    result = record["entry"]["body"]["detail"]["result"]
    return f"it read its source, saw no secret of the runner, and its end is on record: exit {result['exit_status']}"


@scene("a build step tries to deploy", attack=True)
def deploy(house: House) -> str:
    try:
        step(house, "build", "everproof ask deployment:start Environment::production")
    except Failed as refused:
        expect(DENIED in refused.output, refused.output)
        return "refused: deployments are started by steps of the stage deploy alone"
    raise AssertionError("it may deploy")


@scene("a step's grandchild forks twice to outlive it", attack=True)
def outlive(house: House) -> str:
    marker = house.world.folder / "daemon"
    step(
        house,
        "build",
        f"setsid nohup sh -c '(echo $$ > {marker}; exec sleep 600) &' > /dev/null 2>&1;"
        f" while [ ! -s {marker} ]; do sleep 0.02; done",
    )
    record = json.loads(house.everproof("ledger", "tail", "-n", "1", "--json").splitlines()[-1])
    ended = record["entry"]["body"]["detail"]["result"].get("survivors", 0)
    expect(ended >= 1, str(record))
    expect(not Path("/proc", marker.read_text().strip(), "exe").exists(), "it lives on")
    return f"{ended} left-over process killed with its step, and counted in the ledger"
