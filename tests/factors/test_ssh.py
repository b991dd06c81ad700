"""An SSH key that is a security key, shown in a terminal's session by a signature."""

from typing import Any

from everproof.identity import roster
from everproof.identity.challenges import LOGIN_NAMESPACE, login_message
from everproof.kernel.words import Ref
from tests.factors.house import URL, House
from tests.identity.ssh import SecurityKey
from tests.server.client import Client

VERIFIED = 0x05


async def _logged_in(house: House, key: SecurityKey, ref: Ref | None = None) -> tuple[Client, Ref]:
    """A terminal whose owner has logged in with ``key``."""
    who = ref or await house.enrolled("alice")
    if ref is None:
        await house.app.storage.write(lambda tx: roster.add_ssh_key(tx, who, key.line))
    client = Client(house.doors, URL, house.clock)
    asked = (await client.send("POST", "/v1/login/challenge")).json
    answer = await client.send("POST", "/v1/login", _signed(client, key, asked))
    assert answer.status == 200, answer.body
    client.token = answer.json["access_token"]
    return client, who


def _signed(client: Client, key: SecurityKey, asked: dict[str, Any], thumbprint: str = "") -> dict[str, str]:
    from datetime import datetime

    at = datetime.fromisoformat(asked["at"])
    message = login_message(server=URL, challenge=asked["challenge"], at=at, key=thumbprint or client.thumbprint)
    return {"challenge": asked["challenge"], "signature": key.sign(message, LOGIN_NAMESPACE).decode()}


async def _ways(client: Client) -> dict[str, Any]:
    answer = await client.send("POST", "/v1/step-up/options", {})
    assert answer.status == 200, answer.body
    ways: dict[str, Any] = answer.json
    return ways


async def _show(client: Client, ssh: dict[str, str]) -> int:
    return (await client.send("POST", "/v1/step-up", {"method": "ssh-security-key", "ssh": ssh})).status


async def test_a_security_key_of_ssh_is_shown(house: House) -> None:
    key = SecurityKey()
    client, who = await _logged_in(house, key)
    (session,) = house.app.identity.sessions.of(who)
    assert session.second_factor is None
    ways = await _ways(client)
    assert ways["methods"] == ["ssh-security-key"]
    assert await _show(client, _signed(client, key, ways["ssh"])) == 403  # it was only touched
    key.flags = VERIFIED
    assert await _show(client, _signed(client, key, (await _ways(client))["ssh"])) == 200
    (session,) = house.app.identity.sessions.of(who)
    assert session.second_factor == "ssh-security-key"


async def test_replayed_signature(house: House) -> None:
    key = SecurityKey()
    key.flags = VERIFIED
    client, _ = await _logged_in(house, key)
    signed = _signed(client, key, (await _ways(client))["ssh"])
    assert await _show(client, signed) == 200
    assert await _show(client, signed) == 403


async def test_signature_for_another_terminal(house: House) -> None:
    key = SecurityKey()
    key.flags = VERIFIED
    client, who = await _logged_in(house, key)
    other, _ = await _logged_in(house, key, who)
    ways = await _ways(client)
    assert await _show(client, _signed(other, key, ways["ssh"])) == 401


async def test_signature_by_somebody_else(house: House) -> None:
    alice, mallory = SecurityKey(), SecurityKey()
    alice.flags = mallory.flags = VERIFIED
    client, who = await _logged_in(house, alice)
    await _logged_in(house, mallory)
    ways = await _ways(client)
    before = house.app.identity.sessions.of(who)
    assert await _show(client, _signed(client, mallory, ways["ssh"])) == 403
    assert house.app.identity.sessions.of(who) == before


async def test_no_signature_in_a_browsers_session(house: House) -> None:
    key = SecurityKey()
    key.flags = VERIFIED
    _, who = await _logged_in(house, key)
    person = await house.signed_in(who)
    assert (await person.post("/v1/step-up/options")).json["ssh"] is None
    refused = await person.post("/v1/step-up", method="ssh-security-key", ssh={"challenge": "x", "signature": "y"})
    assert refused.status == 400
