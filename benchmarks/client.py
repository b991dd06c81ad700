"""What a question costs a service that asks with `everproof.client`: over TLS each time, and from memory."""

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks._site import Key, Site, running
from benchmarks.figure import Figure, measures
from everproof.client import Client, ClientKey, Entity

QUESTIONS: Final = 1_000
REMEMBERED: Final = 50_000
STARTS: Final = 7
BUILD: Final = Entity("Secret", "build/1", {"path": "build/1"})


@measures("client_evaluate", "client_evaluate_own", "client_evaluate_cached", "client_import")
def client() -> list[Figure]:
    """Microseconds of the asking process's CPU for each question, one after the other."""
    private = ec.generate_private_key(ec.SECP256R1())
    none = serialization.NoEncryption()
    pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, none)
    with running({"gateway": (Key(private), "enforcement-points")}) as site:
        proven = _asked(site, pem, own=False)
        own = _asked(site, pem, own=True)
        remembered = _remembered(site, pem)
    return [
        Figure("client_evaluate", proven, "µs"),
        Figure("client_evaluate_own", own, "µs"),
        Figure("client_evaluate_cached", remembered, "µs"),
        Figure("client_import", _import(), "ms", 150),
    ]


def _asked(site: Site, pem: bytes, *, own: bool) -> float:
    credentials = ClientKey("service:gateway", pem)
    with Client(site.url, credentials, ca=site.context, own_connection=own) as asking:
        _ask(asking, 50)
        return _ask(asking, QUESTIONS)


def _remembered(site: Site, pem: bytes) -> float:
    with Client(site.url, ClientKey("service:gateway", pem), ca=site.context, cache_seconds=60) as asking:
        while not asking.evaluate("User::dev-1", "secret:read", BUILD).cached:
            time.sleep(0.01)
        return _ask(asking, REMEMBERED)


def _ask(asking: Client, count: int) -> float:
    started = time.process_time()
    for _ in range(count):
        assert asking.evaluate("User::dev-1", "secret:read", BUILD).allowed
    return (time.process_time() - started) / count * 1e6


def _import() -> float:
    """Milliseconds of processor time that the import costs beyond an interpreter that does nothing."""
    found = [_started("import everproof.client") for _ in range(STARTS)]
    empty = [_started("pass") for _ in range(STARTS)]
    return (min(found) - min(empty)) * 1000


def _started(script: str) -> float:
    measure: Callable[[str], str] = "{}; import time; print(time.process_time())".format
    done = subprocess.run([sys.executable, "-c", measure(script)], capture_output=True, text=True, check=True)
    return float(done.stdout)
