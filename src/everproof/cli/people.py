"""`everproof people`: joiners, movers and leavers; each command can say what it would do first."""

from pathlib import Path
from typing import Annotated, Any

import typer

from everproof.cli.terminal import Json, paint, printable, show
from everproof.kernel.errors import InputError

app = typer.Typer(help="Joiners, movers, leavers, and what people.toml would change.", no_args_is_help=True)

Who = Annotated[str, typer.Argument(metavar="PERSON", help="The person's id, such as alice.")]
Groups = Annotated[list[str], typer.Option("--group", help="A group to be in.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and do nothing.")]

FILE = Path(".everproof/people.toml")


@app.command()
def plan(
    file: Annotated[
        Path | None, typer.Argument(help="A people.toml [default: that of this repository].", show_default=False)
    ] = None,
    *,
    commit: Annotated[
        str, typer.Option(help="A commit of the bundle's repository, as the server sees it, instead of a file.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Say whom a people.toml would let join, move and leave. And whose keys it would change, if it came to rule."""
    from everproof.cli.client import connect

    if commit and file is not None:
        raise InputError("give either a file or --commit", place="FILE")
    body = {"commit": commit} if commit else {"text": _read(file or FILE)}
    show(connect().request("POST", "/v1/people/plan", json=body), as_json=as_json, text=file_plan_text)


@app.command()
def join(
    who: Who,
    *,
    name: Annotated[str, typer.Option(help="What the person is called.")] = "",
    email: Annotated[list[str], typer.Option("--email", help="An address that the person commits as.")] = [],  # noqa: B006 - Typer's own form
    group: Groups = [],  # noqa: B006 - Typer's own form
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Put a person on record, in groups. They get what these have elsewhere."""
    if dry_run:
        _look(who, {"kind": "join", "groups": group}, as_json=as_json)
        return
    _do("/v1/people", {"id": who, "name": name, "emails": email, "groups": group}, "joined", as_json=as_json)


@app.command()
def move(
    who: Who,
    *,
    group: Groups = [],  # noqa: B006 - Typer's own form
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Let a person be in these groups, and no others. They have what these have elsewhere."""
    if dry_run:
        _look(who, {"kind": "move", "groups": group}, as_json=as_json)
        return
    _do(_path(who, "move"), {"groups": group}, "moved", as_json=as_json)


@app.command()
def leave(
    who: Who,
    *,
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "",
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Let a person be nobody, at once. What they have elsewhere ends too.

    When this returns, no session, token or grant of theirs opens anything. What is elsewhere ends right after, tried
    again until it does; where it is more than the bound, somebody else has to approve that part.
    """
    if dry_run:
        _look(who, {"kind": "leave"}, as_json=as_json)
        return
    _do(_path(who, "leave"), {"reason": reason}, "left", as_json=as_json)


@app.command("hand-over")
def hand_over(
    who: Who,
    *,
    to: Annotated[str, typer.Option(help="The provisioner, such as okta.")],
    user_name: Annotated[str, typer.Option(help="What the person signs in as there [default: the id].")] = "",
    external_id: Annotated[str, typer.Option(help="What it calls the person by an id of its own.")] = "",
    as_json: Json = False,
) -> None:
    """Let a directory keep a person who was enrolled here. From now on it says who they are.

    The person's id, keys and groups stay. Take them out of people.toml, if they stand there.
    """
    from everproof.cli.client import connect

    body = {"to": to, "user_name": user_name, "external_id": external_id}
    answer = connect().request("POST", _path(who, "hand-over"), json=body)
    text = f"{paint('handed over', 'good')}: {printable(who)} is kept by {printable(to)}, as {printable(answer['id'])}"
    show(answer, as_json=as_json, text=lambda _: text)


def file_plan_text(plan_: dict[str, Any]) -> str:
    """What a people.toml would change, to read."""
    lines: list[str] = []
    for one in plan_["joins"]:
        word = "comes back" if one["back"] else "joins"
        lines.append(f"{paint('+', 'good')} {_id(one)} {word}{_in(one['groups'])}{_keys(one['keys'], 'key')}")
    for one in plan_["moves"]:
        parts = [
            *(f"joins {group}" for group in one.get("joins", ())),
            *(f"leaves {group}" for group in one.get("parts", ())),
            *(f"other {what}" for what in one.get("changed", ())),
            *(f"key {key} added" for key in one.get("keys_added", ())),
            *(f"key {key} ends" for key in one.get("keys_ended", ())),
        ]
        lines.append(f"{paint('~', 'warn')} {_id(one)}: {printable(', '.join(parts))}")
    for one in plan_["leaves"]:
        ends = "; every session, token and grant ends"
        lines.append(f"{paint('-', 'bad')} {_id(one)} leaves{ends}{_keys(one['keys'], 'key')}")
    for one in plan_["groups"]:
        word = "is made" if one["new"] else "changes"
        parts = [*(f"into {group}" for group in one["joins"]), *(f"out of {group}" for group in one["parts"])]
        lines.append(f"  group {printable(one['group'])} {word}{': ' if parts else ''}{printable(', '.join(parts))}")
    lines += [f"{paint('conflict', 'bad')}: {printable(one)}" for one in plan_["conflicts"]]
    return "\n".join(lines) or "nothing would change"


def _look(who: str, wish: dict[str, Any], *, as_json: bool) -> None:
    from everproof.cli.client import connect

    show(connect().request("POST", _path(who, "plan"), json=wish), as_json=as_json, text=_outlook)


def _do(path: str, body: dict[str, Any], word: str, *, as_json: bool) -> None:
    from everproof.cli.client import connect

    show(connect().request("POST", path, json=body), as_json=as_json, text=lambda answer: _done(answer, word))


def _outlook(answer: dict[str, Any]) -> str:
    movement = answer["movement"]
    who = printable(movement["person"]["id"])
    lines = []
    if movement["kind"] == "leave":
        lines.append(f"{who} would be nobody at once. In the same commit would end:")
        lines += [f"  {one['count']:>4} {_plural(one['what'], one['count'])}" for one in answer["ends"]] or [
            "  nothing"
        ]
    else:
        joins = sorted(set(movement["after"]) - set(movement["before"]))
        parts = sorted(set(movement["before"]) - set(movement["after"]))
        lines += [f"{who} would be in {printable(one)}" for one in joins]
        lines += [f"{who} would be in {printable(one)} no more" for one in parts]
    if answer["items"]:
        lines.append("and elsewhere, as one effect that can be undone:")
        lines += [f"  {printable(one['does'])}" for one in answer["items"]]
    if answer["needs"]:
        lines.append(f"what is elsewhere waits for the approval of {answer['needs']}: everproof work approve")
    return "\n".join([*lines, "nothing was done"])


def _done(answer: dict[str, Any], word: str) -> str:
    who, effect = printable(answer["person"]["id"]), answer["effect"]
    lines = [f"{paint(word, 'good')}: {who}"]
    if word == "left":
        count = answer["ended"]
        lines[0] += f"; {count} credential{'' if count == 1 else 's'} ended"
    if effect is not None:
        waits = f", waiting for the approval of {effect['needs']}" if effect["stage"] == "proposed" else ""
        lines.append(f"elsewhere: {printable(effect['does'])}")
        lines.append(f"as effect {printable(effect['id'])}{waits}: everproof work list --effects")
    lines.append(paint(f"recorded as {printable(answer['entry'])}", "faint"))
    return "\n".join(lines)


def _path(who: str, word: str) -> str:
    from urllib.parse import quote

    return f"/v1/people/{quote(who, safe='@+')}/{word}"


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", place=str(file)) from error


def _id(one: dict[str, Any]) -> str:
    return printable(one["person"])


def _in(groups: list[str]) -> str:
    return f", in {printable(', '.join(groups))}" if groups else ""


def _keys(keys: list[str], word: str) -> str:
    return f"; {len(keys)} {word}{'' if len(keys) == 1 else 's'}" if keys else ""


def _plural(what: str, count: int) -> str:
    return printable(what if count == 1 or what.endswith("s") else f"{what}s")
