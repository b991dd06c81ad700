"""`everproof grants`: what was granted for a while, and taking it back."""

from typing import Annotated, Any

import typer

from everproof.cli.asked import grant_rows, grant_table
from everproof.cli.terminal import Json, fields, paint, printable, show

app = typer.Typer(help="Grants: list, take back.", no_args_is_help=True)


@app.command("list")
def list_(
    *,
    of: Annotated[str, typer.Option(metavar="PERSON", help="Of one person.")] = "",
    over: Annotated[bool, typer.Option("--over", help="Those that have ended too.")] = False,
    as_json: Json = False,
) -> None:
    """List the grants that you may see. And what is left to be done about break-glass."""
    from everproof.cli.client import connect

    page = connect().request("GET", "/v1/access/grants", query={"principal": of, "over": "true" if over else "false"})
    show(page, as_json=as_json, text=_told)


@app.command()
def revoke(
    id_: Annotated[str, typer.Argument(metavar="GRANT", help="A grant's id (cred_…).")],
    *,
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "",
    as_json: Json = False,
) -> None:
    """Take a grant back: from now on it opens nothing."""
    from everproof.cli.client import connect

    answer = connect().request("DELETE", f"/v1/access/grants/{id_}", query={"reason": reason})
    show(answer, as_json=as_json, text=lambda one: fields([("taken back", one["id"]), *grant_rows(one)[1:]]))


def _told(page: dict[str, Any]) -> str:
    open_ = [f"{paint('to do:', 'warn')} {printable(one)}" for one in page["open"]]
    return "\n".join([grant_table(page["grants"]), *([""] if open_ else []), *open_])
