"""What commands say: plain text for people, JSON for programs; colour and progress only where a person looks on.

The standard library alone, until a progress bar is really drawn: commands start at once.
"""

import json
import os
import sys
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import IO, Annotated, Any, Final, Literal

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

Style = Literal["good", "bad", "warn", "strong", "faint"]
_CODES: Final[Mapping[str, str]] = {"good": "32", "bad": "31", "warn": "33", "strong": "1", "faint": "2"}

QUICK_SECONDS: Final = 1.0
"""Whatever is done within it needs no progress bar."""

_KEPT: Final = "\n\t"


def coloured(stream: IO[str]) -> bool:
    """Whether ``stream`` is a terminal whose owner has not asked for plain text (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, style: Style, stream: IO[str] | None = None) -> str:
    """``text`` in a colour, where ``stream``, by default the standard output, shows colours."""
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if coloured(stream or sys.stdout) else text


def printable(text: object) -> str:
    """``text`` without what a terminal would obey: names and messages are other people's choice."""
    return "".join(char if char in _KEPT or unicodedata.category(char)[0] != "C" else "�" for char in str(text))


def print_json(value: Any) -> None:
    """``value`` as JSON, indented on a terminal and on one line in a pipe."""
    text = json.dumps(value, indent=2 if sys.stdout.isatty() else None, ensure_ascii=False)
    print(printable(text) if sys.stdout.isatty() else text)


def show(value: Any, *, as_json: bool, text: Callable[[Any], str]) -> None:
    """``value`` as JSON, or as ``text`` makes it readable and safe to print."""
    if as_json:
        print_json(value)
    else:
        print(text(value))


def table(rows: Iterable[Sequence[object]], headers: Sequence[str]) -> str:
    """Rows in columns; the headers alone where there are none."""
    cells = [tuple(headers), *(tuple("" if cell is None else printable(cell) for cell in row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headers))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join(lines)


def fields(pairs: Iterable[tuple[str, object]]) -> str:
    """Names and values, one pair a line; a value that is empty is left out."""
    kept = [(name, printable(value)) for name, value in pairs if value not in (None, "", [], {}, ())]
    width = max((len(name) for name, _ in kept), default=0)
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in kept)


def lasting(span: timedelta) -> str:
    """A span of time in its two largest units, such as ``3 h 12 min``."""
    left = int(span.total_seconds())
    parts = []
    for unit, seconds in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, seconds)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Gives ``report(done, total)``, which draws a bar on a terminal once the work has taken ``QUICK_SECONDS``."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    started = time.monotonic()
    drawn: list[Any] = []

    def report(done: int, total: int) -> None:
        if not drawn:
            if time.monotonic() - started < QUICK_SECONDS:
                return
            drawn.extend(_draw(what))
        bar, task = drawn
        bar.update(task, completed=done, total=total)

    try:
        yield report
    finally:
        if drawn:
            drawn[0].stop()


def _draw(what: str) -> tuple[Any, Any]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task(what)
    bar.start()
    return bar, task
