"""A Python service asks by `everproof.client`, and remembers a yes while it may be believed."""

import threading
import time
from collections.abc import Callable

from demo.house import House
from demo.stage import expect, scene
from everproof.client import Client, ClientKey, DeniedError
from everproof.client.synchronous import STALENESS_SECONDS

VISITOR = "Service::visitor"
PATIENCE = 10.0


@scene("a Python service guards a function; its yes comes from memory, until…", attack=True)
def remembers(house: House) -> str:
    alice = house.world.person("alice")
    key = house.world.folder / "storefront.pem"
    alice.everproof("identity", "service", "add", "storefront", "--new-key", str(key), "--group", "enforcement-points")
    alice.everproof("identity", "service", "add", "visitor", "--new-key", str(house.world.folder / "visitor.pem"))
    credentials = ClientKey("service:storefront", key)
    with Client(house.world.url, credentials, ca=house.ca, cache_seconds=60) as everproof:

        @everproof.requires("identity:read", resource=VISITOR, subject=VISITOR)
        def profile() -> str:
            return "the visitor's profile"

        deadline = time.monotonic() + PATIENCE
        while not everproof.evaluate(VISITOR, "identity:read", VISITOR).cached:
            profile()
            expect(time.monotonic() < deadline, "nothing was ever remembered")
        last, refused = _until_refused(profile, lambda: alice.everproof("identity", "disable", VISITOR))
        expect(refused, "it was still let in")
        expect(last <= STALENESS_SECONDS, f"it was let in {last:.1f} s after the visitor was disabled")
    return f"refused: the visitor is disabled; its last yes {max(0.0, last) * 1000:,.0f} ms after that was acknowledged"


def _until_refused(call: Callable[[], object], disable: Callable[[], object]) -> tuple[float, bool]:
    """Seconds from the acknowledgement of ``disable`` to the last time that ``call`` went through, and if it ended."""
    done: list[float] = []

    def run() -> None:
        disable()
        done.append(time.monotonic())

    thread = threading.Thread(target=run)
    thread.start()
    last, deadline = time.monotonic(), time.monotonic() + PATIENCE
    refused = False
    while not refused and time.monotonic() < deadline:
        try:
            call()
            last = time.monotonic()
            time.sleep(0.001)  # the disabling has to get its turn too
        except DeniedError:
            refused = True
    thread.join(PATIENCE)
    return last - done[0] if done else PATIENCE, refused and bool(done)
