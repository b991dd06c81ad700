"""`everproof approve`: says yes to a request for access."""

import sys
from typing import Annotated

import typer

from everproof.cli.asked import request_text
from everproof.cli.terminal import Json, show
from everproof.kernel.errors import RefusedError

app = typer.Typer(help="Approve a request for access.")


@app.command()
def approve(
    id_: Annotated[str, typer.Argument(metavar="REQUEST", help="A request's id (req_…).")],
    *,
    message: Annotated[str, typer.Option(help="What to say with it.")] = "",
    digest: Annotated[str, typer.Option(help="Of the request as you have seen it, where that was elsewhere.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before.")] = False,
    as_json: Json = False,
) -> None:
    """Approve a request for access.

    Shows it, asks, and approves exactly what it showed. It takes a factor that you have shown within five minutes.
    """
    from everproof.cli.client import connect

    client = connect()
    if not digest:
        seen = client.request("GET", f"/v1/access/requests/{id_}")
        digest = seen["digest"]
        if not (yes or as_json) and sys.stdin.isatty():
            print(request_text(seen))
            if not typer.confirm("Approve it?"):
                raise RefusedError("not approved", todo=f"to say no for good: everproof refuse {id_} --reason …")
    answer = client.request("POST", f"/v1/access/requests/{id_}/approve", json={"digest": digest, "message": message})
    show(answer, as_json=as_json, text=request_text)
