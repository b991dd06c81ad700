"""`everproof run`: one step of a pipeline, with a credential for its stage alone."""

from typing import Annotated, Literal

import typer

from everproof.cli.step.options import GRACE_SECONDS, Options

app = typer.Typer(help="Run a step of a pipeline, with a credential for its stage alone.")

Stage = Literal["build", "test", "publish", "deploy"]


@app.command()
def run(
    command: Annotated[list[str], typer.Argument(help="The command and its arguments, behind `--`.")],
    *,
    stage: Annotated[Stage, typer.Option(help="What the step does: it can do nothing of the others' work.")],
    on: Annotated[
        str, typer.Option(metavar="TYPE::ID", help="What it is done to [default: the job's own repository].")
    ] = "",
    env: Annotated[
        list[str], typer.Option(metavar="NAME[=VALUE]", help="A variable that the command is given too.")
    ] = [],  # noqa: B006 - Typer's own form
    proof: Annotated[
        str, typer.Option(help="How the job is proven: auto, github, session, env:NAME, file:PATH.")
    ] = "auto",
    server: Annotated[
        str, typer.Option(help="The server's address [default: EVERPROOF_SERVER, or your session's].")
    ] = "",
    ca: Annotated[
        str, typer.Option(help="Its certificate authority, PEM or a file of it [default: EVERPROOF_CA].")
    ] = "",
    audience: Annotated[str, typer.Option(help="For whom GitHub's token is asked for [default: the server].")] = "",
    lifetime: Annotated[
        int, typer.Option(metavar="SECONDS", help="How long a credential lives before policy is asked again.")
    ] = 0,
    grace: Annotated[
        int, typer.Option(metavar="SECONDS", help="How long it goes on while the server cannot be reached.")
    ] = GRACE_SECONDS,
    timeout: Annotated[int, typer.Option(metavar="SECONDS", help="How long it may take in all [default: any].")] = 0,
    record_arguments: Annotated[
        bool, typer.Option("--record-arguments", help="Record the command's arguments too, not their digest alone.")
    ] = False,
) -> None:
    """Run a step of a pipeline, with a credential for its stage alone.

    The command finds the credential by EVERPROOF_SESSION, and little else in its environment. It ends with the command,
    and the command with it: killed, with all its children, when it is revoked or expires. Exits as the command does.
    """
    from everproof.cli.step.step import run as run_step

    given = Options(
        stage, tuple(command), on, tuple(env), proof, server, ca, audience, lifetime, grace, timeout, record_arguments
    )
    raise typer.Exit(run_step(given))
