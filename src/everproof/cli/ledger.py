"""`everproof ledger`: verify, prove, follow and export the record of everything.

It works on the state folder, offline and read-only, beside a server that may run: whoever can read the folder and its
root key can read the ledger anyway. Where there is no such folder, the server that this machine is logged in to is
asked. A proof file is verified with nothing but the log's public key.
"""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from everproof.cli.ledger_file import verify_file
from everproof.cli.ledger_source import open_source
from everproof.cli.main import EXIT_FAILED
from everproof.cli.state import State, open_ledger
from everproof.cli.terminal import Json, fields, paint, print_json, printable, progress
from everproof.kernel.errors import InputError, NotFoundError

if TYPE_CHECKING:
    from everproof.cli.state import LedgerFolder
    from everproof.ledger import Recorded, Verification

app = typer.Typer(help="Verify, prove, follow and export the record of everything.", no_args_is_help=True)

FOLLOW_SECONDS: Final = 0.5
"""How often `tail -f` looks again: at once to a person, nothing to the database."""

AT_ONCE: Final = 100
"""Entries that `tail -f` takes at a time."""

_Key = Annotated[str | None, typer.Option("--key", help="The log's public key, or a file with it.", show_default=False)]


@app.command()
def verify(
    proof: Annotated[
        Path | None, typer.Argument(help="A file with a proof or a checkpoint; without one, the whole ledger.")
    ] = None,
    *,
    key: _Key = None,
    state: State = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="A checkpoint kept elsewhere, which the ledger must continue.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(help="A C2SP tlog-policy: the witnesses that must have cosigned.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Verify the whole ledger, or one proof or checkpoint in a file.

    Without PROOF every entry, leaf, tile and checkpoint in the state folder is computed anew. With PROOF and --key, or
    --policy, no server, network or state is needed. Exits with 1 where anything does not hold.
    """
    if proof is None:
        _verify_state(state, checkpoint, policy, as_json=as_json)
    else:
        verify_file(proof, key, policy, state, as_json=as_json)


@app.command()
def prove(
    entry: Annotated[str, typer.Argument(help="An entry's index or id.")],
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the proof to this file.")] = None,
    disclose: Annotated[bool, typer.Option("--disclose", help="Show the entry itself within the proof.")] = False,
    state: State = None,
) -> None:
    """Write the proof that the ledger has an entry.

    A stranger verifies it offline with the log's public key. Without --disclose the proof tells nothing of what the
    entry says.
    """
    with open_source(state) as ledger:
        text = ledger.prove(entry, disclose=disclose)
        log = ledger.key()
    if output is None:
        print(text.decode(), end="")
        return
    try:
        output.write_bytes(text)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", place=str(output)) from error
    print(f"entry {entry} is proved in {output}; whoever has the log's key verifies it offline:")
    print(f"  everproof ledger verify {output} --key '{log}'")


@app.command()
def tail(
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes; Ctrl-C ends it.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, max=100_000, help="How many to begin with.")] = 20,
    kind: Annotated[str | None, typer.Option(help="Only entries of this kind.", show_default=False)] = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Show the last entries, and with -f those that come."""
    with open_source(state) as ledger:
        last = -1
        for one in ledger.tail(None, lines, kind=kind) if lines else []:
            _print_entry(one, as_json=as_json)
            last = one.index
        if not follow:
            return
        if last < 0 and (newest := ledger.tail(None, 1)):
            last = newest[0].index
        while True:
            # All kinds are asked for, so that a rare one is not searched for from the start again each time.
            found = ledger.tail(last, AT_ONCE)
            for one in found:
                last = one.index
                if kind is None or one.kind == kind:
                    _print_entry(one, as_json=as_json)
            if not found:
                time.sleep(FOLLOW_SECONDS)


@app.command()
def export(
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
    first: Annotated[int, typer.Option("--from", min=0, help="The first entry's index.")] = 0,
    end: Annotated[
        int | None, typer.Option("--to", help="One beyond the last one's index.", show_default=False)
    ] = None,
    disclose: Annotated[
        bool, typer.Option("--disclose/--proofs-only", help="With what the entries say, or their proofs alone.")
    ] = True,
    state: State = None,
) -> None:
    """Write entries with their proofs, one line of JSON each."""
    import sys

    with open_source(state) as ledger, progress("exporting") as report:
        size = ledger.size()
        last = size if end is None else min(end, size)
        target = sys.stdout.buffer if output is None else output.open("wb")
        try:
            for done, line in enumerate(ledger.export(first, last, disclose=disclose), 1):
                target.write(line)
                report(done, last - first)
        finally:
            target.flush() if output is None else target.close()


@app.command()
def key(
    *,
    witness: Annotated[bool, typer.Option("--witness", help="The key that other logs are cosigned with.")] = False,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Print the log's public key, all that verifying takes."""
    with open_source(state) as ledger:
        if witness:
            if (found := ledger.witness()) is None:
                todo = "name it and the logs that it knows in `witness` in server.toml"
                raise NotFoundError("this server is no witness", todo=todo)
            print_json({"witness": found}) if as_json else print(found)
            return
        if as_json:
            print_json({"origin": ledger.key().partition("+")[0], "key": ledger.key()})
        else:
            print(ledger.key())


def _verify_state(state: Path | None, checkpoint: Path | None, policy: Path | None, *, as_json: bool) -> None:
    from everproof.ledger import verify_ledger
    from everproof.ledger.cosigning import read_policy

    with open_ledger(state) as ledger, progress("verifying") as report:
        if policy is not None:
            read_policy(policy).open_checkpoint(ledger.view.checkpoint(), [ledger.log])
        if checkpoint is not None and not checkpoint.is_file():
            raise NotFoundError("there is no such file", place=str(checkpoint))
        copy = checkpoint or ledger.settings.checkpoint_copy
        found = verify_ledger(ledger.storage, ledger.keyring, ledger.log, copy=copy, progress=report)
        if as_json:
            problems = [{"what": one.what, "place": one.place, "index": one.index} for one in found.problems]
            print_json(
                {"holds": found.holds, "origin": ledger.log.name, "size": found.size, "root": found.root.hex(),
                 "opened": found.opened, "erased": found.erased, "checkpoints": found.checkpoints,
                 "problems": problems, "more_problems": found.more_problems}
            )  # fmt: skip
        else:
            _print_verification(ledger, found, copy)
    if not found.holds:
        raise typer.Exit(EXIT_FAILED)


def _print_verification(ledger: "LedgerFolder", found: "Verification", copy: Path | None) -> None:
    if found.holds:
        print(f"{paint('The ledger holds', 'good')}: {found.size} entries are as they were recorded.")
    else:
        count = len(found.problems) + found.more_problems
        print(f"{paint('The ledger was changed', 'bad')}: {count} of what was recorded in {found.size} entries.")
        for one in found.problems:
            print(f"  {paint(printable(one.place), 'strong')}: {printable(one.what)}")
        if found.more_problems:
            print(f"  and {found.more_problems} more")
    about = [
        ("log", ledger.log.name),
        ("root", found.root.hex()),
        ("checkpoints", f"{found.checkpoints}" + (f", one of them in {copy}" if copy else ", none kept elsewhere")),
        ("erased", found.erased or None),
    ]
    print(fields(about))
    if not found.holds:
        print("→ bring back the right database; what a checkpoint was signed for cannot be taken out unnoticed")
    elif copy is None:
        print("→ keep a copy of the checkpoint elsewhere (`checkpoint_copy` in server.toml): it alone tells a rollback")


def _print_entry(one: "Recorded", *, as_json: bool) -> None:
    import msgspec

    if as_json:
        line = {"index": one.index, "id": one.id, "kind": one.kind, "at": one.at, "entry": one.entry}
        print(msgspec.json.encode(line).decode(), flush=True)
        return
    said = "erased" if one.entry is None else _summary(msgspec.json.decode(one.entry.body))
    print(f"{one.index:>8}  {one.at:%Y-%m-%d %H:%M:%S}  {printable(one.kind):<12} {said}", flush=True)


def _summary(body: Any) -> str:
    """A decision in a line; of anything else, its first few fields."""
    if not isinstance(body, dict):
        return printable(body)
    if {"decision", "principal", "action", "resource"} <= body.keys():
        style = "good" if body["decision"] == "allow" else "warn" if body["decision"] == "would_deny" else "bad"
        word = paint(f"{body['decision']:<10}", style)  # type: ignore[arg-type]  # one of the three above
        who, what = (f"{ref['type']}::{ref['id']}" for ref in (body["principal"], body["resource"]))
        return f"{word} {printable(who)} {printable(body['action'])} {printable(what)}"
    plain = [(name, value) for name, value in body.items() if not isinstance(value, dict | list)]
    return "  ".join(f"{printable(name)}={printable(value)}" for name, value in plain[:4])
