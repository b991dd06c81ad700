"""`everproof contain`: ends a credential or a principal with all that descends from it, everywhere."""

from typing import Annotated, Any

import typer

from everproof.cli.terminal import Json, paint, print_json, printable, progress
from everproof.cli.values import name_of, ref
from everproof.kernel.errors import InputError

app = typer.Typer(help="End all that descends from a credential or a principal, everywhere.")

POLL_SECONDS = 0.2


@app.command()
def contain(
    what: Annotated[
        str, typer.Argument(metavar="CREDENTIAL|PRINCIPAL", help="A credential's id, or a principal as Type::id.")
    ],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Draw what would end, and end nothing.")] = False,
    release: Annotated[
        bool, typer.Option("--release", help="Let a contained principal prove itself again; nothing comes back.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "",
    as_json: Json = False,
) -> None:
    """End all that descends from a credential or a principal, everywhere.

    When this returns, none of it opens anything any more, and each has its receipt in the ledger. A principal is held
    besides: it gets nothing, whatever it proves, until it is released.
    """
    from everproof.cli.client import connect

    if dry_run and release:
        raise InputError("give either --dry-run or --release", place="contain")
    client, target = connect(), _target(what)
    if release:
        answer = client.request("POST", "/v1/contain/release", json=target)
        text = f"{paint('released', 'good')}: {printable(name_of(answer['principal']))} may prove itself again"
        _say(answer, text, as_json=as_json)
        return
    if dry_run:
        answer = client.request("POST", "/v1/contain/plan", json=target)
        _say(answer, _plan(answer), as_json=as_json)
        return
    answer = client.request("POST", "/v1/contain", json={**target, "reason": reason})
    answer["containment"] = _finished(client, answer["containment"], answer["refused"])
    _say(answer, _done(what, answer), as_json=as_json)


def _target(what: str) -> dict[str, Any]:
    if what.startswith("cred_"):
        return {"credential": what}
    if "::" not in what:  # a slip in a credential's id would else be taken for a person's
        raise InputError(f"{what!r} is neither", place="CREDENTIAL|PRINCIPAL", todo="write cred_… or User::alice")
    named = ref(what, type_="User", place="PRINCIPAL")
    return {"principal": {"type": named.type, "id": named.id}}


def _finished(client: Any, record: dict[str, Any], total: int) -> dict[str, Any]:
    """Wait for the last receipt; all of it is refused already."""
    import time

    with progress("receipts") as report:
        while record["finished"] is None:
            report(record["credentials"], max(total, record["credentials"]))
            time.sleep(POLL_SECONDS)
            record = client.request("GET", f"/v1/contain/{record['id']}")
    return record


def _plan(answer: dict[str, Any]) -> str:
    from everproof.cli.tree import draw

    trees = [draw(one, one["ancestors"][-1]["id"]) for one in answer["lineages"]]
    errands = [f"  {printable(one)}" for one in answer["errands"]]
    outside = ["", "and outside:", *errands] if errands else []
    count = answer["credentials"]
    ends = f"{paint('would end', 'warn')}: {count} credential{'' if count == 1 else 's'}; nothing was ended"
    return "\n".join([*trees, *outside, "", ends])


def _done(what: str, answer: dict[str, Any]) -> str:
    record = answer["containment"]
    count, errands = record["credentials"], record["errands"]
    lines = [
        f"{paint('contained', 'good')}: {printable(what)}; {count} credential{'' if count == 1 else 's'} ended",
        *([f"{errands} things outside are being ended: everproof work list"] if errands else []),
        paint(
            f"recorded as {printable(answer['entry'])}, with a receipt for each of {printable(record['id'])}", "faint"
        ),
    ]
    return "\n".join(lines)


def _say(answer: dict[str, Any], text: str, *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        print(text)
