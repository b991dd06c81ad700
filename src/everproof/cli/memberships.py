"""`everproof memberships`: who is in organisations at GitHub and GitLab, and who should be."""

from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from everproof.cli.terminal import Json, paint, print_json, printable

app = typer.Typer(help="Members of organisations at GitHub and GitLab: plan, apply, drift.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="ORGANISATION", help="As server.toml and memberships.toml call it.")]
POLL_SECONDS: Final = 0.3
LONGEST_SECONDS: Final = 60.0


@app.command()
def plan(organisation: Name, *, as_json: Json = False) -> None:
    """Show what would be changed, and change nothing. The members are to be as memberships.toml says."""
    from everproof.cli.client import connect

    report = connect().request("POST", f"{_path(organisation)}/plan")
    if as_json:
        print_json(report)
    else:
        print(_drawn(report))


@app.command()
def apply(
    organisation: Name,
    *,
    plan: Annotated[
        str, typer.Option(help="The digest of the plan, as `plan --json` says it; without it you are asked.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Apply the plan, as an effect. It is verified, and `everproof work undo` undoes it."""
    from everproof.cli.client import connect

    client = connect()
    if not plan:
        report = client.request("POST", f"{_path(organisation)}/plan")
        print(_drawn(report))
        if not _to_make(report):
            return
        typer.confirm("Apply it?", abort=True)
        plan = report["digest"]
    effect = _settled(client, client.request("POST", f"{_path(organisation)}/apply", json={"digest": plan}))
    if as_json:
        print_json(effect)
    else:
        print(_told(effect))
    if effect["stage"] == "failed":
        raise typer.Exit(1)


@app.command()
def drift(
    organisation: Name,
    *,
    now: Annotated[
        bool, typer.Option("--now", help="Look now; else what the last look found, an hour ago at most.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what is not as it should be. Exit code 1 where something is not."""
    from everproof.cli.client import connect

    client = connect()
    if now:
        report = client.request("POST", f"{_path(organisation)}/look")
    else:
        report = client.request("GET", _path(organisation))["report"]
    if as_json:
        print_json(report)
    elif report is None:
        print("It was not looked at yet: everproof memberships drift --now")
    else:
        print(_drawn(report))
    if report is None or report["changes"] or report["unknown"]:
        raise typer.Exit(1)


def _path(organisation: str) -> str:
    return f"/v1/memberships/{quote(organisation, safe='')}"


def _settled(client: Any, effect: dict[str, Any]) -> dict[str, Any]:
    """The effect once it is verified, or waits for people, or has failed."""
    import time

    until = time.monotonic() + LONGEST_SECONDS
    while effect["stage"] in {"approved", "applied"} and time.monotonic() < until:
        time.sleep(POLL_SECONDS)
        effect = client.request("GET", f"/v1/work/effects/{effect['id']}")
    return effect


def _to_make(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in report["changes"] if not one.get("withheld")]


def _drawn(report: dict[str, Any]) -> str:
    head = f"{report['organisation']} ({report['platform']} {report['id']}), looked at {report['looked']}"
    lines = [paint(printable(head), "faint")]
    lines += [_change(one) for one in report["changes"]]
    lines += [
        f"  {paint('?', 'warn')} {printable(one)} is invited, and nobody's account here" for one in report["unknown"]
    ]
    count, withheld = len(_to_make(report)), len(report["changes"]) - len(_to_make(report))
    if not report["changes"]:
        lines.append(paint("as it should be", "good"))
    else:
        more = f", {withheld} withheld" if withheld else ""
        lines.append(f"{count} change{'' if count == 1 else 's'}{more}")
    return "\n".join(lines)


def _change(one: dict[str, Any]) -> str:
    place = one["place"]
    where = f"{place['kind']} {place['name'] or place['id']}"
    who = f"{one.get('person') or 'a stranger'} ({one.get('login') or 'account'} {one['account']})"
    if not one["after"]:
        mark, what = paint("-", "bad"), f"{who} loses {one['before']}"
    elif not one["before"]:
        mark, what = paint("+", "good"), f"{who} becomes {one['after']}"
    else:
        mark, what = paint("~", "warn"), f"{who}: {one['before']} → {one['after']}"
    why = f"\n      {paint('withheld', 'warn')}: {one['withheld']}" if one.get("withheld") else ""
    return f"  {mark} {printable(where)}: {printable(what)}{why}"


def _told(effect: dict[str, Any]) -> str:
    stage, id_ = effect["stage"], effect["id"]
    if stage == "proposed":
        waits = f"{len(effect['approved_by'])} of {effect['needs']} approvals"
        return f"{paint('waits', 'warn')} for {waits}: everproof work approve {id_}"
    if stage == "failed":
        return f"{paint('failed', 'bad')}: {printable(effect['error'])}\n  → everproof work retry {id_}"
    word = paint("done", "good") if stage == "verified" else paint(stage, "warn")
    return f"{word}: {printable(effect['does'])}\n  undo it: everproof work undo {id_}"
