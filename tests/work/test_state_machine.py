"""Kills, clock jumps, paused runners and duplicate deliveries, in any order that hypothesis finds.

Two runners work on one database, as two replicas do. Whatever happens: no effect is applied twice, none is lost, and
what was to be undone is.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, multiple, rule

from everproof.kernel.errors import ConflictError, RefusedError
from everproof.kernel.words import Effect, Ref
from everproof.work import EffectRecord, Work
from tests.conftest import SettableClock
from tests.work.conftest import Fair, House
from tests.work.outside import Fenced, Honouring, Outside, deed

T = TypeVar("T")

VERBS: Final = ("honouring", "fenced")
WEATHER: Final = ("fair", "fails before", "fails after", "hangs before", "hangs after")
HOUR: Final = timedelta(hours=1)
_made: list[Path] = []


def template() -> Path:
    """A database with its tables and keys, to copy: making one takes longer than all that is done with it."""
    if not _made:
        folder = Path(tempfile.mkdtemp())
        house = House(f"sqlite:///{folder / 'everproof.db'}", folder, SettableClock())
        house.open()
        house.storage.close()
        _made.append(folder)
    return _made[0]


class Effects(RuleBasedStateMachine):
    proposed = Bundle("proposed")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        shutil.copytree(template(), self.folder, dirs_exist_ok=True)
        self.loop = asyncio.new_event_loop()
        self.outsides: dict[str, Outside] = {"honouring": Honouring(), "fenced": Fenced()}
        self.house = House(f"sqlite:///{self.folder / 'everproof.db'}", self.folder, SettableClock())
        self.approved: set[str] = set()
        self.undone: set[str] = set()
        self.run(self.open())

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    async def open(self) -> None:
        self.house.open()
        second = Work(
            self.house.storage, self.house.work._queue._keyring, self.house.ledger, alone=False, chance=Fair()
        )
        self.works = [self.house.work, second]
        for work in self.works:
            for verb, outside in self.outsides.items():
                work.effects.register(deed(verb, outside, attempts=1_000))
        await self.house.storage.start()
        for work in self.works:
            await work.start()

    async def step(self) -> None:
        """Let things go on until nothing is due, or something hangs."""
        while not self.is_quiet():  # noqa: ASYNC110 - nobody else may be told when a runner is quiet
            await asyncio.sleep(0)

    def is_quiet(self) -> bool:
        runners = [work._runner for work in self.works]
        hanging = sum(outside.hanging for outside in self.outsides.values())
        return sum(len(one._running) for one in runners) == hanging and not any(
            one._looking or one._woken.is_set() for one in runners
        )

    def change(self, do: Any) -> EffectRecord | None:
        async def write() -> EffectRecord | None:
            try:
                made: EffectRecord | None = await self.house.storage.write(do)
            except (ConflictError, RefusedError):
                made = None
            await self.step()
            return made

        return self.run(write())

    @initialize(honouring=st.sampled_from(WEATHER), fenced=st.sampled_from(WEATHER))
    def begin(self, honouring: Any, fenced: Any) -> None:
        self.outsides["honouring"].weather = honouring
        self.outsides["fenced"].weather = fenced

    @rule(target=proposed, verb=st.sampled_from(VERBS), count=st.sampled_from([1, 1, 1, 100]))
    def propose(self, verb: str, count: int) -> Any:
        effect = Effect(verb=verb, subject=Ref("Server", "one"), arguments={"count": count})
        made = self.change(lambda tx: self.house.work.effects.propose(tx, effect, by=Ref("User", "alice")))
        if made is None:
            return multiple()
        if made.stage == "approved":
            self.approved.add(made.id)
        return made.id

    @rule(id_=proposed)
    def approve(self, id_: str) -> None:
        if self.change(lambda tx: self.house.work.effects.approve(tx, id_, Ref("User", "bob"))) is not None:
            self.approved.add(id_)

    @rule(id_=consumes(proposed))
    def undo(self, id_: str) -> None:
        if self.change(lambda tx: self.house.work.effects.undo(tx, id_, Ref("User", "bob"))) is not None:
            self.undone.add(id_)

    @rule(verb=st.sampled_from(VERBS), weather=st.sampled_from(WEATHER))
    def turn(self, verb: str, weather: Any) -> None:
        """The outside begins to fail, to hang, or to do its work again; what hangs goes on hanging."""
        self.outsides[verb].weather = weather
        self.run(self.step())

    @rule(verb=st.sampled_from(VERBS))
    def go_on(self, verb: str) -> None:
        """What hung goes on, as a runner that was paused, and does not know how long."""
        self.resume(self.outsides[verb])
        self.run(self.step())

    def resume(self, outside: Outside) -> None:
        outside.goes_on.set()
        outside.goes_on = asyncio.Event()

    @rule(seconds=st.sampled_from([1, 90, 3_600, 86_400, -60, -86_400]))
    def jump(self, seconds: int) -> None:
        """The clock is set; forward far enough, and what runs has lost its lease to the other runner."""
        self.house.clock.advance(timedelta(seconds=seconds))
        for work in self.works:
            work.wake()
        self.run(self.step())

    @rule()
    def kill(self) -> None:
        """The process dies, whatever it is doing, and another opens the same database."""

        async def die() -> None:
            for work in self.works:
                await work._runner.halt()
            await self.house.storage.stop()
            for work in self.works:
                await work.stop()
            await self.open()
            await self.step()

        self.run(die())

    def teardown(self) -> None:
        try:
            self.run(self.finish())
            self.check()
        finally:
            self.run(self.close())
            self.loop.close()
            shutil.rmtree(self.folder)

    async def finish(self) -> None:
        """Fair weather, and time enough."""
        for outside in self.outsides.values():
            outside.weather = "fair"
            self.resume(outside)
        self.house.clock.advance(timedelta(days=10))
        for _ in range(4):
            for work in self.works:
                work.wake()
            for work in self.works:
                await work.idle()
            self.house.clock.advance(HOUR)

    async def close(self) -> None:
        for work in self.works:
            await work.stop()
        await self.house.storage.stop()

    def check(self) -> None:
        found = self.house.work.effects.effects(limit=1_000)
        assert {one.id for one in found if one.stage != "proposed"} == self.approved
        for one in found:
            wanted = "undone" if one.id in self.undone else "verified" if one.id in self.approved else "proposed"
            assert one.stage == wanted, one
            assert (one.id in self.outsides[one.verb].on) == (wanted == "verified")
            outside = self.outsides[one.verb]
            if isinstance(outside, Honouring):
                assert outside.done[one.id, "apply"] == (one.id in self.approved)
                assert outside.done[one.id, "undo"] == (one.id in self.undone)
            elif isinstance(outside, Fenced):
                words = [what for _, what in outside.fences.get(one.id, [])]
                assert words == sorted(words), "nothing is applied after it was undone"
        left = self.house.work.jobs(states=("waiting", "running", "stuck"))
        assert {job.verb for job in left} == {"work.forget"}


Effects.TestCase.settings = settings(
    max_examples=20, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
TestEffects = Effects.TestCase
