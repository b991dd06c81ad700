"""`everproof doctor`: looks for what is wrong, and says how to mend it."""

from typing import Final

import typer

from everproof.cli.main import EXIT_FAILED
from everproof.cli.state import State
from everproof.cli.terminal import Json, Style, paint, print_json, printable

app = typer.Typer(help="Look for what is wrong, and say how to mend it.")

_STYLES: Final[dict[str, Style]] = {"ok": "good", "problem": "bad", "skipped": "faint"}


@app.command()
def doctor(*, state: State = None, as_json: Json = False) -> None:
    """Look for what is wrong, and say how to mend it.

    Looks at the state folder, the keys, the database, the ledger, the clock, the certificate, the server, git and
    OpenSSH, the bundle's repository, and this machine's session. Exits with 1 if there is a problem.
    """
    from everproof.cli.checkup import checkup
    from everproof.kernel.settings import load_settings

    found = []
    for one in checkup(load_settings(state)):
        found.append(one)
        if as_json:
            continue
        word = paint(f"{one.state:<8}", _STYLES[one.state])
        print(f"{word}  {one.name:<12}  {printable(one.what)}", flush=True)
        if one.todo:
            print(f"{'':<24}→ {printable(one.todo)}")
    problems = sum(one.state == "problem" for one in found)
    if as_json:
        checks = [{"name": one.name, "state": one.state, "what": one.what, "todo": one.todo} for one in found]
        print_json({"healthy": not problems, "checks": checks})
    else:
        print(f"\n{problems} problem{'s' if problems > 1 else ''} found" if problems else "\nall is well")
    if problems:
        raise typer.Exit(EXIT_FAILED)
