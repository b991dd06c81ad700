"""Requests, approvals, refusals, ends, people, policies, clocks and kills in any order, against an oracle of its own.

The oracle is plain Python over what was done; it shares nothing with the room. After each step, whoever is asked about
may do exactly what it says.
"""

import asyncio
import shutil
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from everproof.access import Wanted
from everproof.access.records import GrantRecord
from everproof.authorize import Allowed, Denied
from everproof.identity import roster
from everproof.kernel.errors import Error
from everproof.kernel.words import MAIN_SPACE, Action, Proof, Ref, Resource
from everproof.storage import Transaction
from tests.access import house as houses
from tests.access.house import DEPLOY, House, files, read_once
from tests.conftest import SettableClock

T = TypeVar("T")

PRODUCTION, STAGING = Ref("Environment", "production"), Ref("Environment", "staging")
ASKERS = ("dev", "eve", "rob")
ANSWERERS = ("dev", "rob", "ruth", "ada", "grace")
GROUPS = {"rob": ("release", "developers"), "ruth": ("release",)}
"""Whom the machine moves about: in these groups, and in none."""


def rules(people: int, owners: str) -> str:
    return f"""\
[[rule]]
actions = ["deployment:*"]
resources = ['Environment::"production"']
people = {people}
owners = ['{owners}']
longest = "2h"
answer_within = "30min"

[[rule]]
actions = ["deployment:*"]
resources = ['Environment::"staging"']
requesters = ["developers"]
answer_within = "1h"
longest = "1d"
"""


CLOSED = '@id("closed") @title("Frozen") forbid (principal, action == Action::"deployment:start", resource);'
BUNDLES: dict[str, tuple[dict[str, bytes], int, bool, bool]] = {
    # files, people for production, whether the group release owns it, whether a grant is honoured
    "two": (files(rules(2, 'Group::"release"')), 2, True, True),
    "one": (files(rules(1, 'Group::"release"')), 1, True, True),
    "three": (files(rules(3, 'Group::"release"')), 3, True, True),
    "nobody owns": (files(rules(2, 'User::"nobody"')), 2, False, True),
    "frozen": (files(rules(2, 'Group::"release"'), closed=CLOSED), 2, True, False),
}


class Asked:
    """What the oracle knows of a request."""

    def __init__(self, record: Any, needs: int, *, release: bool) -> None:
        self.record = record
        self.by: str = record.requester.id
        self.resource: Ref = record.resource
        self.needs = needs
        self.release = release
        self.lapses: datetime = record.answer_by
        self.open = True
        self.approvals: dict[str, int] = {}
        """Who has approved, in which of their sessions."""


class Given:
    """What the oracle knows of a grant."""

    def __init__(self, id_: str, asked: Asked, ends: datetime, approvers: set[str]) -> None:
        self.id, self.asked, self.ends, self.approvers = id_, asked, ends, approvers
        self.revoked = False


class Oracle:
    """Who may do what, and why."""

    def __init__(self) -> None:
        self.bundle = "two"
        self.disabled: set[str] = set()
        self.groups = {name: set(groups) for name, groups in houses.PEOPLE.items()}
        self.groups["rob"] = {"release", "developers"}
        self.sessions = dict.fromkeys(houses.PEOPLE, 1)
        self.requests: list[Asked] = []
        self.grants: list[Given] = []

    def is_busy(self, now: datetime) -> bool:
        """Whether there is anything that what befalls people, policies or time could change."""
        return bool(self.half_approved(now) or self.grants)

    def half_approved(self, now: datetime) -> list[Asked]:
        return [one for one in self.requests if one.approvals and self.is_open(one, now)]

    def may_ask(self, who: str, resource: Ref) -> bool:
        return resource == PRODUCTION or "developers" in self.groups[who]

    def may_decide(self, who: str, asked: Asked) -> bool:
        """Whether somebody may answer a request at all."""
        if who in self.disabled or who == asked.by:
            return False
        owns = asked.resource == PRODUCTION and asked.release and "release" in self.groups[who]
        return "administrators" in self.groups[who] or owns

    def may_approve(self, who: str, asked: Asked) -> bool:
        """An approval counts only of an owner whom the rules of now name too."""
        owns = asked.resource == PRODUCTION and BUNDLES[self.bundle][2]
        return self.may_decide(who, asked) and ("administrators" in self.groups[who] or owns)

    def counting(self, asked: Asked) -> set[str]:
        return {
            who
            for who, session in asked.approvals.items()
            if self.may_approve(who, asked) and self.sessions[who] == session
        }

    def is_open(self, asked: Asked, now: datetime) -> bool:
        return asked.open and now < asked.lapses

    def needs(self, asked: Asked) -> int:
        return max(asked.needs, BUNDLES[self.bundle][1] if asked.resource == PRODUCTION else 1)

    def grantable(self, asked: Asked) -> bool:
        return asked.by not in self.disabled and self.may_ask(asked.by, asked.resource)

    def approves(self, who: str, asked: Asked, now: datetime) -> bool:
        fits = self.is_open(asked, now) and self.may_approve(who, asked) and self.grantable(asked)
        return fits and who not in self.counting(asked)

    def may(self, who: str, resource: Ref, now: datetime) -> bool:
        if who in self.disabled or not BUNDLES[self.bundle][3]:
            return False
        return any(
            one.asked.by == who and one.asked.resource == resource and not one.revoked and now < one.ends
            for one in self.grants
        )


async def at_once(work: Callable[..., T], *arguments: Any) -> T:
    """As `asyncio.to_thread`, here and now."""
    return work(*arguments)


class AccessMachine(RuleBasedStateMachine):
    """The room, and the oracle beside it."""

    breaks: ClassVar[tuple[Callable[[pytest.MonkeyPatch], None], ...]] = ()
    """How a broken variant is broken, to show that the machine sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(mkdtemp())
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr("everproof.authorize.bundles.load_bundle", read_once)
        self.patch.setattr(asyncio, "to_thread", at_once)  # else chance decides which of two comes first
        for one in self.breaks:
            one(self.patch)
        self.clock = SettableClock()
        self.loop = asyncio.Runner()
        self.oracle = Oracle()
        self.proofs: dict[str, Proof] = {}

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run(work)

    def teardown(self) -> None:
        self.run(self.house.stop())
        self.loop.close()
        self.patch.undo()
        shutil.rmtree(self.folder)

    @initialize(who=st.sampled_from(ASKERS), first=st.sampled_from(("rob", "ruth", "ada", "nobody")))
    def begin(self, who: str, first: str) -> None:
        async def begin() -> None:
            self.house = House(f"sqlite:///{self.folder}/{houses.FILE}", self.folder, self.clock)
            await self.house.start()
            await self.house.rule(BUNDLES["two"][0])
            await self.write(lambda tx: roster.set_groups(tx, Ref("User", "rob"), ["release", "developers"]))
            for name in houses.PEOPLE:
                self.proofs[name] = await self.house.session(name)

        self.run(begin())
        self.request(who, PRODUCTION, 20)
        if first != "nobody":
            self.answered(
                self.oracle.requests[0],
                [(first, self.house.proof(first, credential=self.proofs[first].credential), True)],
            )

    async def write(self, change: Callable[[Transaction], object]) -> None:
        await self.house.app.storage.write(change)

    @property
    def now(self) -> datetime:
        return self.house.app.storage.clock.now()

    @property
    def is_behind(self) -> bool:
        return self.now - self.clock.now() > timedelta(seconds=30)

    def proof(self, who: str, *, fresh: bool = True, stale: bool = False) -> Proof | None:
        """A proof as a door makes it now; ``stale``: made when they last logged in, whatever has changed since."""
        last = self.proofs[who]
        if stale:
            return last
        if who in self.oracle.disabled:
            return None
        return self.house.proof(who, mfa_age=10 if fresh else 900, credential=last.credential)

    def one(self, data: st.DataObject) -> Asked:
        """A request; mostly one that waits."""
        waiting = [one for one in self.oracle.requests if self.oracle.is_open(one, self.now)]
        mostly = waiting and data.draw(st.integers(0, 5)) > 0
        return data.draw(st.sampled_from(waiting if mostly else self.oracle.requests))

    # ── requests ──────────────────────────────────────────────────────────────────────────────────────────────────

    @rule(who=st.sampled_from(ASKERS), resource=st.sampled_from((PRODUCTION, STAGING)), minutes=st.integers(1, 90))
    def request(self, who: str, resource: Ref, minutes: int) -> None:
        proof = self.proof(who)
        if proof is None:
            return
        oracle = self.oracle
        same = any(
            one.by == who and one.resource == resource and oracle.is_open(one, self.now) for one in oracle.requests
        )
        wanted = Wanted(action=DEPLOY.name, resource=resource, seconds=minutes * 60, reason="because")
        outcome = self.run(self.house.access.requests.request(proof, wanted))
        expected = oracle.may_ask(who, resource) and not same and BUNDLES[oracle.bundle][3]
        assert isinstance(outcome, Allowed) == expected, outcome
        if isinstance(outcome, Allowed):
            _, people, release, _ = BUNDLES[oracle.bundle]
            needs = people if resource == PRODUCTION else 1
            oracle.requests.append(Asked(outcome.outcome, needs, release=release))

    @precondition(lambda self: self.oracle.requests)
    @rule(
        data=st.data(),
        who=st.sampled_from(ANSWERERS),
        fresh=st.sampled_from((True, True, True, False)),
        stale=st.booleans(),
    )
    def approve(self, data: st.DataObject, who: str, fresh: bool, stale: bool) -> None:
        asked = self.one(data)
        proof = self.proof(who, fresh=fresh, stale=stale)
        if proof is not None:
            self.answered(asked, [(who, proof, fresh or stale)], stale=stale)

    @precondition(lambda self: self.oracle.requests)
    @rule(data=st.data(), who=st.permutations(("rob", "ruth", "ada", "grace")), count=st.integers(2, 4))
    def approve_one_after_another(self, data: st.DataObject, who: list[str], count: int) -> None:
        asked = self.one(data)
        for one in who[:count]:
            if asked.open and (proof := self.proof(one)) is not None:
                self.answered(asked, [(one, proof, True)])

    @precondition(lambda self: self.oracle.requests)
    @rule(data=st.data(), who=st.sampled_from(ANSWERERS), other=st.sampled_from(ANSWERERS))
    def approve_at_one_moment(self, data: st.DataObject, who: str, other: str) -> None:
        asked = self.one(data)
        proofs = [(one, proof, True) for one in (who, other) if (proof := self.proof(one)) is not None]
        self.answered(asked, proofs)

    def answered(self, asked: Asked, proofs: list[tuple[str, Proof, bool]], *, stale: bool = False) -> None:
        """Approve, all at once; what comes of each must be what the oracle says, in the order in which they came.

        An old proof may be refused although a new one would do, and never the other way round.
        """

        async def ask() -> list[Any]:
            tries = (self.house.try_approve(proof, asked.record) for _, proof, _ in proofs)
            return list(await asyncio.gather(*tries, return_exceptions=True))

        oracle = self.oracle
        behind = self.is_behind
        for (who, _, fresh), outcome in zip(proofs, self.run(ask()), strict=True):
            assert isinstance(outcome, (Allowed, Denied, Error)), outcome
            expected = not behind and fresh and oracle.approves(who, asked, self.now)
            if stale and isinstance(outcome, Denied):
                continue
            assert isinstance(outcome, Allowed) == expected, (who, outcome)
            if not isinstance(outcome, Allowed):
                continue
            asked.approvals[who] = oracle.sessions[who]
            counting = oracle.counting(asked)
            grant: GrantRecord | None = outcome.outcome.grant
            assert (grant is not None) == (len(counting) >= oracle.needs(asked))
            if grant is not None:
                asked.open = False
                lasting = timedelta(seconds=asked.record.seconds)
                assert grant.expires <= self.now + lasting
                assert {one.id for one in grant.approvers} == counting
                oracle.grants.append(Given(grant.id, asked, self.now + lasting, counting))

    @precondition(lambda self: self.oracle.half_approved(self.now))
    @rule(data=st.data(), how=st.sampled_from(("disable", "move", "end_session", "asker", "nothing")))
    def somebody_falls_and_others_go_on(self, data: st.DataObject, how: str) -> None:
        asked = data.draw(st.sampled_from(self.oracle.half_approved(self.now)))
        first = min(asked.approvals)
        if how == "disable":
            self.disable(first)
        elif how == "asker":
            self.disable(asked.by)
        elif how == "move":
            self.move(first, stays=False)
        elif how == "end_session":
            self.end_session(first)
        for one in data.draw(st.permutations(("rob", "ruth", "ada", "grace")))[:2]:
            if asked.open and (proof := self.proof(one)) is not None:
                self.answered(asked, [(one, proof, True)])

    @precondition(lambda self: len(self.oracle.requests) > 1)
    @rule(data=st.data(), who=st.sampled_from(ANSWERERS))
    def refuse(self, data: st.DataObject, who: str) -> None:
        asked = self.one(data)
        proof = self.proof(who)
        if proof is None:
            return
        outcome = self.run(self.house.access.requests.refuse(proof, asked.record.id, reason="no"))
        expected = self.oracle.is_open(asked, self.now) and self.oracle.may_decide(who, asked)
        assert isinstance(outcome, Allowed) == expected
        asked.open = asked.open and not expected

    @precondition(lambda self: len(self.oracle.requests) > 1)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        asked = self.one(data)
        proof = self.proof(asked.by)
        if proof is None:
            return
        outcome = self.run(self.house.access.requests.cancel(proof, asked.record.id))
        expected = self.oracle.is_open(asked, self.now)
        assert isinstance(outcome, Allowed) == expected
        asked.open = asked.open and not expected

    @precondition(lambda self: self.oracle.grants)
    @rule(data=st.data(), who=st.sampled_from((*ANSWERERS, "eve")))
    def revoke(self, data: st.DataObject, who: str) -> None:
        given = data.draw(st.sampled_from(self.oracle.grants))
        proof = self.proof(who)
        if proof is None:
            return
        outcome = self.run(self.house.access.requests.revoke(proof, given.id))
        asked = given.asked
        owns = asked.resource == PRODUCTION and asked.release and "release" in self.oracle.groups[who]
        may = who in {asked.by, *given.approvers} or owns or "administrators" in self.oracle.groups[who]
        expected = may and not given.revoked and self.now < given.ends
        assert isinstance(outcome, Allowed) == expected, outcome
        given.revoked = given.revoked or expected

    # ── people, policies, time, and death ─────────────────────────────────────────────────────────────────────────

    @precondition(lambda self: self.oracle.is_busy(self.now))
    @rule(who=st.sampled_from(("dev", "rob", "ruth", "grace")))
    def disable(self, who: str) -> None:
        self.run(self.write(lambda tx: roster.disable(tx, Ref("User", who), "left")))
        if who not in self.oracle.disabled:
            self.oracle.disabled.add(who)
            self.oracle.sessions[who] += 1
        for given in self.oracle.grants:
            given.revoked = given.revoked or given.asked.by == who

    @precondition(lambda self: self.oracle.disabled)
    @rule(data=st.data())
    def enable(self, data: st.DataObject) -> None:
        who = data.draw(st.sampled_from(sorted(self.oracle.disabled)))

        async def enable() -> None:
            await self.write(lambda tx: roster.enable(tx, Ref("User", who)))
            self.proofs[who] = await self.house.session(who)

        self.run(enable())
        self.oracle.disabled.discard(who)

    @precondition(lambda self: self.oracle.is_busy(self.now))
    @rule(who=st.sampled_from(tuple(GROUPS)), stays=st.booleans())
    def move(self, who: str, stays: bool) -> None:
        groups = GROUPS.get(who, houses.PEOPLE[who]) if stays else ()
        self.run(self.write(lambda tx: roster.set_groups(tx, Ref("User", who), groups)))
        self.oracle.groups[who] = set(groups)

    @precondition(lambda self: self.oracle.is_busy(self.now))
    @rule(who=st.sampled_from(("rob", "ruth", "ada")))
    def end_session(self, who: str) -> None:
        if who in self.oracle.disabled:
            return
        credential = self.proofs[who].credential
        assert credential is not None

        async def end() -> None:
            await self.write(lambda tx: self.house.app.identity.credentials.revoke(tx, credential, "logged out"))
            self.proofs[who] = await self.house.session(who)

        self.run(end())
        self.oracle.sessions[who] += 1

    @precondition(lambda self: self.oracle.is_busy(self.now))
    @rule(name=st.sampled_from(tuple(BUNDLES)))
    def change_policy(self, name: str) -> None:
        self.run(self.house.rule(BUNDLES[name][0]))
        self.oracle.bundle = name

    @rule(seconds=st.sampled_from((1, 60, 600, 1200, 1800)))
    def advance(self, seconds: int) -> None:
        self.clock.advance(timedelta(seconds=seconds))

    @precondition(lambda self: self.oracle.is_busy(self.now) and not self.is_behind)
    @rule(seconds=st.sampled_from((5, 30, 31, 7200)))
    def set_clock_back(self, seconds: int) -> None:
        self.clock.advance(-timedelta(seconds=seconds))

    @rule()
    def set_clock_right(self) -> None:
        self.clock.time = max(self.clock.time, self.now)

    @precondition(lambda self: self.oracle.grants)
    @rule()
    def kill(self) -> None:
        before = self.now
        self.run(self.house.restart())
        assert self.now == before

    @rule()
    def write_down_what_is_over(self) -> None:
        self.run(self.write(self.house.access.settle))

    # ── what must hold ────────────────────────────────────────────────────────────────────────────────────────────

    @invariant()
    def nobody_may_do_what_was_not_granted(self) -> None:
        async def look() -> dict[tuple[str, Ref], bool]:
            asked = {(one.by, one.resource) for one in self.oracle.requests}
            beside = {(who, resource) for one, resource in asked for who in ASKERS if who > one}
            cases = sorted(asked | set(sorted(beside)[:1]) | {(who, STAGING) for who, _ in asked})
            found = await asyncio.gather(*(self.may(who, resource) for who, resource in cases))
            return dict(zip(cases, found, strict=True))

        for (who, resource), may in self.run(look()).items():
            assert may == self.oracle.may(who, resource, self.now), (who, resource, may)

    async def may(self, who: str, resource: Ref) -> bool:
        proof = self.proof(who) or self.proof(who, stale=True)
        assert proof is not None
        about = Resource(ref=resource, parents=(MAIN_SPACE,))
        return isinstance(await self.house.app.authorizer.authorize(proof, DEPLOY, about), Allowed)


QUICK = settings(
    max_examples=30, stateful_step_count=24, deadline=None, database=None, derandomize=True,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


def test_no_interleaving_grants_what_policy_does_not() -> None:
    run_state_machine_as_test(AccessMachine, settings=QUICK)


def _any_resource(patch: pytest.MonkeyPatch) -> None:
    """A grant is for its action, on whatever."""

    def fits(grant: GrantRecord, action: Action, _resource: Resource) -> bool:
        return action.name in grant.actions

    patch.setattr("everproof.access.facts.fits", fits)


class Lenient(AccessMachine):
    breaks = (_any_resource,)


def test_the_machine_sees_a_grant_that_opens_more_than_it_names() -> None:
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Lenient, settings=settings(QUICK, phases=(Phase.generate,)))
