"""The door of jobs and effects: nobody sees or changes them whom policy does not let."""

from datetime import timedelta
from typing import Any

import pytest

from everproof.kernel.words import MAIN_SPACE, Effect, Principal, Proof, Ref
from everproof.server.http import Application
from everproof.server.work import WorkDoor
from everproof.work import HopelessError, Task
from tests.server.asgi import call
from tests.server.client import Client
from tests.server.conftest import Site
from tests.work.outside import Honouring, deed

ALICE, BOB, CAROL = (Ref("User", name) for name in ("alice", "bob", "carol"))


@pytest.fixture
def database_url(tmp_path: Any) -> str:
    """What is tried here is the door; each database has its turn in tests/work."""
    return f"sqlite:///{tmp_path / 'everproof.db'}"


@pytest.fixture
async def ada(site: Site) -> Client:
    return await site.enrolled("Service", "ada", "administrators")


class Person:
    """Says of whoever calls that it is the person whose turn it is."""

    def __init__(self, site: Site) -> None:
        self.ref = ALICE
        self._clock = site.clock

    def prove(self, _scope: Any) -> Proof:
        parents = (Ref("Group", "administrators"), MAIN_SPACE)
        return Proof(kind="test", principal=Principal(ref=self.ref, parents=parents), at=self._clock.now())


async def test_jobs_are_seen_retried_and_cancelled_by_those_who_may(site: Site, ada: Client) -> None:
    async def fail(_task: Task) -> None:
        raise HopelessError("there is nobody there")

    site.app.work.register("call", fail)
    made = await site.app.storage.write(lambda tx: site.app.work.enqueue(tx, "call", {"secret": "s3cret"}))
    await site.app.work.idle()
    listed = await ada.send("GET", "/v1/work/jobs", query="state=stuck&state=waiting&verb=call")
    assert [(one["id"], one["state"], one["error"]) for one in listed.json["jobs"]] == [
        (made, "stuck", "there is nobody there")
    ]
    assert b"s3cret" not in listed.body
    again = await ada.send("POST", f"/v1/work/jobs/{made}/retry")
    assert again.json["state"] == "waiting"
    await site.app.work.idle()
    assert (await ada.send("POST", f"/v1/work/jobs/{made}/cancel")).json["state"] == "cancelled"
    assert (await ada.send("POST", f"/v1/work/jobs/{made}/cancel")).status == 409
    assert (await ada.send("GET", "/v1/work/jobs/job_none")).status == 404
    assert (await ada.send("GET", "/v1/work/jobs", query="limit=100000")).status == 400


async def test_attack_whoever_is_anybody_looks_at_or_changes_what_is_to_be_done(site: Site) -> None:
    made = await site.app.storage.write(lambda tx: site.app.work.enqueue(tx, "call", None, after=timedelta(hours=1)))
    mallory = await site.enrolled("Service", "mallory")
    for method, path in (
        ("GET", "/v1/work/jobs"),
        ("GET", f"/v1/work/jobs/{made}"),
        ("POST", f"/v1/work/jobs/{made}/cancel"),
        ("POST", f"/v1/work/jobs/{made}/retry"),
        ("GET", "/v1/work/effects"),
    ):
        assert (await mallory.send(method, path)).status == 403, path
    assert site.app.work.job(made).state == "waiting"


async def test_effect_is_approved_by_people_one_by_one_and_undone(site: Site, ada: Client) -> None:
    outside, app = Honouring(), site.app
    app.work.effects.register(deed("switch", outside, bound=0, people=2))
    effect = Effect(verb="switch", subject=Ref("Server", "organisation"))
    made = await app.storage.write(lambda tx: app.work.effects.propose(tx, effect, by=ALICE))
    path = f"/v1/work/effects/{made.id}"
    person = Person(site)
    door = WorkDoor(app.work, app.authorizer, person, app.storage)  # type: ignore[arg-type]
    doors = Application(door.routes(), title="Work", version="0")
    refused = await ada.send("POST", f"{path}/approve")  # an administrator, and no person
    assert (refused.status, "only people" in refused.json["detail"]) == (403, True)
    answers = []
    for person.ref in (ALICE, BOB, BOB, CAROL):
        answer = await call(doors, "POST", f"{path}/approve")
        answers.append(answer.status)
    assert answers == [403, 200, 403, 200]
    await app.work.idle()
    told = await ada.send("GET", path)
    assert told.json["stage"] == "verified"
    assert told.json["approved_by"] == [{"type": "User", "id": "bob"}, {"type": "User", "id": "carol"}]
    assert (await ada.send("POST", f"{path}/cancel")).status == 409
    assert (await ada.send("POST", f"{path}/retry")).status == 409
    assert (await ada.send("POST", f"{path}/undo")).status == 200
    await app.work.idle()
    [listed] = (await ada.send("GET", "/v1/work/effects", query="stage=undone")).json["effects"]
    assert listed["id"] == made.id
    mallory = await site.enrolled("Service", "mallory")
    for word in ("approve", "undo", "retry", "cancel"):
        assert (await mallory.send("POST", f"{path}/{word}")).status == 403
