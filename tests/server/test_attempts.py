import json
from typing import Any

from everproof.authorize.attempts import EVENT, MAX_KINDS, Attempts
from everproof.kernel.errors import UnauthenticatedError
from tests.server.conftest import Site


async def attempts(site: Site) -> list[dict[str, Any]]:
    """What the ledger says of refused authentications, once the minute is over."""
    await site.app.attempts.stop()
    bodies = [json.loads(bytes(one.entry.body)) for one in site.app.ledger.tail(None, 1000) if one.entry]
    return [body for body in bodies if body.get("event") == EVENT]


async def test_a_stolen_token_that_is_tried_leaves_a_trace(site: Site) -> None:
    victim = await site.enrolled("Service", "victim")
    thief = site.client()
    answer = await thief.send("GET", "/v1/identity/me", token=victim.token)
    assert answer.status == 401
    [event] = await attempts(site)
    assert event["route"] == "/v1/identity/me"
    assert "another key" in event["reason"]
    assert victim.token not in json.dumps(event)


async def test_a_job_token_that_does_not_hold_leaves_a_trace_though_oauth_says_it_otherwise(site: Site) -> None:
    answer = await site.client().exchange("eyJhbGciOiJub25lIn0.e30.")
    assert answer.status == 400
    [event] = await attempts(site)
    assert (event["route"], event["code"]) == ("/oauth/token", "bad-token")


async def test_who_shows_nothing_has_tried_nothing(site: Site) -> None:
    assert (await site.client().send("GET", "/v1/identity/me")).status == 401
    await site.enrolled("Service", "honest")  # asks for a nonce first
    assert await attempts(site) == []


async def test_a_thousand_attempts_are_counted_and_do_not_fill_the_ledger(site: Site) -> None:
    victim, thief = await site.enrolled("Service", "victim"), site.client()
    for _ in range(20):
        await thief.send("GET", "/v1/identity/me", token=victim.token)
    first, more = await attempts(site)
    assert (first["count"], more["count"]) == (1, 19)


async def test_many_kinds_are_counted_together(site: Site) -> None:
    noted = Attempts(site.app.ledger, site.clock)
    for number in range(10 * MAX_KINDS):
        noted.note("/v1/login", f"192.0.2.{number}", UnauthenticatedError("no"))
    await noted.stop()
    found = await attempts(site)
    assert len(found) == MAX_KINDS + 2
    assert sum(one["count"] for one in found) == 10 * MAX_KINDS
