"""`everproof`: finds the family of a command and imports only that, so that help and hooks start at once."""

import difflib
import importlib
import sys
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

FAMILIES: Final = {
    "up": "Start the server; the first time, set everything up.",
    "init": "Write an observing .everproof/ for this repository.",
    "doctor": "Look for what is wrong, and say how to mend it.",
    "login": "Prove who you are with the SSH key you sign commits with.",
    "ask": "Ask whether something would be allowed, and why not.",
    "policy": "Check, test, explain, compare and apply policies.",
    "git": "Stand before git repositories: hook, SSH command, set-up.",
    "identity": "People, keys, services, machines, lineage.",
    "revoke": "End a credential or key, and all that descends from it.",
    "contain": "End all that descends from a credential or a principal, everywhere.",
    "work": "Jobs and effects: see, retry, cancel, approve, undo.",
    "ledger": "Verify, prove, follow and export the record of everything.",
}
"""Every command family with its line of help: `everproof --help` imports none of them."""

EXIT_FAILED: Final = 1
"""The answer is no: denied, a test failed, a verification found something."""

EXIT_USAGE: Final = 2
"""There is no answer: called wrongly, given what cannot be read, or nobody there to give one."""

NO: Final = frozenset(
    {"refused", "unauthenticated", "proof-refused", "signature-refused", "ledger-changed", "rollback"}
)
"""The codes of the errors that are an answer, and the answer is no."""


class _Families(TyperGroup):
    """A group whose commands are imported when they are called, and only named when they are listed."""

    _listing = False

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - Typer's signature
        return list(FAMILIES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in FAMILIES:
            close = difflib.get_close_matches(cmd_name, FAMILIES, 1)
            hint = f"Did you mean `everproof {close[0]}`?" if close else "`everproof --help` lists the commands."
            ctx.fail(f"There is no command {cmd_name!r}. {hint}")
        if self._listing:
            return TyperCommand(cmd_name, help=FAMILIES[cmd_name])
        family = importlib.import_module(f"everproof.cli.{cmd_name}").app
        family.rich_markup_mode = None  # help is drawn without rich, which takes longer to load than all the rest
        family._add_completion = False  # noqa: SLF001 - what Typer(add_completion=False) sets, here for all families
        command = typer.main.get_command(family)
        command.name = cmd_name
        return command

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self._listing = True
        super().format_help(ctx, formatter)


app = typer.Typer(
    cls=_Families,
    name="everproof",
    help="A zero trust control plane for software delivery.",
    epilog="Exit codes: 0 yes; 1 the answer is no; 2 no answer, as the call or its input is wrong or nobody is there.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _root(*, version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    if version:
        from everproof import __version__

        print(f"everproof {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line; an error of ours is one sentence, its place, and what to do."""
    from everproof.kernel.errors import Error

    try:
        app(prog_name="everproof")
    except Error as error:
        _complain(error)
        raise SystemExit(EXIT_FAILED if error.code in NO else EXIT_USAGE) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _complain(error: Any) -> None:
    from everproof.cli.terminal import paint, printable

    for one in (error, *getattr(error, "further", ())):
        print(f"{paint('everproof:', 'bad', sys.stderr)} {printable(one)}", file=sys.stderr)
        if one.todo:
            print(f"  → {printable(one.todo)}", file=sys.stderr)


if __name__ == "__main__":
    main()
