"""The whole way on each of the two databases: what is kept of it is SQL that both read alike."""

from datetime import UTC, datetime
from pathlib import Path

from tests.conftest import SettableClock
from tests.provider.site import opened
from tests.server.client import Client

CLI = "everproof-cli"


async def test_a_person_signs_in_and_out_and_a_terminal_goes_on(database_url: str, tmp_path: Path) -> None:
    clock = SettableClock()
    clock.time = datetime.now(UTC)
    site = opened(tmp_path / "state", clock, database=database_url)
    await site.app.start()
    try:
        await site.enrol("alice", "platform", "everyone")
        alice = await site.enter("alice")
        token = (await site.redeem(await alice.code())).json
        assert (await site.userinfo(token["access_token"])).json["sub"] == "user:alice"
        device = Client(site.doors, site.url, clock)
        begun = await device.send("POST", "/oauth/device_authorization", form={"client_id": CLI}, token="")
        path = f"/v1/device/{begun.json['user_code']}"
        assert (await alice.send("POST", path, {"answer": "yes"})).status == 200
        grant = "urn:ietf:params:oauth:grant-type:device_code"
        got = await device.take({"grant_type": grant, "client_id": CLI, "device_code": begun.json["device_code"]})
        assert got.status == 200, got.body
        form = {"grant_type": "refresh_token", "client_id": CLI, "refresh_token": got.json["refresh_token"]}
        assert (await device.take(form)).status == 200
        answer = await alice.follow(f"/oauth/end_session?id_token_hint={token['id_token']}")
        assert b"You are signed out" in answer.body
        await site.settled()
        await site.app.storage.write(site.app.provider.forget)
        await site.app.storage.write(site.app.provider.sign_ins.sweep)
    finally:
        await site.app.stop()
