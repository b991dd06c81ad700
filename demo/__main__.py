"""`make demo`: plays every scene, verifies the ledger, and says how it went."""

import argparse
import importlib
import os
import sys
import time

from demo.house import House
from demo.stage import SCENES, Tally
from demo.world import Failed, World

SCENES_IN = (
    "demo.good",
    "demo.people",
    "demo.attacks",
    "demo.containment",
    "demo.replay",
    "demo.gateways",
    "demo.certificates",
    "demo.platforms",
    "demo.stages",
    "demo.client",
    "demo.leaver",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo")
    parser.add_argument("--keep", action="store_true", help="leave it running for a visitor, until Ctrl-C")
    parser.add_argument("--denials", action="store_true", help="write docs/denials.md from what was refused")
    given = parser.parse_args()
    started = time.perf_counter()
    for module in SCENES_IN:
        importlib.import_module(module)
    tally = Tally()
    with World() as world:
        house = House(world)
        for number, one in enumerate(SCENES, start=1):
            tally.run(number, one, house)
        try:
            house.everproof("ledger", "verify")
            verified = True
        except Failed as failure:
            print(failure.output)
            verified = False
        seconds = time.perf_counter() - started
        if given.denials:
            tally.refusals.write()
        if given.keep:
            print(f"\nIt is left running at {world.url}, with its state in {world.state}. Ctrl-C ends it.", flush=True)
            try:
                house.server.process.wait()
            except KeyboardInterrupt:
                print()
        print(tally.summary("ledger verified" if verified else "LEDGER NOT VERIFIED", seconds))
    skipped = tally.skipped > 0 and bool(os.environ.get("CI"))
    return 0 if verified and not tally.unexpected and not skipped else 1


if __name__ == "__main__":
    sys.exit(main())
