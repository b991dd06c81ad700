"""The same on PostgreSQL: every statement of the two stores once, and notices as they are sent."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.conftest import SettableClock
from tests.factors.house import opened
from tests.fakes.authenticator import Lies
from tests.postgres import PostgreSQL

RECOVERIES = "/v1/factors/recoveries"


async def test_factors_and_a_recovery_on_postgresql(postgresql: PostgreSQL, tmp_path: Path) -> None:
    clock = SettableClock()
    clock.time = datetime.now(UTC)
    house = opened(tmp_path, clock, database=postgresql.fresh())
    await house.app.start()
    try:
        alice, key = await house.person("alice"), house.key()
        assert (await alice.add_passkey(key)).status == 201
        assert (await alice.add_totp()).status == 200
        codes = (await alice.send("POST", "/v1/factors/recovery-codes")).json["codes"]
        clock.advance(timedelta(minutes=1))
        assert (await alice.show_code(alice.code())).status == 200
        assert (await alice.show_code(alice.code())).status == 403
        assert (await alice.show_code(codes[0], "recovery-code")).status == 200
        assert (await alice.show_code(codes[0], "recovery-code")).status == 403
        assert (await alice.send("GET", "/v1/factors")).json["codes_left"] == 9
        assert (await house.stranger().enter(key)).status == 200
        key.lies = Lies(count=1)
        assert (await house.stranger().enter(key)).json["code"] == "copied"
        begun = (await alice.post(RECOVERIES)).json
        for name in ("ada", "bob"):
            other = await house.person(name, "administrators")
            await other.add_passkey(house.key())
            assert (await other.post(f"{RECOVERIES}/{begun['recovery']['id']}/vouch")).status == 200
        fresh, new = await house.signed_in(alice.ref), house.key()
        asked = await fresh.post("/v1/factors/passkeys/options", recovery=begun["ticket"])
        credential = new.create(asked.json["options"])
        added = await fresh.post("/v1/factors/passkeys", name="new", credential=credential, recovery=begun["ticket"])
        assert added.status == 201, added.body
        assert (await fresh.send("PATCH", f"/v1/factors/{added.json['id']}", {"name": "newer"})).status == 200
        assert [factor.name for factor in house.app.factors.held(alice.ref).factors] == ["newer"]
        clock.advance(timedelta(days=30))
        await house.app.storage.write(lambda tx: house.app.factors.forget(tx, tx.now))
    finally:
        await house.app.stop()
