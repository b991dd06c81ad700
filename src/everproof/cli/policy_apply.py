"""`everproof policy apply`: let the bundle of a signed commit rule, if what it would have denied is within bounds."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from everproof.cli.people import file_plan_text
from everproof.cli.policy_replay import findings_text
from everproof.cli.terminal import Json, fields, paint, print_json, printable, progress, show
from everproof.kernel.errors import Error

if TYPE_CHECKING:
    from everproof.cli.client import Client


def apply(
    commit: Annotated[
        str, typer.Argument(metavar="COMMIT", help="A commit, branch or tag [default: the ref of the settings].")
    ] = "",
    *,
    at_most: Annotated[
        str | None,
        typer.Option(metavar="N|N%", help="How much of what was allowed it may deny [default: as the settings say]."),
    ] = None,
    despite: Annotated[bool, typer.Option("--despite", help="Let it rule whatever its replay finds.")] = False,
    downgrade: Annotated[
        bool, typer.Option("--downgrade", help="Let it rule though it does not come after the one that rules.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say who would join, move and leave by it, and do nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Let the bundle of a signed commit rule.

    Its signer, and you, must both be allowed to change policy by the bundle that rules now. The server reads the commit
    from the repository that its settings name, verifies the signature itself, and replays what was decided lately: a
    bundle that would have denied more than the bound does not come to rule. The entry says where --at-most is looser
    than the settings, and --despite and --downgrade, and policy may forbid it.
    """
    from everproof.cli.client import connect

    client = connect()
    if dry_run:
        plan = client.request("POST", "/v1/people/plan", json={"commit": commit})
        show(plan, as_json=as_json, text=file_plan_text)
        return
    asked = {"commit": commit, "at_most": at_most, "despite": despite, "downgrade": downgrade}
    try:
        with progress("replaying") as report:
            answer = _applied(client, asked, report)
    except Error:
        # Who would have been locked out is said before why it was refused, which the last lines say.
        if (found := client.told.get("replay")) is not None:
            if as_json:
                print_json({"applied": False, "replay": found})
            else:
                print(_replay_text(found))
        raise
    if as_json:
        print_json(answer)
        return
    print(f"{paint('rules now', 'good')}: {printable(answer['commit'])}")
    print(fields([("digest", answer["digest"]), ("signed by", answer["signer"]), ("recorded as", answer["entry"])]))
    if "replay" in answer:
        print(_replay_text(answer["replay"]))


def _applied(client: "Client", asked: dict[str, Any], report: Callable[[int, int], None]) -> dict[str, Any]:
    answer: dict[str, Any] = client.request("POST", "/v1/policy/apply", json=asked)
    while answer["state"] == "replaying":
        report(answer.get("done", 0), answer.get("of", 0))
        answer = client.request("GET", f"/v1/policy/apply/{answer['ticket']}")
    return answer


def _replay_text(told: dict[str, Any]) -> str:
    import msgspec

    from everproof.authorize.replaying import Replay

    done = msgspec.convert(told, Replay)
    hidden = done.findings.denied + done.findings.allowed > 0 and not done.findings.groups
    lines = [
        f"replayed: {done.findings.decisions} decisions",
        findings_text(done.findings),
        *map(printable, done.notes),
    ]
    return "\n".join([*lines, *(["whom it is about is told to those who may read the ledger"] if hidden else [])])
