"""`everproof factors`: what somebody shows who they are with, beside the key that they log in by."""

import sys
from datetime import datetime
from typing import Annotated, Any, Literal

import typer

from everproof.cli.terminal import Json, fields, paint, print_json, printable, show, table
from everproof.cli.values import name_of
from everproof.kernel.errors import Error, InputError

app = typer.Typer(help="Your factors: list, add, name, remove; recover what you have lost.", no_args_is_help=True)
add = typer.Typer(help="Add a factor.", no_args_is_help=True)
app.add_typer(add, name="add")

PATH = "/v1/factors"
TRIES = 3

Id = Annotated[str, typer.Argument(metavar="FACTOR", help="A factor's id (fac_…).")]
RecoveryId = Annotated[str, typer.Argument(metavar="RECOVERY", help="A recovery's id (rcv_…).")]
Ticket = Annotated[str, typer.Option("--recovery", help="The ticket of a recovery that is good.", show_default=False)]


@app.command("list")
def list_(
    *,
    user: Annotated[str, typer.Option(help="Whose [default: yours].", show_default=False)] = "",
    as_json: Json = False,
) -> None:
    """List factors, with what became of them."""
    from everproof.cli.client import connect

    found = connect().request("GET", PATH, query={"person": user} if user else {})
    if as_json:
        print_json(found)
        return
    print(table(map(_row, found["factors"]), ("FACTOR", "KIND", "NAME", "ADDED", "USED", "")))
    if not found["factors"]:
        print("none; a passkey is added at a browser, an app with: everproof factors add totp")


@add.command()
def totp(
    *,
    name: Annotated[str, typer.Option(help="What to call the app.")] = "authenticator app",
    recovery: Ticket = "",
) -> None:
    """Add an app for one-time passwords: shows its secret once, and asks for its first code."""
    from everproof.cli.client import connect

    client = connect()
    begun = client.request("POST", f"{PATH}/totp", json=_with_ticket({"name": name}, recovery))
    _draw(begun["uri"])
    print(f"secret: {begun['secret']}")
    for left in reversed(range(TRIES)):
        code = typer.prompt("the app's first code").strip()
        body = _with_ticket({"id": begun["id"], "code": code}, recovery)
        try:
            added = client.request("POST", f"{PATH}/totp/confirm", json=body)
        except Error as error:
            if not left or client.told.get("retry_after_seconds", 0) > 0:
                raise
            print(f"{paint('everproof:', 'bad', sys.stderr)} {printable(error)}", file=sys.stderr)
        else:
            print(f"{paint('added', 'good')}: {printable(added['name'])} ({added['id']})")
            return


@add.command("recovery-codes")
def recovery_codes(*, as_json: Json = False) -> None:
    """Make ten recovery codes, shown once, each good once; those before are worth nothing any more."""
    from everproof.cli.client import connect

    made = connect().request("POST", f"{PATH}/recovery-codes")
    show(made, as_json=as_json, text=lambda one: "\n".join(one["codes"]))
    if not as_json:
        print("keep them where your other factors are not; they are shown only now", file=sys.stderr)


@add.command()
def passkey() -> None:
    """Add a passkey or a security key, at a browser that this session signs in."""
    from everproof.cli.client import connect
    from everproof.cli.open import handover, show_link

    link, _ = handover(connect(), PATH.removeprefix("/v1"))
    show_link(link)


@app.command()
def rename(id_: Id, name: Annotated[str, typer.Argument(help="What to call it.")], *, as_json: Json = False) -> None:
    """Call a factor something else."""
    from everproof.cli.client import connect

    renamed = connect().request("PATCH", f"{PATH}/{_id(id_, 'fac')}", json={"name": name})
    show(renamed, as_json=as_json, text=_told)


@app.command()
def remove(id_: Id, *, as_json: Json = False) -> None:
    """Remove a factor.

    The sessions that it began end with it.
    """
    from everproof.cli.client import connect

    removed = connect().request("DELETE", f"{PATH}/{_id(id_, 'fac')}")
    show(removed, as_json=as_json, text=lambda one: f"{paint('removed', 'good')}: {printable(one['id'])}")


@app.command()
def recover(
    *,
    user: Annotated[str, typer.Option(help="Who has lost their factors [default: you].", show_default=False)] = "",
    reason: Annotated[str, typer.Option(help="What happened, for those who vouch.")] = "",
    as_json: Json = False,
) -> None:
    """Begin a recovery: for whoever has lost their factors.

    Its ticket is shown once. It adds a factor when two people have vouched, or when the waiting time is over; whoever
    the account belongs to hears of it now, and can stop it.
    """
    from everproof.cli.client import connect

    begun = connect().request("POST", f"{PATH}/recoveries", json={"person": user, "reason": reason})
    show(begun, as_json=as_json, text=_told_begun)


@app.command()
def recoveries(
    *,
    everyone: Annotated[bool, typer.Option("--all", help="Everyone's.")] = False,
    as_json: Json = False,
) -> None:
    """List recoveries that are not over."""
    from everproof.cli.client import connect

    found = connect().request("GET", f"{PATH}/recoveries", query={"everyone": "true"} if everyone else {})
    if as_json:
        print_json(found)
        return
    rows = [
        (one["id"], name_of(one["person"]), one["state"], _at(one["good_from"]), len(one["vouched_by"]), one["reason"])
        for one in found["recoveries"]
    ]
    print(table(rows, ("RECOVERY", "WHO", "STATE", "GOOD FROM", "VOUCHED", "REASON")))


@app.command()
def vouch(id_: RecoveryId, *, as_json: Json = False) -> None:
    """Vouch for whoever began a recovery. You have spoken to them, and it is they."""
    _change(id_, "vouch", as_json=as_json)


@app.command()
def stop(id_: RecoveryId, *, as_json: Json = False) -> None:
    """Stop a recovery."""
    _change(id_, "stop", as_json=as_json)


def _change(id_: str, word: str, *, as_json: bool) -> None:
    from everproof.cli.client import connect

    changed = connect().request("POST", f"{PATH}/recoveries/{_id(id_, 'rcv')}/{word}")
    show(changed, as_json=as_json, text=_told)


def _id(text: str, prefix: Literal["fac", "rcv"]) -> str:
    from everproof.kernel.ids import is_id

    if not is_id(text, prefix):
        what = {"fac": "factor", "rcv": "recovery"}[prefix]
        raise InputError(f"{text[:80]!r} is no {what}", todo="everproof factors list, or recoveries, shows the ids")
    return text


def _with_ticket(body: dict[str, Any], ticket: str) -> dict[str, Any]:
    return {**body, "recovery": ticket} if ticket else body


def _draw(address: str) -> None:
    """The QR code, where a person looks on."""
    if not sys.stdout.isatty():
        print(address)
        return
    import segno

    segno.make_qr(address, error="m").terminal(compact=True)


def _row(one: dict[str, Any]) -> tuple[object, ...]:
    said = one["suspended_for"] and f"suspended: {one['suspended_for']}"
    return one["id"], one["kind"], one["name"], _at(one["created"]), _at(one["used"]), said


def _at(text: str | None) -> str:
    return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M") if text else ""


def _told(one: dict[str, Any]) -> str:
    named = {**one}
    for name in ("person", "asked_by"):
        if name in named:
            named[name] = name_of(named[name])
    if "vouched_by" in named:
        named["vouched_by"] = ", ".join(name_of(by) for by in named["vouched_by"])
    return fields((name.replace("_", " "), value) for name, value in named.items())


def _told_begun(begun: dict[str, Any]) -> str:
    recovery = begun["recovery"]
    waits = f"good from {_at(recovery['good_from'])} UTC on, or as soon as enough people vouch:"
    alone = "good as soon as enough people vouch; no channel reaches the owner, so time alone does nothing:"
    return (
        f"{_told(recovery)}\n\nticket: {printable(begun['ticket'])}\n"
        f"{waits if recovery['told'] else alone}\n"
        f"  everproof factors vouch {recovery['id']}\n"
        "then, soon after signing in: everproof factors add totp --recovery TICKET"
    )
