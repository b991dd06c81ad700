"""The command line as its library knows it: each family is imported when it is called, and only named in the list."""

import difflib
import importlib
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from everproof.cli.main import FAMILIES


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
        family = importlib.import_module(f"everproof.cli.{cmd_name.replace('-', '_')}").app
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
