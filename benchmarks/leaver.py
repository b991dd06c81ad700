"""A person leaves: 20 sessions, 50 tokens and 30 grants are refused at the doors, each asked over HTTP."""

import asyncio
import time
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any, Final

import httpx
import msgspec

from benchmarks._site import Key, Site, running
from benchmarks.figure import Figure, measures
from everproof.app import Everproof
from everproof.identity import Credential
from everproof.identity.access_tokens import Grant
from everproof.identity.sessions import Beginning
from everproof.kernel.ids import new_id
from everproof.kernel.words import Ref
from everproof.keys import thumbprint
from everproof.server.browser import Browser
from everproof.storage import Transaction

RUNS: Final = 100
SESSIONS: Final = 20
"""Half of them at browsers, half at terminals, where the tokens are."""
TOKENS: Final = 50
GRANTS: Final = 30
AT_ONCE: Final = 8
"""Requests under way at a time."""

ME: Final = "/v1/identity/me"
EVALUATIONS: Final = "/access/v1/evaluations"


class Leaver(msgspec.Struct):
    """Somebody, and all that they hold."""

    id: str
    cookies: list[str] = []
    tokens: list[str] = []

    @property
    def ref(self) -> Ref:
        return Ref("User", self.id)


class Leavers:
    """People with everything that a person can hold, put on record before the server starts."""

    def __init__(self, count: int, key: Key) -> None:
        self.people = [Leaver(f"dev-{number}") for number in range(count)]
        self._key = thumbprint(key.jwk)

    def seed(self, app: Everproof, tx: Transaction) -> None:
        """Let each have sessions, tokens and grants."""
        issuer, clock = app.settings.issuer, app.storage.clock
        browser = Browser(app.identity.sessions, clock, issuer=issuer, key=app.signing.derived("everproof/sessions/v1"))
        for person in self.people:
            principal = app.identity.directory.principal(person.ref)
            assert principal is not None
            at_terminals = []
            for number in range(SESSIONS):
                begun: dict[str, Any] = {"principal": person.ref, "provider": "okta", "authenticated": tx.now}
                if number % 2:
                    _, cookie = browser.begin(tx, Beginning(kind="browser", **begun))
                    person.cookies.append(cookie.partition(";")[0])
                else:
                    session = app.identity.sessions.begin(tx, Beginning(kind="cli", key=self._key, **begun))
                    at_terminals.append(session.id)
            for number in range(TOKENS):
                session_id = at_terminals[number % len(at_terminals)]
                issued = app.identity.credentials.issue(
                    tx,
                    Credential(
                        id=new_id("cred"), parent=session_id, kind="access-token", principal=person.ref, key=self._key,
                        issued=tx.now, expires=tx.now + timedelta(minutes=59), audience=issuer,
                    ),
                )  # fmt: skip
                grant = Grant(
                    credential=issued.id, principal=principal, client=f"user:{person.id}", audience=issuer,
                    key=self._key, proven=tx.now, issued=tx.now, expires=issued.expires, recorded=True,
                    session=session_id,
                )  # fmt: skip
                person.tokens.append(app.identity.tokens.mint(grant))
            for number in range(GRANTS):
                app.access.grants.give(
                    tx, person.ref, ("host:login",), Ref("Host", f"host-{number}"), request=new_id("req"),
                    lasting=timedelta(minutes=59),
                )  # fmt: skip


class Doors:
    """Asks whether each thing still opens anything."""

    def __init__(self, site: Site, http: httpx.AsyncClient, key: Key, gateway: tuple[Key, str], nonce: str) -> None:
        self._site = site
        self._http = http
        self._key = key
        self._gateway = gateway
        self._nonce = nonce
        self._free = asyncio.Semaphore(AT_ONCE)

    async def let_in(self, person: Leaver) -> list[bool]:
        """What of all that ``person`` holds still opens something."""
        asked = [*map(self._cookie, person.cookies), *map(self._token, person.tokens), self._grants(person)]
        answers = await asyncio.gather(*map(self._one_by_one, asked))
        return [one for answer in answers for one in answer]

    async def disable(self, person: Leaver, key: Key, token: str) -> None:
        path = f"/v1/identity/principals/User/{person.id}"
        answer = await self._http.post(path, json={"disabled": True}, headers=self._headers("POST", path, key, token))
        assert answer.status_code == 200, answer.text

    async def sessions(self, person: Leaver, key: Key, token: str) -> list[Any]:
        """The sessions that the server still lists."""
        headers = self._headers("GET", "/v1/sessions", key, token)
        answer = await self._http.get("/v1/sessions", params={"user": person.id}, headers=headers)
        found: list[Any] = answer.json()["sessions"]
        return found

    async def _one_by_one(self, asked: Awaitable[list[bool]]) -> list[bool]:
        async with self._free:
            return await asked

    async def _cookie(self, cookie: str) -> list[bool]:
        answer = await self._http.get(ME, headers={"cookie": cookie, "sec-fetch-site": "same-origin"})
        return [_let_in(answer)]

    async def _token(self, token: str) -> list[bool]:
        return [_let_in(await self._http.get(ME, headers=self._headers("GET", ME, self._key, token)))]

    async def _grants(self, person: Leaver) -> list[bool]:
        hosts = [{"resource": {"type": "Host", "id": f"host-{number}"}} for number in range(GRANTS)]
        body = {"subject": {"type": "User", "id": person.id}, "action": {"name": "host:login"}, "evaluations": hosts}
        headers = self._headers("POST", EVALUATIONS, *self._gateway)
        answer = await self._http.post(EVALUATIONS, json=body, headers=headers)
        return [one["decision"] for one in answer.json()["evaluations"]]

    def _headers(self, method: str, path: str, key: Key, token: str) -> dict[str, str]:
        proof = key.proof(method, self._site.url + path, self._nonce, token)
        return {"authorization": f"DPoP {token}", "dpop": proof}


def _let_in(answer: httpx.Response) -> bool:
    assert answer.status_code in {200, 401, 403}, answer.text
    return answer.status_code == 200


async def _measured(site: Site, leavers: Leavers, keys: dict[str, Key]) -> list[float]:
    nonce = site.nonce()
    tokens = {name: site.token(keys[name], f"service:{name}", nonce) for name in ("admin", "gateway")}
    took = []
    async with httpx.AsyncClient(
        verify=site.context, base_url=site.url, timeout=10, trust_env=False, cookies=None
    ) as http:
        doors = Doors(site, http, keys["person"], (keys["gateway"], tokens["gateway"]), nonce)
        for person in leavers.people:
            before = await doors.let_in(person)
            assert all(before), (len(before), before.count(True))
            started = time.perf_counter()
            await doors.disable(person, keys["admin"], tokens["admin"])
            after = await doors.let_in(person)
            took.append(time.perf_counter() - started)
            assert len(after) == SESSIONS // 2 + TOKENS + GRANTS
            assert not any(after), after.count(True)
            assert not await doors.sessions(person, keys["admin"], tokens["admin"])
    return took


def measure(runs: int) -> list[float]:
    """Seconds from the request that disables somebody to the last refusal, for each of ``runs`` people."""
    keys = {name: Key() for name in ("admin", "gateway", "person")}
    leavers = Leavers(runs, keys["person"])
    services = {"admin": (keys["admin"], "administrators"), "gateway": (keys["gateway"], "enforcement-points")}
    with running(services, seed=leavers.seed) as site:
        return asyncio.run(_measured(site, leavers, keys))


@measures("leaver_p99")
def leaver() -> list[Figure]:
    """How long what a leaver holds goes on opening anything."""
    took = sorted(measure(RUNS))
    return [Figure("leaver_p99", took[len(took) * 99 // 100], "s", 1.0)]
