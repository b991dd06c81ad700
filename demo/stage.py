"""Scenes: each is tried, and prints one line of what was tried, what happened, and how long it took."""

import time
import traceback
from collections.abc import Callable
from typing import Final, NamedTuple

from demo.denials import Refusals
from demo.house import House

Play = Callable[[House], str]


class Scene(NamedTuple):
    """What is tried; ``play`` returns what happened, and raises where that is not as expected."""

    tried: str
    attack: bool
    play: Play


class Skipped(Exception):  # noqa: N818 - not an error
    """What the scene needs is not on this machine."""


class UnexpectedError(Exception):
    """What happened is not what should have."""


SCENES: Final[list[Scene]] = []

TRIED_WIDTH: Final = 62


def scene(tried: str, *, attack: bool = False) -> Callable[[Play], Play]:
    """Add a scene to the demonstration, in the order in which they are written."""

    def add(play: Play) -> Play:
        SCENES.append(Scene(tried, attack, play))
        return play

    return add


def expect(condition: object, otherwise: str) -> None:
    """Go on only if ``condition`` holds."""
    if not condition:
        raise UnexpectedError(otherwise)


class Tally:
    """How the scenes went."""

    def __init__(self) -> None:
        self.expected = self.unexpected = self.skipped = 0
        self.refusals = Refusals()

    def run(self, number: int, one: Scene, house: House) -> None:
        """Play one scene and print its line."""
        started = time.perf_counter()
        trace = ""
        try:
            happened, mark = one.play(house), "✗" if one.attack else "✓"
            self.expected += 1
        except Skipped as reason:
            happened, mark = f"skipped: {reason}", "-"
            self.skipped += 1
        except Exception as error:  # noqa: BLE001 - whatever went wrong is shown, and the others are still played
            happened, mark = f"NOT AS EXPECTED: {error}", "!"
            trace = "" if isinstance(error, UnexpectedError) else traceback.format_exc()
            self.unexpected += 1
        self.refusals.add(one.tried, house)
        took = (time.perf_counter() - started) * 1000
        print(f"{number:3} {mark} {one.tried:{TRIED_WIDTH}} {took:6,.0f} ms  {happened}", flush=True)
        if trace:
            print(trace, flush=True)

    def summary(self, ledger: str, seconds: float) -> str:
        """The last line."""
        played = self.expected + self.unexpected
        skipped = f"{self.skipped} skipped"
        return f"demo: {played} scenes, {self.expected} as expected, {skipped}, {ledger}, {seconds:.1f} s"
