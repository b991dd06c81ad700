"""`everproof sessions`: where somebody is signed in, and signing out."""

from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from everproof.cli.terminal import Json, lasting, paint, print_json, printable, table
from everproof.kernel.errors import NotFoundError

app = typer.Typer(help="See where you are signed in, and sign out.", no_args_is_help=True)

CURRENT = "current"


@app.command(name="list")
def list_(
    *,
    user: Annotated[str, typer.Option(help="Whose [default: yours].", show_default=False)] = "",
    everyone: Annotated[bool, typer.Option("--all", help="Everyone's.")] = False,
    as_json: Json = False,
) -> None:
    """List sessions that have not ended, the newest first."""
    from everproof.cli.client import connect

    query: dict[str, str] = {"user": user} if user else {"all": "true"} if everyone else {}
    answer = connect().request("GET", "/v1/sessions", query=query)
    if as_json:
        print_json(answer)
        return
    found = answer["sessions"]
    print(table(map(_row, found), ("SESSION", "WHO", "WHERE", "BY", "FACTORS", "SEEN", "ENDS IN", "FROM", "")))
    if not found:
        print("none")


@app.command()
def end(
    id_: Annotated[str, typer.Argument(metavar="SESSION", help=f"A session's id, or {CURRENT}: sign out here.")],
    *,
    as_json: Json = False,
) -> None:
    """End a session, with all that came of it.

    When this returns, no token that was made in it opens anything any more.
    """
    from everproof.cli.client import connect

    client = connect()
    if id_ == CURRENT:
        mine = [one["id"] for one in client.request("GET", "/v1/sessions")["sessions"] if one["current"]]
        if not mine:
            raise NotFoundError("you are in no session here", todo="nothing is to be ended")
        id_ = mine[0]
    answer = client.request("DELETE", f"/v1/sessions/{id_}")
    if as_json:
        print_json(answer)
        return
    count = len(answer["ended"])
    print(f"{paint('ended', 'good')}: {printable(id_)}; {count} credential{'' if count == 1 else 's'} with it")
    print(paint(f"recorded as {printable(answer['entry'])}", "faint"))


def _row(one: dict[str, Any]) -> tuple[object, ...]:
    now = datetime.now().astimezone()
    left = min(datetime.fromisoformat(one["idle_until"]), datetime.fromisoformat(one["expires"])) - now
    seen = max(timedelta(), now - datetime.fromisoformat(one["seen"]))
    where = one["kind"] if one["key_bound"] else f"{one['kind']}, no key"
    factors = ", ".join(sorted(one["factors"]))
    return (
        one["id"], one["principal"]["id"], where, one["provider"], factors, f"{lasting(seen)} ago",
        lasting(max(timedelta(), left)), one["address"], "this one" if one["current"] else "",
    )  # fmt: skip
