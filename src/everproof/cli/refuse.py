"""`everproof refuse`: says no to a request for access."""

from typing import Annotated

import typer

from everproof.cli.asked import request_text
from everproof.cli.terminal import Json, show

app = typer.Typer(help="Refuse a request for access.")


@app.command()
def refuse(
    id_: Annotated[str, typer.Argument(metavar="REQUEST", help="A request's id (req_…).")],
    *,
    reason: Annotated[str, typer.Option(help="Why; whoever asked is told.")],
    as_json: Json = False,
) -> None:
    """Refuse a request for access, for good."""
    from everproof.cli.client import connect

    answer = connect().request("POST", f"/v1/access/requests/{id_}/refuse", json={"reason": reason})
    show(answer, as_json=as_json, text=request_text)
