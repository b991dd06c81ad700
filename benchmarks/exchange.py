"""Token exchange (RFC 8693): a job's RS256 token in, a token bound to the job's key out, durable before the answer.

Each request is another job, with a key and a DPoP proof of its own, over HTTPS, 64 callers; the server has one core.
"""

import asyncio
import gc
import json
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import uvloop
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from tests.issuer import Issuer, github_claims
from tests.issuer import running as issuing

from benchmarks._load import Load, request_bytes
from benchmarks._site import Key, Site, form, running
from benchmarks.figure import Figure, measures
from everproof.kernel.canonical import b64url
from everproof.kernel.settings import Outbound

PATH: Final = "/oauth/token"
CALLERS: Final = 64
WARM: Final = 500
REQUESTS: Final = 4_000
ROUNDS: Final = 2

TRUST: Final = """
[issuer]
url = "{url}"
type = "github"
audience = "{audience}"

[[binding]]
name = "shop"
id = "github/{{repository_id}}/{{run_id}}"
groups = ["builders"]
claims.repository_owner_id = "65"
claims.repository_id = "74"
"""


@measures("token_exchange")
def exchange() -> list[Figure]:
    """Exchanges a second, the better of two rounds."""
    with tempfile.TemporaryDirectory(prefix="everproof-issuer-") as folder, issuing(Path(folder)) as issuer:
        outbound = Outbound(ca_file=issuer.ca_file, private_hosts=("127.0.0.1",))

        def trust(audience: str) -> bytes:
            return TRUST.format(url=issuer.url, audience=audience).encode()

        with running({}, trust=trust, outbound=outbound) as site:
            rate = uvloop.run(_exchange(site, issuer))
    return [Figure("token_exchange", rate, "/s", 1500)]


async def _exchange(site: Site, issuer: Issuer) -> float:
    load = await Load.connect(site.port, site.pid, CALLERS, site.context)
    rates = []
    for round_, count in enumerate([WARM, *[REQUESTS] * ROUNDS]):
        nonce = site.nonce()
        requests = [await asyncio.to_thread(_request, site, issuer, nonce, round_, at) for at in range(count)]
        gc.collect()
        rates.append((await load.send(requests, b'"token_type":"DPoP"')).rate)
    load.close()
    return max(rates[1:])


def _request(site: Site, issuer: Issuer, nonce: str, round_: int, at: int) -> bytes:
    claims = github_claims(datetime.fromtimestamp(time.time(), UTC), audience=site.url)
    claims |= {"jti": f"{round_}-{at}", "run_id": f"{round_}{at:06}"}
    key = Key()
    body = form(
        grant_type="urn:ietf:params:oauth:grant-type:token-exchange",
        subject_token=_mint(issuer, claims),
        subject_token_type="urn:ietf:params:oauth:token-type:jwt",
    )
    headers = {
        "content-type": "application/x-www-form-urlencoded",
        "dpop": key.proof("POST", site.url + PATH, nonce),
    }
    return request_bytes("POST", PATH, headers, body)


def _mint(issuer: Issuer, claims: dict[str, Any]) -> str:
    """A token in compact JSON, as platforms make it."""
    parts = ({"alg": "RS256", "typ": "JWT", "kid": issuer.current}, {"iss": issuer.url, **claims})
    signed = ".".join(b64url(json.dumps(part, separators=(",", ":")).encode()) for part in parts)
    return f"{signed}.{b64url(issuer.keys[issuer.current].sign(signed.encode(), PKCS1v15(), SHA256()))}"
