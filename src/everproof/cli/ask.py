"""`everproof ask`: whether something would be allowed, and if not, why not and what to do."""

from typing import Annotated, Any, Final

import typer

from everproof.cli.main import EXIT_FAILED
from everproof.cli.terminal import Json, fields, paint, print_json, printable

app = typer.Typer(help="Ask whether something would be allowed, and why not.")

EVALUATION: Final = "/access/v1/evaluation"


@app.command()
def ask(
    action: Annotated[str, typer.Argument(help="What is to be done, such as git:push.")],
    resource: Annotated[str, typer.Argument(help="To what: Type::id, or the id alone.")],
    *,
    subject: Annotated[
        str | None, typer.Option("--as", metavar="PRINCIPAL", help="For whom [default: you].", show_default=False)
    ] = None,
    context: Annotated[
        list[str], typer.Option("--context", "-c", metavar="NAME=VALUE", help="What is said beside the question.")
    ] = [],  # noqa: B006 - Typer's own form
    properties: Annotated[
        list[str], typer.Option("--property", "-p", metavar="NAME=VALUE", help="What is said of the resource.")
    ] = [],  # noqa: B006 - Typer's own form
    as_json: Json = False,
) -> None:
    """Ask whether something would be allowed, and why not.

    The question is decided and recorded as any other. Exits with 0 if it is allowed, and with 1 if not.
    """
    from everproof.cli import values
    from everproof.cli.client import connect

    client = connect()
    who = values.ref(subject or client.session.principal, type_="User", place="--as")
    target = values.resource(resource, action)
    question: dict[str, Any] = {
        "subject": {"type": who.type, "id": who.id},
        "action": {"name": action},
        "resource": {"type": target.type, "id": target.id},
    }
    if properties:
        question["resource"]["properties"] = values.pairs(properties, option="--property")
    if context:
        question["context"] = values.pairs(context, option="--context")
    answer = client.request("POST", EVALUATION, json=question)
    if as_json:
        print_json(answer)
    else:
        _print(answer, f"{action} on {target}", str(who))
    if not answer["decision"]:
        raise typer.Exit(EXIT_FAILED)


def _print(answer: dict[str, Any], asked: str, who: str) -> None:
    told = answer.get("context", {})
    allowed = answer["decision"]
    why = told.get("reason_user", {}).get("403") or told.get("reason_admin", {}).get("403") or ""
    if not why.startswith("denied"):
        why = f"denied: {why or 'no reason was given'}"
    first, _, rest = ("allowed" if allowed else printable(why).strip()).partition("\n")
    print(paint(first, "good" if allowed else "bad"))
    print(fields([("asked", asked), ("by", who)]))
    if rest:
        print(rest)
    if "id" in told:
        print(paint(f"\nrecorded as entry {told.get('index')}, {told['id']}", "faint"))
