"""`everproof incident`: says that something is wrong, and that it is over."""

from typing import Annotated, Any

import typer

from everproof.cli.asked import when
from everproof.cli.terminal import Json, show, table

app = typer.Typer(help="Incidents: open, close, list.", no_args_is_help=True)


@app.command("open")
def open_(
    name: Annotated[str, typer.Argument(metavar="TEXT", help="What is wrong, in a few words.")],
    *,
    as_json: Json = False,
) -> None:
    """Open an incident.

    Until it is closed, whoever is on call may get more at once, where policy says so; not whoever opened it.
    """
    from everproof.cli.client import connect

    show(connect().request("POST", "/v1/access/incidents", json={"name": name}), as_json=as_json, text=_one)


@app.command()
def close(
    id_: Annotated[str, typer.Argument(metavar="INCIDENT", help="An incident's id (inc_…).")], *, as_json: Json = False
) -> None:
    """Close an incident."""
    from everproof.cli.client import connect

    show(connect().request("POST", f"/v1/access/incidents/{id_}/close"), as_json=as_json, text=_one)


@app.command("list")
def list_(*, as_json: Json = False) -> None:
    """List incidents, the newest first."""
    from everproof.cli.client import connect

    found = connect().request("GET", "/v1/access/incidents")["incidents"]
    show(found, as_json=as_json, text=lambda _: table([_row(one) for one in found], _HEADERS))


_HEADERS = ("incident", "", "opened", "by", "closed")


def _one(one: dict[str, Any]) -> str:
    return table([_row(one)], _HEADERS)


def _row(one: dict[str, Any]) -> tuple[object, ...]:
    closed = f"{when(one['closed'])}, {one['closed_by']['id']}" if one["closed"] else ""
    return one["id"], one["name"], when(one["opened"]), one["by"]["id"], closed
