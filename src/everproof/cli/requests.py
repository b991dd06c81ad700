"""`everproof requests`: requests for access, open or not: see them, and take one's own back."""

from typing import Annotated, Any

import typer

from everproof.cli.asked import request_table, request_text
from everproof.cli.terminal import Json, show

app = typer.Typer(help="Requests for access: list, show, take back.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="REQUEST", help="A request's id (req_…).")]

OPEN = ["requested", "approved"]


@app.command("list")
def list_(
    *,
    state: Annotated[
        list[str],
        typer.Option(
            help="requested, approved, granted, expired, revoked, refused, cancelled or lapsed; else open ones."
        ),
    ] = [],  # noqa: B006 - Typer's own form
    everything: Annotated[bool, typer.Option("--all", help="At every stage.")] = False,
    by: Annotated[str, typer.Option(metavar="PERSON", help="Of one person.")] = "",
    action: Annotated[str, typer.Option(help="Of one action.")] = "",
    as_json: Json = False,
) -> None:
    """List the requests that you may see. Your own, and those that you may approve."""
    from everproof.cli.client import connect

    query: dict[str, Any] = {"limit": 200}
    if not everything:
        query["state"] = state or OPEN
    if by:
        query["requester"] = by
    if action:
        query["action"] = action
    page = connect().request("GET", "/v1/access/requests", query=query)
    show(page["requests"], as_json=as_json, text=lambda found: _listed(found, page["mine"]))


@app.command("show")
def show_(id_: Id, *, as_json: Json = False) -> None:
    """Show a request: who asked, who answered, and what came of it."""
    from everproof.cli.client import connect

    show(connect().request("GET", f"/v1/access/requests/{id_}"), as_json=as_json, text=request_text)


@app.command()
def cancel(id_: Id, *, as_json: Json = False) -> None:
    """Take your own request back."""
    from everproof.cli.client import connect

    show(connect().request("POST", f"/v1/access/requests/{id_}/cancel"), as_json=as_json, text=request_text)


def _listed(found: list[dict[str, Any]], mine: list[str]) -> str:
    text = request_table(found)
    return f"{text}\n\nyours to answer: everproof approve {mine[0]}" if mine else text
