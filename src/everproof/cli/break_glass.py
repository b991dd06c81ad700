"""`everproof break-glass`: two sealed halves, of two people, that open something in an emergency; and its review."""

import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from everproof.cli.asked import when
from everproof.cli.terminal import Json, fields, lasting, paint, printable, show, table
from everproof.cli.values import name_of, ref, span

app = typer.Typer(help="Open what two people together may in an emergency.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="KIT", help="A kit's id (kit_…).")]


@app.command()
def prepare(
    people: Annotated[list[str], typer.Argument(metavar="PERSON PERSON", help="Who gets a half each.")],
    *,
    actions: Annotated[list[str], typer.Option("--action", metavar="ACTION", help="What it opens.")],
    on: Annotated[
        str, typer.Option(metavar="RESOURCE", help="On what; a space: on all that is in it.")
    ] = "Space::main",
    lasting_: Annotated[str, typer.Option("--for", metavar="SPAN", help="How long: an hour at most.")] = "1h",
    as_json: Json = False,
) -> None:
    """Prepare a kit: two people get a half each.

    Each fetches their own with `everproof break-glass fetch`, and keeps it sealed. Nobody else ever sees it.
    """
    from everproof.cli.client import connect

    named = ref(on, type_="Space", place="--on")
    body = {
        "people": people,
        "actions": actions,
        "resource": {"type": named.type, "id": named.id},
        "seconds": int(span(lasting_, place="--for").total_seconds()),
    }
    show(connect().request("POST", "/v1/access/break-glass", json=body), as_json=as_json, text=_kit)


@app.command()
def fetch(id_: Id, *, as_json: Json = False) -> None:
    """Fetch your own half. It is shown once."""
    from everproof.cli.client import connect

    show(connect().request("POST", f"/v1/access/break-glass/{id_}/fetch"), as_json=as_json, text=_half)


@app.command("open")
def open_(
    *,
    reason: Annotated[str, typer.Option(help="What it is for: those who review it read it.")],
    server: Annotated[
        str | None, typer.Option(help="The server's address [default: that of your last session].", show_default=False)
    ] = None,
    ca: Annotated[
        Path | None, typer.Option(help="The server's certificate authority, PEM.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Open what a kit is for, with both halves.

    The session is of whoever's half is typed first. Every administrator is told, and somebody else reviews it. On a
    terminal the halves are asked for and not shown; else they are read from the standard input, a line each.
    """
    from everproof.cli import session as sessions
    from everproof.cli.client import Client

    held = _contact(server, ca)
    halves = [_typed("first half: "), _typed("second half: ")]
    body = {"halves": halves, "reason": reason}
    answer = Client(held).request("POST", "/v1/access/break-glass/open", json=body, proven=False)
    held.token, held.expires = answer.pop("access_token"), time.time() + answer["expires_in"]
    held.principal = f'{answer["principal"]["type"]}::"{answer["principal"]["id"]}"'
    sessions.save(held)
    show(answer, as_json=as_json, text=_opened)


@app.command()
def review(
    id_: Id,
    *,
    report: Annotated[str, typer.Option(help="What it was used for, and what was found.")],
    as_json: Json = False,
) -> None:
    """Review a use that you had no part in."""
    from everproof.cli.client import connect

    answer = connect().request("POST", f"/v1/access/break-glass/{id_}/review", json={"report": report})
    show(answer, as_json=as_json, text=_kit)


@app.command()
def withdraw(id_: Id, *, as_json: Json = False) -> None:
    """Let a kit that was not used be of no use any more."""
    from everproof.cli.client import connect

    show(connect().request("POST", f"/v1/access/break-glass/{id_}/withdraw"), as_json=as_json, text=_kit)


@app.command("list")
def list_(*, as_json: Json = False) -> None:
    """List kits, and what is left to be done about them."""
    from everproof.cli.client import connect

    show(connect().request("GET", "/v1/access/break-glass"), as_json=as_json, text=_listed)


def _contact(server: str | None, ca: Path | None) -> Any:
    """A session of nobody yet, with the server of the last one or with another."""
    from everproof.cli import session as sessions
    from everproof.cli.contact import trusted_ca

    if server is None:
        last = sessions.load()
        return sessions.Session(server=last.server, ca=last.ca, key=sessions.new_key())
    address = server.rstrip("/")
    return sessions.Session(server=address, ca=trusted_ca(address, file=ca), key=sessions.new_key())


def _typed(prompt: str) -> str:
    if sys.stdin.isatty():
        import getpass

        return getpass.getpass(prompt)
    return sys.stdin.readline().strip()


def _kit(kit: dict[str, Any]) -> str:
    rows: list[tuple[str, object]] = [
        ("kit", kit["id"]),
        ("state", kit["state"]),
        ("people", ", ".join(map(name_of, kit["people"]))),
        ("opens", f"{', '.join(kit['actions'])} on {name_of(kit['resource'])}"),
        ("for", lasting(timedelta(seconds=kit["seconds"]))),
        ("fetched by", ", ".join(map(name_of, kit["fetched"]))),
    ]
    if kit["used"]:
        rows += [("used", f"{when(kit['used'])} by {name_of(kit['opener'])}"), ("reason", kit["reason"])]
    if kit["reviewed"]:
        rows += [("reviewed", f"{when(kit['reviewed'])} by {name_of(kit['reviewer'])}"), ("report", kit["report"])]
    return fields(rows)


def _half(answer: dict[str, Any]) -> str:
    shown = paint(printable(answer["half"]), "strong")
    return f"{shown}\n\nThis is your half, shown once. Write it down, seal it, and keep it where no computer reads it."


def _opened(answer: dict[str, Any]) -> str:
    kit = answer["kit"]
    left = lasting(timedelta(seconds=answer["expires_in"]))
    head = f"{paint('open', 'bad')} as {name_of(answer['principal'])} for {left}"
    return f"{head}\n{_kit(kit)}\n\nEvery administrator is told. Recorded as {printable(answer['entry'])}."


def _listed(page: dict[str, Any]) -> str:
    rows = [
        (one["id"], one["state"], ", ".join(by["id"] for by in one["people"]), ", ".join(one["actions"]))
        for one in page["kits"]
    ]
    left = [f"{paint('to do:', 'warn')} {printable(one)}" for one in page["left"]]
    return "\n".join([table(rows, ("kit", "state", "people", "opens")), *left])
