"""What a client's certificate costs: its handshake, the judgement of it, and each request that it proves."""

import ssl
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote

from tests.pki import Leaf, TrustDomain, spiffe_file

from benchmarks.figure import Figure, measures
from everproof.identity.bindings import load_bindings
from everproof.identity.certificates import ClientCertificates, presented
from everproof.identity.outbound import Outbound
from everproof.identity.spiffe_bundles import SpiffeBundles
from everproof.integrations.issuers import issuer_kinds
from everproof.kernel.clock import SystemClock
from everproof.kernel.settings import Settings
from everproof.kernel.words import Ref
from everproof.server.forwarded import ENVOY, nearest, read_forwarded
from everproof.server.tls import Certificates

HANDSHAKES: Final = 200
ROUNDS: Final = 20_000


class _Alive:
    """Asked as in a server: a look into memory for each."""

    def __init__(self) -> None:
        self.dead: set[str] = set()
        self.held: set[Ref] = set()

    def is_live(self, credential: str) -> bool:
        return credential not in self.dead

    def is_key_live(self, name: str) -> bool:
        return name not in self.dead


@measures(
    "handshake_plain", "handshake_certificate", "certificate_judged", "certificate_request", "certificate_forwarded"
)
def certificates() -> list[Figure]:
    partner = TrustDomain("partner.example")
    leaf = partner.svid("billing")
    clock = SystemClock()
    clients = ClientCertificates(SpiffeBundles(Outbound(), clock), clock, _Alive())
    files = {"trust/partner.toml": spiffe_file("partner.example"), "trust/partner.json": partner.bundle()}
    bindings = load_bindings(files, issuer_kinds())
    clients.trust(bindings)
    with tempfile.TemporaryDirectory() as name:
        server = Certificates(Settings(state=Path(name)), clock)
        server.trust(clients.anchors)
        plain = _handshakes(server, None, Path(name))
        mutual = _handshakes(server, leaf, Path(name))
    shown = presented(leaf.chain, datetime.now(UTC))

    def judged() -> None:
        clients._known.clear()
        clients.certify(shown)

    header = {ENVOY: f'Hash=;Cert="{quote(leaf.pem, safe="")}";URI=spiffe://partner.example/billing'.encode()}

    def forwarded() -> None:
        chain = nearest(read_forwarded(header), lambda _: False)
        clients.certify(presented(chain, shown.at))

    return [
        Figure("handshake_plain", plain, "µs"),
        Figure("handshake_certificate", mutual, "µs"),
        Figure("certificate_judged", _microseconds(judged, ROUNDS // 20), "µs"),
        Figure("certificate_request", _microseconds(lambda: clients.certify(shown), ROUNDS), "µs"),
        Figure("certificate_forwarded", _microseconds(forwarded, ROUNDS // 20), "µs"),
    ]


def _microseconds(turn: Callable[[], object], rounds: int) -> float:
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        for _ in range(rounds):
            turn()
        best = min(best, time.process_time() - started)
    return best / rounds * 1e6


def _handshakes(certificates: Certificates, leaf: Leaf | None, folder: Path) -> float:
    """The server's CPU for one handshake of TLS 1.3, its client's not counted; no socket."""
    context = ssl.create_default_context(cafile=str(certificates.ca_file))
    if leaf is not None:
        context.load_cert_chain(leaf.write(folder))
    best = float("inf")
    for _ in range(3):
        best = min(best, sum(_one(certificates.context, context) for _ in range(HANDSHAKES)))
    return best / HANDSHAKES * 1e6


def _one(server: ssl.SSLContext, client: ssl.SSLContext) -> float:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    started = time.process_time()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    spent = time.process_time() - started
    done = 0
    while done < 2:
        done = 0
        try:
            theirs.do_handshake()
            done += 1
        except ssl.SSLWantReadError:
            pass
        started = time.process_time()
        try:
            ours.do_handshake()
            done += 1
        except ssl.SSLWantReadError:
            pass
        finally:
            spent += time.process_time() - started
    return spent
