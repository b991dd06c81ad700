"""An AuthZEN evaluation over HTTPS: the caller's token verified, 100 policies, durable in the ledger before the answer.

64 callers with keep-alive; what counts is the server's CPU a request, all of its threads, from /proc. For `authzen_cpu`
each caller has shown its key on its connection; for `authzen_dpop_cpu` it signs every request (RFC 9449).
"""

import asyncio
import json
import statistics
import time
from collections.abc import Iterator
from typing import Final

import uvloop

from benchmarks._load import Load, request_bytes
from benchmarks._site import PEOPLE, Key, Site, form, running
from benchmarks.figure import Figure, measures

PATH: Final = "/access/v1/evaluation"
CALLERS: Final = 64
WARM: Final = 4_000
REQUESTS: Final = 15_000
ROUNDS: Final = 3
REVOCATIONS: Final = 200
BESIDE: Final = 8
"""Callers that go on asking while credentials are revoked."""
TRUE: Final = b'"decision":true'


def questions() -> Iterator[bytes]:
    """What a service asks of its users: compact JSON, some 200 bytes."""
    number = 0
    while True:
        number += 1
        question = {
            "subject": {"type": "User", "id": f"dev-{number % PEOPLE}"},
            "action": {"name": "secret:read"},
            "resource": {
                "type": "Secret",
                "id": f"build/{number % 97}",
                "properties": {"path": f"build/{number % 97}"},
            },
            "context": {"ip": "10.0.0.7", "user_agent": "curl"},
        }
        yield json.dumps(question, separators=(",", ":")).encode()


def ask(body: bytes, token: str, proof: str = "") -> bytes:
    """One evaluation as bytes."""
    headers = {"authorization": f"DPoP {token}", "content-type": "application/json", "x-request-id": "r-4711"}
    return request_bytes("POST", PATH, headers | ({"dpop": proof} if proof else {}), body)


@measures("authzen_cpu", "authzen_dpop_cpu")
def evaluation() -> list[Figure]:
    """Microseconds of the server's CPU for each evaluation, the best of three rounds."""
    key = Key()
    with running({"gateway": (key, "enforcement-points")}) as site:
        plain, proven = uvloop.run(_evaluate(site, key))
    return [Figure("authzen_cpu", plain, "µs", 180), Figure("authzen_dpop_cpu", proven, "µs")]


async def _evaluate(site: Site, key: Key) -> tuple[float, float]:
    nonce = site.nonce()
    token = site.token(key, "service:gateway", nonce)
    body = questions()
    load = await _opened(site, key, token, nonce, CALLERS)
    plain = []
    for count in [WARM, *[REQUESTS] * ROUNDS]:
        requests = [ask(next(body), token) for _ in range(count)]
        plain.append((await load.send(requests, TRUE)).cpu_microseconds)
    proven = []
    for _ in range(ROUNDS):
        nonce = site.nonce()
        url = site.url + PATH
        requests = [ask(next(body), token, key.proof("POST", url, nonce, token)) for _ in range(REQUESTS // 2)]
        proven.append((await load.send(requests, TRUE)).cpu_microseconds)
    load.close()
    return min(plain[1:]), min(proven)


async def _opened(site: Site, key: Key, token: str, nonce: str, callers: int) -> Load:
    """Callers that have shown their key, each on its own connection."""
    load = await Load.connect(site.port, site.pid, callers, site.context)
    url = site.url + PATH
    proofs = [key.proof("POST", url, nonce, token, connection="own") for _ in range(callers)]
    body = questions()
    await load.open([ask(next(body), token, proof) for proof in proofs], TRUE)
    return load


@measures("revocation_p99")
def revocation() -> list[Figure]:
    """Milliseconds from sending a revocation to the first refusal of its credential, while others ask."""
    key, operator = Key(), Key()
    with running({"gateway": (key, "enforcement-points"), "operator": (operator, "operators")}) as site:
        taken = uvloop.run(_revoke(site, key, operator))
    return [Figure("revocation_p99", statistics.quantiles(taken, n=100)[98], "ms", 50)]


async def _revoke(site: Site, key: Key, operator: Key) -> list[float]:
    nonce = site.nonce()
    steady = site.token(key, "service:gateway", nonce)
    doomed = [site.token(key, "service:gateway", nonce) for _ in range(REVOCATIONS)]
    holder = site.token(operator, "service:operator", nonce)
    beside = await _opened(site, key, steady, nonce, BESIDE)
    body = questions()
    asking = [ask(next(body), steady) for _ in range(2_000)]
    async with asyncio.TaskGroup() as group:
        noise = group.create_task(_go_on(beside, asking))
        taken = [await _until_refused(site, (key, token), (operator, holder), nonce) for token in doomed]
        noise.cancel()
    beside.close()
    return taken


async def _go_on(load: Load, requests: list[bytes]) -> None:
    while True:
        await load.send(requests, TRUE)


async def _until_refused(site: Site, victim: tuple[Key, str], operator: tuple[Key, str], nonce: str) -> float:
    """Milliseconds from sending the revocation of the victim's token until it is refused."""
    key, token = victim
    asker = await _opened(site, key, token, nonce, 1)  # the positive control: it is good now
    other = await Load.connect(site.port, site.pid, 1, site.context)
    headers = {
        "authorization": f"DPoP {operator[1]}",
        "dpop": operator[0].proof("POST", f"{site.url}/oauth/revoke", nonce, operator[1]),
        "content-type": "application/x-www-form-urlencoded",
    }
    end = request_bytes("POST", "/oauth/revoke", headers, form(token=token))
    asked = ask(next(questions()), token)
    started = time.perf_counter()
    ended = other.callers[0].send(iter([end]), b"HTTP/1.1 200")
    refused = ""
    while not refused:
        try:
            await asker.callers[0].send(iter([asked]), TRUE)
        except AssertionError as answer:
            refused = str(answer)
    taken = time.perf_counter() - started
    if not ("HTTP/1.1 401" in refused or '"decision":false' in refused):
        raise RuntimeError(refused)
    await ended
    asker.close()
    other.close()
    return taken * 1000
