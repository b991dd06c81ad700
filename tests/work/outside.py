"""Outside systems to have effects on: one that knows idempotency keys, one that only knows fences."""

import asyncio
from collections import Counter
from typing import Any, Literal

from everproof.kernel.words import Effect
from everproof.work import Deed, Plan, Step

Weather = Literal["fair", "fails before", "fails after", "hangs before", "hangs after"]


class Outside:
    """Does what it is told under the weather of the moment: what fails or hangs after was done all the same."""

    def __init__(self) -> None:
        self.weather: Weather = "fair"
        self.on: set[str] = set()
        self.hanging = 0
        self.hangs = asyncio.Event()
        self.goes_on = asyncio.Event()

    def accept(self, step: Step, what: str) -> None:
        raise NotImplementedError

    async def apply(self, step: Step) -> Any:
        await self._do(step, "apply")
        return {"ticket": step.key}

    async def verify(self, step: Step) -> bool:
        await self._suffer("before")
        assert step.outcome == {"ticket": f"{step.effect}/apply"}
        return step.effect in self.on

    async def undo(self, step: Step) -> None:
        await self._do(step, "undo")

    async def _do(self, step: Step, what: str) -> None:
        await self._suffer("before")
        self.accept(step, what)
        await self._suffer("after")

    async def _suffer(self, when: str) -> None:
        if self.weather == f"fails {when}":
            raise ConnectionError("the line is dead")
        if self.weather == f"hangs {when}":
            self.hanging += 1
            self.hangs.set()
            try:
                await self.goes_on.wait()
            finally:
                self.hanging -= 1


class Honouring(Outside):
    """Knows idempotency keys: the same key twice is the same deed."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: set[str] = set()
        self.done: Counter[tuple[str, str]] = Counter()

    def accept(self, step: Step, what: str) -> None:
        if step.key in self.keys:
            return
        self.keys.add(step.key)
        self.done[step.effect, what] += 1
        (self.on.add if what == "apply" else self.on.discard)(step.effect)


class FencedError(Exception):
    """The fence is lower than one seen before."""


class Fenced(Outside):
    """Knows no keys, and refuses a lower fence than it has seen on the same subject."""

    def __init__(self) -> None:
        super().__init__()
        self.fences: dict[str, list[tuple[int, str]]] = {}

    def accept(self, step: Step, what: str) -> None:
        seen = self.fences.setdefault(step.effect, [])
        if seen and step.fence <= seen[-1][0]:
            raise FencedError
        seen.append((step.fence, what))
        (self.on.add if what == "apply" else self.on.discard)(step.effect)


def deed(name: str, outside: Outside, **changes: Any) -> Deed:
    def plan(effect: Effect) -> Plan:
        count = int(effect.arguments.get("count", 1))
        return Plan(f"switch {count} on", count, f"switch {count} off")

    given = {"plan": plan, "apply": outside.apply, "verify": outside.verify, "undo": outside.undo, **changes}
    return Deed(name=name, action="server:administer", **given)
