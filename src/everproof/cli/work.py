"""`everproof work`: what must still be done, what is stuck, and what waits for approval."""

from typing import Annotated, Any

import typer

from everproof.cli.terminal import Json, fields, show, table
from everproof.cli.values import name_of
from everproof.kernel.errors import InputError

app = typer.Typer(help="Jobs and effects: see, retry, cancel, approve, undo.", no_args_is_help=True)

PAGE = 1_000

Id = Annotated[str, typer.Argument(metavar="ID", help="A job's id (job_…) or an effect's (eff_…).")]
EffectId = Annotated[str, typer.Argument(metavar="EFFECT", help="An effect's id (eff_…).")]


@app.command("list")
def list_(
    *,
    state: Annotated[
        list[str], typer.Option(help="waiting, running, stuck, done, cancelled; else all that has not ended well.")
    ] = [],  # noqa: B006 - Typer's own form
    verb: Annotated[str | None, typer.Option(help="Of one verb.", show_default=False)] = None,
    effects: Annotated[bool, typer.Option("--effects", help="Effects, at all stages.")] = False,
    as_json: Json = False,
) -> None:
    """List jobs, or effects."""
    if effects:
        found = _pages("effects", {})
        rows = [(one["id"], one["stage"], one["verb"], one["does"], _waits(one)) for one in found]
        show(found, as_json=as_json, text=lambda _: table(rows, ("effect", "stage", "verb", "does", "")))
        return
    query: dict[str, Any] = {"state": state or ["waiting", "running", "stuck"]}
    found = _pages("jobs", {**query, "verb": verb} if verb else query)
    jobs = [(one["id"], one["state"], one["verb"], one["due"], one["attempt"], one["error"]) for one in found]
    show(found, as_json=as_json, text=lambda _: table(jobs, ("job", "state", "verb", "due", "attempt", "error")))


@app.command("show")
def show_(id_: Id, *, as_json: Json = False) -> None:
    """Show a job or an effect."""
    from everproof.cli.client import connect

    show(connect().request("GET", _path(id_)), as_json=as_json, text=_told)


@app.command()
def retry(id_: Id, *, as_json: Json = False) -> None:
    """Try a stuck job, or a failed effect, again now."""
    _change(id_, "retry", as_json=as_json)


@app.command()
def cancel(id_: Id, *, as_json: Json = False) -> None:
    """Let a job or a proposed effect not be done.

    What has begun stays as it is.
    """
    _change(id_, "cancel", as_json=as_json)


@app.command()
def approve(id_: EffectId, *, as_json: Json = False) -> None:
    """Approve an effect.

    With the last approval that it needs, it is applied.
    """
    _change(_effect(id_), "approve", as_json=as_json)


@app.command()
def undo(id_: EffectId, *, as_json: Json = False) -> None:
    """Undo an effect, as was said when it was proposed."""
    _change(_effect(id_), "undo", as_json=as_json)


def _path(id_: str) -> str:
    kinds = {"job": "jobs", "eff": "effects"}
    prefix, _, rest = id_.partition("_")
    if prefix not in kinds or not rest.isalnum():
        raise InputError(f"{id_!r} is neither a job nor an effect", place="ID", todo="everproof work list shows them")
    return f"/v1/work/{kinds[prefix]}/{id_}"


def _effect(id_: str) -> str:
    if not id_.startswith("eff_"):
        raise InputError(f"{id_!r} is no effect", place="EFFECT", todo="everproof work list --effects shows them")
    return id_


def _change(id_: str, word: str, *, as_json: bool) -> None:
    from everproof.cli.client import connect

    show(connect().request("POST", f"{_path(id_)}/{word}"), as_json=as_json, text=_told)


def _pages(what: str, query: dict[str, Any]) -> list[dict[str, Any]]:
    from everproof.cli.client import connect

    client, found, after = connect(), [], ""
    while True:
        asked = {**query, "after": after, "limit": PAGE}
        page: list[dict[str, Any]] = client.request("GET", f"/v1/work/{what}", query=asked)[what]
        found += page
        if len(page) < PAGE:
            return found
        after = page[-1]["id"]


def _waits(effect: dict[str, Any]) -> str:
    if effect["stage"] != "proposed":
        return str(effect["error"])
    return f"{len(effect['approved_by'])} of {effect['needs']} approvals"


def _told(one: dict[str, Any]) -> str:
    named = {**one}
    for name in ("subject", "by"):
        if name in named:
            named[name] = name_of(named[name])
    if "approved_by" in named:
        named["approved_by"] = ", ".join(name_of(by) for by in named["approved_by"])
    return fields((name.replace("_", " "), value) for name, value in named.items())
