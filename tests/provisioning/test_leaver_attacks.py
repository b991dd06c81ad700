"""Ways in which somebody who is out could keep something, or come by it again."""

from datetime import timedelta

import pytest

from everproof.access import store as requests
from everproof.access.records import Body
from everproof.identity import apply_people, read_people, roster
from everproof.identity.people import MANY
from everproof.kernel.clock import milliseconds
from everproof.kernel.words import Ref
from everproof.storage import Transaction
from everproof.work import EffectRecord
from tests.provisioning.conftest import administrator
from tests.provisioning.test_lifecycle import ALICE, Wiki, here
from tests.scim.conftest import Site

ROOT = Ref("User", "root")
ALICES = "/v1/identity/principals/User/alice"


def ask(tx: Transaction) -> None:
    """Let a request of alice's wait for an answer."""
    now = milliseconds(tx.now)
    body = Body(
        id="req_of_alice", requester=ALICE, action="deployment:start", resource=Ref("Environment", "production"),
        seconds=3600, reason="", needs=1, owners=(), notify=(), created=now, answer_by=now + 3_600_000,
    )  # fmt: skip
    requests.insert_request(tx, body)


async def settled(site: Site, effect: str) -> EffectRecord:
    site.app.work.wake()
    await site.app.work.idle()
    return site.app.work.effects.effect(effect)


async def test_who_is_disabled_as_a_principal_keeps_no_request_that_waits_and_no_place_outside(quick: Site) -> None:
    wiki, app = Wiki(), quick.app
    app.provisioning.lifecycle.register(wiki)
    ids, operator = await here(quick), await administrator(quick)
    await app.storage.write(ask)
    done = await operator.send("POST", ALICES, {"disabled": True})
    assert done.status == 200, done.body
    await app.work.idle()
    assert not any(map(app.identity.credentials.is_live, ids))
    assert wiki.writers == set()
    assert (await operator.send("POST", ALICES, {"disabled": False})).status == 200
    assert app.access.read("req_of_alice").state == "cancelled"  # nobody answers it for whom they are afterwards


@pytest.mark.parametrize("many", [False, True])
async def test_whom_people_toml_names_no_more_keeps_no_request_and_an_emptied_file_empties_nothing_outside(
    quick: Site, many: bool
) -> None:
    wiki, app = Wiki(), quick.app
    app.provisioning.lifecycle.register(wiki)
    names = ["alice", *(f"user{at}" for at in range(MANY * many))]

    def come_and_go(tx: Transaction) -> None:
        roster.put_group(tx, "editors", groups=["writers"])
        for name in names:
            roster.add_principal(tx, Ref("User", name), groups=("editors",), source="people.toml")
        ask(tx)
        apply_people(tx, read_people(""), leave=app._leave_file)

    await app.storage.write(come_and_go)
    await app.work.idle()
    assert app.identity.directory.principal(ALICE) is None
    assert app.access.read("req_of_alice").state == "cancelled"
    assert wiki.writers == ({"alice/0"} if many else set())


async def test_what_a_joiner_was_to_have_and_waited_is_not_given_to_a_leaver(quick: Site) -> None:
    wiki, app = Wiki(), quick.app
    wiki.writers.clear()
    app.provisioning.lifecycle.register(wiki)
    operator = await administrator(quick)
    await app.storage.write(lambda tx: roster.put_group(tx, "editors", groups=["writers"]))
    wiki.storms = 1
    joined = await operator.send("POST", "/v1/people", {"id": "alice", "groups": ["editors"]})
    await app.work.idle()
    assert app.work.effects.effect(joined.json["effect"]["id"]).stage == "approved"
    assert (await operator.send("POST", "/v1/people/alice/leave", {})).status == 200
    await app.work.idle()
    quick.clock.advance(timedelta(minutes=1))
    await settled(quick, joined.json["effect"]["id"])
    assert wiki.writers == set()


async def test_undoing_gives_nothing_outside_to_whom_their_directory_keeps_out(quick: Site) -> None:
    wiki, app = Wiki(), quick.app
    app.provisioning.lifecycle.register(wiki)
    corp = await quick.directory()
    made = await corp.create("alice", active=True)
    await corp.group("editors", made["id"])
    await app.storage.write(lambda tx: roster.put_group(tx, "corp/editors", groups=["writers"]))
    await corp.patch(f"/Users/{made['id']}", {"op": "replace", "path": "active", "value": False})
    await app.work.idle()
    [effect] = [one for one in app.work.effects.effects() if one.verb == "people.leave"]
    await app.storage.write(lambda tx: app.work.effects.undo(tx, effect.id, ROOT))
    assert (await settled(quick, effect.id)).stage == "failed"
    assert wiki.writers == set()


async def test_undoing_a_leaving_lets_nobody_in_whom_an_administrator_disabled_since(quick: Site) -> None:
    wiki, app = Wiki(), quick.app
    app.provisioning.lifecycle.register(wiki)
    await here(quick)
    operator = await administrator(quick)
    left = await operator.send("POST", "/v1/people/alice/leave", {})
    await app.work.idle()
    assert (await operator.send("POST", ALICES, {"disabled": True})).status == 200
    await app.storage.write(lambda tx: app.work.effects.undo(tx, left.json["effect"]["id"], ROOT))
    assert (await settled(quick, left.json["effect"]["id"])).stage == "failed"
    assert app.identity.directory.principal(ALICE) is None
    assert wiki.writers == set()
