"""Devices without a browser, and what stands against abusing their codes."""

import asyncio
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from everproof.identity.provider import devices
from everproof.identity.sessions import Beginning
from everproof.kernel.words import Ref
from tests.provider.site import FORM, URL, Person, Site, basic
from tests.server.asgi import Answer, call
from tests.server.client import Client

pytestmark = pytest.mark.asyncio(loop_scope="module")

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
WAIT = timedelta(seconds=6)


async def begin(site: Site, client: str = "argo-cd", **more: str) -> dict[str, Any]:
    body = urlencode({"client_id": client, "scope": "openid groups", **more}).encode()
    answer = await call(site.doors, "POST", "/oauth/device_authorization", body, {"content-type": FORM})
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json
    return found


async def poll(site: Site, asked: dict[str, Any], client: str = "argo-cd") -> Answer:
    site.clock.advance(WAIT)
    return await site.token({"grant_type": GRANT, "client_id": client, "device_code": asked["device_code"]}, {})


async def answer_it(person: Person, asked: dict[str, Any], reply: str = "yes") -> Answer:
    return await person.send("POST", f"/v1/device/{asked['user_code']}", {"answer": reply})


async def test_a_device_is_signed_in(site: Site, alice: Person) -> None:
    asked = await begin(site)
    assert asked["verification_uri"] == f"{URL}/device"
    assert (await poll(site, asked)).json["error"] == "authorization_pending"
    shown = (await alice.send("GET", f"/v1/device/{asked['user_code'].lower()}")).json
    assert (shown["title"], shown["address"]) == ("Argo CD", "127.0.0.1")
    assert "Whoever sent you a code" in shown["warning"]
    assert (await answer_it(alice, asked)).status == 200
    done = await poll(site, asked)
    assert done.status == 200, done.body
    assert done.json["id_token"]
    assert (await poll(site, asked)).json["error"] == "invalid_grant"


async def test_a_device_that_asks_too_soon_is_slowed_down(site: Site) -> None:
    asked = await begin(site)
    await poll(site, asked)
    fields = {"grant_type": GRANT, "client_id": "argo-cd", "device_code": asked["device_code"]}
    assert (await site.token(fields, {})).json["error"] == "slow_down"
    site.clock.advance(timedelta(seconds=6))
    assert (await site.token(fields, {})).json["error"] == "slow_down"
    site.clock.advance(timedelta(seconds=21))
    assert (await site.token(fields, {})).json["error"] == "authorization_pending"


async def test_a_device_that_is_refused(site: Site, alice: Person) -> None:
    asked = await begin(site)
    assert (await answer_it(alice, asked, "no")).json["answer"] == "no"
    assert (await poll(site, asked)).json["error"] == "access_denied"
    assert (await answer_it(alice, asked)).status == 404


async def test_an_expired_code(site: Site, alice: Person) -> None:
    asked = await begin(site)
    site.clock.advance(timedelta(minutes=11))
    late = await site.enter(alice.id)
    assert (await answer_it(late, asked)).status == 404
    assert (await poll(site, asked)).json["error"] == "expired_token"


async def test_a_guessed_code(site: Site, alice: Person) -> None:
    asked = await begin(site)
    for guess in ("BCDF-GHJK", "x", "0000-0000", "AEIO-UAEI", "BCDFGHJKL"):
        assert (await alice.send("GET", f"/v1/device/{guess}")).status == 404
    throttled = await alice.send("GET", f"/v1/device/{asked['user_code']}")
    assert throttled.status == 429
    assert throttled.headers["retry-after"]
    # Nobody else is held up, and in ten minutes nor is she.
    await site.enrol("patient")
    assert (await (await site.enter("patient")).send("GET", f"/v1/device/{asked['user_code']}")).status == 200
    site.clock.advance(timedelta(minutes=11))
    later = await begin(site)
    assert (await (await site.enter(alice.id)).send("GET", f"/v1/device/{later['user_code']}")).status == 200


async def test_many_guesses_at_once(site: Site, alice: Person) -> None:
    asked = await begin(site)
    tried = [alice.send("GET", f"/v1/device/BCDF-GH{a}{b}") for a in "BCDF" for b in "GHJK"]
    statuses = [one.status for one in await asyncio.gather(*tried)]
    assert statuses.count(404) == devices.MISSES
    assert statuses.count(429) == len(tried) - devices.MISSES
    assert (await alice.send("GET", f"/v1/device/{asked['user_code']}")).status == 429


async def test_codes_have_no_vowels_and_are_hard_to_guess(site: Site) -> None:
    code = (await begin(site))["user_code"].replace("-", "")
    assert len(code) == devices.LENGTH
    assert set(code) <= set("BCDFGHJKLMNPQRSTVWXZ")
    assert len(devices.ALPHABET) ** devices.LENGTH > 2**34


async def test_a_code_of_another_device_or_client(site: Site, alice: Person) -> None:
    asked = await begin(site)
    await answer_it(alice, asked)
    other = await site.token(
        {"grant_type": GRANT, "client_id": "grafana", "device_code": asked["device_code"]}, basic("grafana")
    )
    assert other.json["error"] == "unauthorized_client"
    forged = {**asked, "device_code": "x" * 43}
    assert (await poll(site, forged)).json["error"] == "invalid_grant"
    body = urlencode({"client_id": "grafana", "scope": "openid"}).encode()
    begun = await call(
        site.doors, "POST", "/oauth/device_authorization", body, {"content-type": FORM, **basic("grafana")}
    )
    assert begun.json["error"] == "unauthorized_client"


async def test_phishing_with_a_code_gets_the_session_that_answered_and_no_other(site: Site) -> None:
    """The approver's other session has a passkey; what answered has not, and neither has the device."""
    ref = await site.enrol("victim", "platform")
    strong = await site.enter(ref.id)
    await site.show(strong, "passkey")
    weak = await site.enter(ref.id)
    device = Client(site.doors, URL, site.clock)
    begun = await device.send("POST", "/oauth/device_authorization", form={"client_id": "everproof-cli"}, token="")
    assert begun.status == 200, begun.body
    assert (await answer_it(weak, begun.json)).status == 200
    site.clock.advance(WAIT)
    got = await device.take(
        {"grant_type": GRANT, "client_id": "everproof-cli", "device_code": begun.json["device_code"]}
    )
    assert got.status == 200, got.body
    session = site.app.identity.sessions.find(got.json["session"])
    assert session is not None
    assert (session.kind, dict(session.factors)) == ("cli", {})
    assert weak.session is not None
    assert session.authenticated == weak.session.authenticated
    # And the token of one terminal lets no further terminal in.
    further = await begin(site)
    refused = await device.send("POST", f"/v1/device/{further['user_code']}", {"answer": "yes"})
    assert refused.status == 403


async def test_a_device_code_taken_from_its_device(site: Site, alice: Person) -> None:
    """It is for the key that asked for it."""
    device, thief = Client(site.doors, URL, site.clock), Client(site.doors, URL, site.clock)
    begun = (
        await device.send("POST", "/oauth/device_authorization", form={"client_id": "everproof-cli"}, token="")
    ).json
    await answer_it(alice, begun)
    site.clock.advance(WAIT)
    form = {"grant_type": GRANT, "client_id": "everproof-cli", "device_code": begun["device_code"]}
    assert (await thief.take(form)).json["error"] == "invalid_grant"
    assert (await device.take(form)).status == 200


async def test_an_old_sign_in_signs_no_device_in(site: Site, alice: Person) -> None:
    asked = await begin(site)
    old = await site.enter(alice.id, ago=timedelta(hours=4))
    denied = await answer_it(old, asked)
    assert denied.status in {401, 403}
    assert (await poll(site, asked)).json["error"] == "authorization_pending"
    await site.show(old, "totp")
    assert (await answer_it(old, asked)).status == 200


async def test_a_device_whose_approver_has_gone_meanwhile(site: Site, alice: Person) -> None:
    asked = await begin(site)
    await answer_it(alice, asked)
    assert alice.session is not None
    id_ = alice.session.id
    await site.app.storage.write(lambda tx: site.app.identity.sessions.end(tx, id_, "stolen"))
    assert (await poll(site, asked)).json["error"] == "invalid_grant"


async def test_answers_forged_by_another_site(site: Site, alice: Person) -> None:
    asked = await begin(site)
    for headers in ({"origin": "https://evil.example", "sec-fetch-site": "cross-site"}, {}):
        path = f"/v1/device/{asked['user_code']}"
        assert (await alice.send("POST", path, {"answer": "yes"}, headers=headers)).status == 403
    assert (await poll(site, asked)).json["error"] == "authorization_pending"


async def test_nobody_fills_the_table(site: Site) -> None:
    site.clock.advance(timedelta(minutes=11))
    for _ in range(devices.MAX_WAITING_OF_ADDRESS):
        await begin(site)
    body = urlencode({"client_id": "argo-cd", "scope": "openid"}).encode()
    answer = await call(site.doors, "POST", "/oauth/device_authorization", body, {"content-type": FORM})
    assert (answer.status, answer.json["error"]) == (503, "temporarily_unavailable")


async def test_a_session_of_a_terminal_answers_no_device(site: Site, alice: Person) -> None:
    site.clock.advance(timedelta(minutes=11))
    asked = await begin(site)
    now = site.clock.now()
    beginning = Beginning(principal=Ref("User", alice.id), kind="cli", provider="ssh-key", authenticated=now)
    _, cookie = await site.app.storage.write(lambda tx: site.browser.begin(tx, beginning))
    assert (await answer_it(Person(site, None, cookie.partition(";")[0]), asked)).status == 403
