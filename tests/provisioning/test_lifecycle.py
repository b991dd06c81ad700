"""A person joins, moves and leaves, on a whole server in this process, with something outside that may fail."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from everproof.identity import roster
from everproof.identity.records import Credential
from everproof.identity.sessions import Beginning
from everproof.kernel.errors import UnavailableError
from everproof.kernel.ids import new_id
from everproof.kernel.words import Ref
from everproof.provisioning import Item, Movement
from everproof.provisioning.lifecycle import BOUND
from everproof.storage import Transaction
from tests.provisioning.conftest import administrator
from tests.scim.conftest import Site
from tests.server.client import Client

ALICE = Ref("User", "alice")


class Wiki:
    """Something outside in which members of the group writers have pages."""

    name = "wiki"

    def __init__(self, pages: int = 1) -> None:
        self.pages = pages
        self.writers: set[str] = {f"alice/{at}" for at in range(pages)}
        self.storms = 0

    def plan(self, connection: Connection, movement: Movement) -> Sequence[Item]:  # noqa: ARG002 - of every reach
        was, will = "writers" in movement.before, "writers" in movement.after
        if was == will:
            return []
        word, back = ("open", "close") if will else ("close", "open")
        who = movement.person.id
        return [
            Item(
                reach=self.name, at=f"wiki:{at}", does=f"{word} page {at} of {who}", undoes=f"{back} page {at}",
                arguments={"page": f"{who}/{at}", "open": will},
            )
            for at in range(self.pages)
        ]  # fmt: skip

    async def apply(self, item: Item, *, key: str) -> Any:
        if self.storms:
            self.storms -= 1
            raise UnavailableError("the wiki does not answer")
        self._set(item, open_=item.arguments["open"])
        return {"key": key}

    async def verify(self, item: Item, outcome: Any) -> bool:
        assert outcome["key"].endswith(item.at)
        return (item.arguments["page"] in self.writers) is bool(item.arguments["open"])

    async def undo(self, item: Item, outcome: Any, *, key: str) -> None:  # noqa: ARG002 - of every reach
        self._set(item, open_=not item.arguments["open"])

    def _set(self, item: Item, *, open_: bool) -> None:
        (self.writers.add if open_ else self.writers.discard)(item.arguments["page"])


async def here(site: Site) -> list[str]:
    """Put alice on record, with a session, tokens of it and a grant; their ids."""

    def enrol(tx: Transaction) -> list[str]:
        roster.put_group(tx, "editors", groups=["writers"])
        roster.add_principal(tx, ALICE, name="Alice", groups=("editors",))
        session = site.app.identity.sessions.begin(
            tx, Beginning(principal=ALICE, kind="cli", provider="ssh-key", authenticated=tx.now)
        )
        made = [session.id]
        for parent, kind in ((session.id, "access-token"), (session.id, "access-token"), (None, "grant")):
            one = Credential(
                id=new_id("cred"), parent=parent, kind=kind, principal=ALICE, key=None, issued=tx.now,
                expires=tx.now + timedelta(minutes=30),
            )  # fmt: skip
            made.append(site.app.identity.credentials.issue(tx, one).id)
        return made

    return await site.app.storage.write(enrol)


async def test_a_leaver_is_looked_at_and_then_out_everywhere_and_let_in_again(site: Site) -> None:
    wiki, app = Wiki(), site.app
    app.provisioning.lifecycle.register(wiki)
    ids, operator = await here(site), await administrator(site)
    looked = await operator.send("POST", "/v1/people/alice/plan", {"kind": "leave"})
    assert looked.status == 200, looked.body
    assert {one["what"]: one["count"] for one in looked.json["ends"]} == {"access-token": 2, "grant": 1, "session": 1}
    assert [one["does"] for one in looked.json["items"]] == ["close page 0 of alice"]
    assert looked.json["needs"] == 0
    assert app.identity.directory.principal(ALICE) is not None
    assert all(map(app.identity.credentials.is_live, ids))  # to look at it does nothing

    left = await operator.send("POST", "/v1/people/alice/leave", {"reason": "a new job"})
    assert left.status == 200, left.body
    assert (left.json["ended"], left.json["effect"]["verb"]) == (4, "people.leave")
    assert app.identity.directory.principal(ALICE) is None
    assert not any(map(app.identity.credentials.is_live, ids))
    await app.work.idle()
    effect = left.json["effect"]["id"]
    assert app.work.effects.effect(effect).stage == "verified"
    assert wiki.writers == set()

    undone = await operator.send("POST", f"/v1/work/effects/{effect}/undo", {})
    assert undone.status == 200, undone.body
    await app.work.idle()
    assert app.work.effects.effect(effect).stage == "undone"
    assert wiki.writers == {"alice/0"}
    assert app.identity.directory.principal(ALICE) is not None
    assert not any(map(app.identity.credentials.is_live, ids))  # nothing that ended comes back


async def test_above_the_bound_what_is_outside_waits_and_the_leaver_does_not(quick: Site) -> None:
    wiki, app = Wiki(BOUND + 1), quick.app
    app.provisioning.lifecycle.register(wiki)
    ids, operator = await here(quick), await administrator(quick)
    looked = await operator.send("POST", "/v1/people/alice/plan", {"kind": "leave"})
    assert looked.json["needs"] == 1
    left = await operator.send("POST", "/v1/people/alice/leave", {})
    await app.work.idle()
    assert left.json["effect"]["stage"] == "proposed"
    assert not any(map(app.identity.credentials.is_live, ids))
    assert len(wiki.writers) == BOUND + 1
    await app.storage.write(lambda tx: app.work.effects.approve(tx, left.json["effect"]["id"], Ref("User", "bob")))
    await app.work.idle()
    assert wiki.writers == set()


async def test_a_storm_outside_delays_the_rest_and_nothing_else(quick: Site) -> None:
    wiki, app = Wiki(), quick.app
    wiki.storms = 1
    app.provisioning.lifecycle.register(wiki)
    ids, operator = await here(quick), await administrator(quick)
    left = await operator.send("POST", "/v1/people/alice/leave", {})
    assert not any(map(app.identity.credentials.is_live, ids))
    effect = left.json["effect"]["id"]
    await app.work.idle()
    assert (app.work.effects.effect(effect).stage, wiki.writers) == ("approved", {"alice/0"})
    quick.clock.advance(timedelta(minutes=1))
    app.work.wake()
    await app.work.idle()
    assert (app.work.effects.effect(effect).stage, wiki.writers) == ("verified", set())


async def test_a_directory_that_lets_somebody_go_ends_what_is_outside_too(quick: Site) -> None:
    wiki, app = Wiki(), quick.app
    app.provisioning.lifecycle.register(wiki)
    corp = await quick.directory()
    made = await corp.create("alice", active=True)
    await corp.group("editors", made["id"])
    await app.storage.write(lambda tx: roster.put_group(tx, "corp/editors", groups=["writers"]))
    await corp.patch(f"/Users/{made['id']}", {"op": "replace", "path": "active", "value": False})
    await app.work.idle()
    assert wiki.writers == set()
    [effect] = [one for one in app.work.effects.effects() if one.verb == "people.leave"]
    assert (effect.stage, effect.by) == ("verified", Ref("Service", "corp"))


async def test_joiners_and_movers(quick: Site) -> None:
    wiki, app = Wiki(), quick.app
    wiki.writers.clear()
    app.provisioning.lifecycle.register(wiki)
    operator = await administrator(quick)
    await app.storage.write(lambda tx: roster.put_group(tx, "editors", groups=["writers"]))
    looked = await operator.send("POST", "/v1/people/alice/plan", {"kind": "join", "groups": ["editors"]})
    assert [one["does"] for one in looked.json["items"]] == ["open page 0 of alice"]
    joined = await operator.send("POST", "/v1/people", {"id": "alice", "name": "Alice", "groups": ["editors"]})
    assert joined.status == 201, joined.body
    await app.work.idle()
    assert wiki.writers == {"alice/0"}
    moved = await operator.send("POST", "/v1/people/alice/move", {"groups": ["readers"]})
    assert moved.status == 200, moved.body
    await app.work.idle()
    assert (wiki.writers, app.identity.directory.record(ALICE).groups) == (set(), ("readers",))
    again = await operator.send("POST", "/v1/people", {"id": "alice"})
    assert again.status == 409
    nobody = await operator.send("POST", "/v1/people/nobody/leave", {})
    assert nobody.status == 404


async def test_a_person_does_not_let_others_leave_or_join_better_groups(quick: Site) -> None:
    await here(quick)
    corp = await quick.directory("billing", provisions=False)
    assert (await corp.send("GET", "/Users")).status == 403
    client = Client(quick.doors, "https://everproof.example", quick.clock)
    await quick.app.storage.write(lambda tx: roster.register_client(tx, Ref("Service", "someone"), [client.jwk]))
    assert (await client.credentials("service:someone")).status == 200
    for path, body in (
        ("/v1/people/alice/leave", {}),
        ("/v1/people/alice/move", {"groups": ["administrators"]}),
        ("/v1/people", {"id": "mallory", "groups": ["administrators"]}),
        ("/v1/people/alice/plan", {"kind": "leave"}),
        ("/v1/people/plan", {"text": ""}),
    ):
        assert (await client.send("POST", path, body)).status == 403, path
    assert quick.app.identity.directory.principal(ALICE) is not None


@pytest.mark.parametrize("text", ["[people.alice]\ngroups = ['x']", ""])
async def test_what_people_toml_would_change_is_said_before_it_rules(quick: Site, text: str) -> None:
    operator = await administrator(quick)
    answer = await operator.send("POST", "/v1/people/plan", {"text": text})
    assert answer.status == 200, answer.body
    assert [one["person"] for one in answer.json["joins"]] == (["alice"] if text else [])
