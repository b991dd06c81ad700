"""`everproof policy replay`: what a bundle would have said to all that was decided, and whom it would have locked out.

It reads the state folder, beside a server that may run, in processes of its own. Where there is no such folder, the
entries come from the server that this machine is logged in to, which decides and records each read.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from everproof.cli import bundles
from everproof.cli.ledger_source import PAGE, ServedLedger
from everproof.cli.main import EXIT_FAILED
from everproof.cli.state import State, has_database, open_ledger
from everproof.cli.terminal import Json, paint, print_json, printable, progress
from everproof.cli.values import span

if TYPE_CHECKING:
    from everproof.authorize.replaying import Replay
    from everproof.ledger import Recorded
    from everproof.policy import Bundle
    from everproof.policy.replay_findings import Findings, Group

SHOWN: Final = 20
"""Groups that a person is shown of each turn; --json has them all."""
NAMED: Final = 5
"""Entries that a person is shown the index of."""


def replay(
    *,
    place: Annotated[str, typer.Option("--with", metavar="DIR", help="A folder with .everproof/, or a commit.")] = ".",
    since: Annotated[str, typer.Option(help="How far back, such as 30d, 12h or 90min.")] = "30d",
    processes: Annotated[int | None, typer.Option(min=1, max=64, help="How many.", show_default=False)] = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Decide again what was decided, by another bundle.

    Says what would change, and for whom, with an example each. With the bundle that decided then, every byte comes out
    again. Groups, attributes and facts are those of that time. Exits with 1 where anything would be decided otherwise.
    """
    import msgspec

    from everproof.cli import session
    from everproof.cli.client import connect
    from everproof.kernel.settings import load_settings

    bundle = bundles.load(place)
    moment = datetime.now(UTC) - span(since, place="--since")
    with progress("replaying") as report:
        if state is None and not has_database(load_settings(None)) and session.file().exists():
            done = _replay_served(ServedLedger(connect()), bundle, moment, report)
        else:
            done = _replay_folder(state, bundle, moment, processes, report)
    found = done.findings
    if as_json:
        print_json({"since": moment.isoformat(), **msgspec.to_builtins(done)})
    else:
        print(f"{many(found.decisions, 'decision')} of the last {since} decided again in {done.seconds:.1f} s")
        print("\n".join([findings_text(found), *(paint(note, "warn") for note in done.notes)]))
    if found.denied or found.allowed or found.differing:
        raise typer.Exit(EXIT_FAILED)


def _replay_folder(
    state: Path | None, bundle: "Bundle", since: datetime, processes: int | None, report: Callable[[int, int], None]
) -> "Replay":
    from everproof.authorize.bundles import ruling
    from everproof.authorize.replaying import replay_ledger

    with open_ledger(state) as ledger:
        replaying = replay_ledger(
            ledger.view,
            ledger.settings,
            bundle.files,
            since=since,
            processes=processes,
            ruling=ruling(ledger.storage).files,
            progress=report,
        )
        return asyncio.run(replaying)


def _replay_served(
    ledger: ServedLedger, bundle: "Bundle", since: datetime, report: Callable[[int, int], None]
) -> "Replay":
    import secrets

    from everproof.authorize.replay_entries import Replayer
    from everproof.authorize.replaying import Replay
    from everproof.policy import Engine
    from everproof.policy.replay_findings import Tally

    started = time.monotonic()
    size = ledger.size()
    first = _first_since(ledger, size, since)
    engine = Engine(bundle)
    tally = Tally(engine, secrets.token_bytes(16))
    replayer = Replayer(engine, tally, since=since)
    for one in _pages(ledger, first, size):
        report(one.index - first, size - first)
        if one.entry is not None:
            replayer.add(one.index, one.entry)
        else:
            replayer.unreadable(one.index, one.kind, one.at, erased=one.state == "erased")
    tally.found.entries = size - first
    return Replay(
        digest=bundle.digest,
        findings=tally.findings(),
        of=size - first,
        complete=True,
        seconds=time.monotonic() - started,
    )


def _first_since(ledger: ServedLedger, size: int, since: datetime) -> int:
    low, high = 0, size
    while high - low > PAGE:
        middle = (low + high) // 2
        [one, *_] = ledger.tail(middle - 1, 1)
        low, high = (middle, high) if one.at < since else (low, middle)
    return low


def _pages(ledger: ServedLedger, first: int, end: int) -> "Iterator[Recorded]":
    while first < end:
        page = [one for one in ledger.tail(first - 1, min(PAGE, end - first)) if one.index < end]
        if not page:
            return
        yield from page
        first = page[-1].index + 1


def findings_text(found: "Findings") -> str:
    """What was found, for a terminal."""
    lines: list[str] = []
    for turn, count, style in (("denied", found.denied, "bad"), ("allowed", found.allowed, "warn")):
        if not count:
            continue
        lines += ["", paint(f"would be {turn}: {count}", style)]  # type: ignore[arg-type]  # one of the two above
        groups = [group for group in found.groups if group.turn == turn]
        for group in groups[:SHOWN]:
            lines += _group_lines(group)
        hidden = sum(group.count for group in groups[SHOWN:])
        if hidden:
            lines.append(f"  and {hidden} more in {many(len(groups) - SHOWN, 'group')}: --json has them")
        for rest in found.rest:
            if rest.turn == turn:
                vouched = ", only vouched for" if rest.vouched else ""
                lines.append(f"  and {rest.count} more of the type {printable(rest.type)}{vouched}")
    if lines:
        lines.append("")
    return "\n".join([*lines, *_other_lines(found)])


def _group_lines(group: "Group") -> list[str]:
    by = ", ".join(group.policies) or "no policy"
    vouched = " (vouched for)" if group.vouched else ""
    example = group.example
    first = f"{group.count:>6}  {group.principal}{vouched}  {group.how}: {by}"
    asked = f"{example.action} on {example.resource}"
    when = f"{example.at:%Y-%m-%d %H:%M}"
    lines = [printable(first), printable(f"        entry {example.index}, {when}: {asked}")]
    return [*lines, *([printable(f"        {example.reason}")] if example.reason else [])]


def _other_lines(found: "Findings") -> list[str]:
    kept = found.decisions - found.denied - found.allowed
    lines = [
        f"answered as before: {kept}" + (f", {found.elsewhere} of them by other policies" if found.elsewhere else "")
    ]
    if found.refused:
        lines.append(f"refused by something else than policy, and still: {found.refused}")
    if found.observed:
        lines.append(f"denied by policy and let pass by a door that observes: {found.observed}")
    if found.identical or found.differing:
        differing = f", and {found.differing} otherwise" if found.differing else ""
        lines.append(f"decided by this very bundle: {found.identical} came out byte for byte{differing}")
    if found.differing:
        places = ", ".join(map(str, found.differing_at))
        lines.append(paint(f"these should not differ, entries {places}: everproof ledger verify", "bad"))
    if found.other_engine:
        lines.append(f"decided by this bundle with another engine or schema, bytes not compared: {found.other_engine}")
    why = {"erased": found.erased, "changed": found.changed, "older": found.older, "unwritten": found.unwritten}
    words = {"older": "in an older form", "unwritten": "never written down"}
    for kind, count in why.items():
        if count:
            named = [str(one.index) for one in found.skipped if one.why == kind][:NAMED]
            places = ", ".join([*named, *(["…"] if count > len(named) else [])])
            lines.append(f"cannot be decided again, {words.get(kind, kind)}: {count} (entries {places})")
    return lines


def many(count: int, what: str) -> str:
    """A count with its noun."""
    return f"{count} {what}{'' if count == 1 else 's'}"
