"""`everproof request`: asks for access for a while."""

from typing import Annotated

import typer

from everproof.cli.terminal import Json, show
from everproof.cli.values import pairs, ref, resource, span

app = typer.Typer(help="Ask for access for a while.")


@app.command()
def request(
    action: Annotated[str, typer.Argument(metavar="ACTION", help="Such as deployment:start.")],
    what: Annotated[str, typer.Argument(metavar="RESOURCE", help="Such as Environment::production.")],
    *,
    lasting: Annotated[str, typer.Option("--for", metavar="SPAN", help="How long: 30min, 1h, 4h.")] = "1h",
    reason: Annotated[str, typer.Option(help="What it is for: whoever approves reads it.")] = "",
    parents: Annotated[
        list[str], typer.Option("--in", metavar="RESOURCE", help="What the resource is in, where policy looks at that.")
    ] = [],  # noqa: B006 - Typer's own form
    attributes: Annotated[
        list[str], typer.Option("--with", metavar="NAME=VALUE", help="Its attributes, where policy looks at them.")
    ] = [],  # noqa: B006 - Typer's own form
    as_json: Json = False,
) -> None:
    """Ask for access for a while.

    People who may approve it are told. It ends by itself; for longer, ask again.
    """
    from everproof.cli.asked import request_text
    from everproof.cli.client import connect

    named = resource(what, action)
    above = [ref(text, type_="Repository", place="--in") for text in parents]
    body = {
        "action": action,
        "resource": {"type": named.type, "id": named.id},
        "seconds": int(span(lasting, place="--for").total_seconds()),
        "reason": reason,
        "attributes": pairs(attributes, option="--with"),
        "parents": [{"type": one.type, "id": one.id} for one in above],
    }
    show(connect().request("POST", "/v1/access/requests", json=body), as_json=as_json, text=request_text)
