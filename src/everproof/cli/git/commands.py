"""The commands of `everproof git`, for the terminal. What sshd and git start themselves are the modules beside this."""

import getpass
import shutil
from pathlib import Path
from typing import Annotated

import typer

from everproof.cli.terminal import Json, show
from everproof.kernel.errors import InputError
from everproof.kernel.settings import load_settings

app = typer.Typer(help="Stand before git repositories: hook, SSH command, set-up.", no_args_is_help=True)

State = Annotated[Path | None, typer.Option(help="The server's state folder.", show_default=False)]


Host = Annotated[str, typer.Option(help="The platform, as server.toml names it [default: your job's own].")]
Repository = Annotated[str, typer.Option(help="The repository's number there [default: your job's own].")]
Permissions = Annotated[
    list[str], typer.Option("--permission", help="NAME:read or NAME:write [default: contents:read].")
]
Lifetime = Annotated[int, typer.Option(help="Seconds until it ends, at most 3600.")]


def _git() -> str:
    found = shutil.which("git")
    if found is None:
        raise InputError("git is not installed here", todo="install git")
    return found


@app.command()
def install(
    repositories: Annotated[list[Path], typer.Argument(help="Bare repositories.", show_default=False)],
    *,
    state: State = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a pre-receive hook, keeping it beside.")] = False,
) -> None:
    """Put the hook before repositories; say what sshd needs."""
    from everproof.cli.git.install import install as set_up
    from everproof.cli.git.install import sshd_configuration

    settings = load_settings(state)
    git = _git()
    for repository in repositories:
        changes = set_up(repository, settings.socket, git, replace=replace)
        print(f"{repository}: {'set up' if changes else 'all as it should be'}")
        for change in changes:
            print(f"  {change}")
    user = settings.git.user if settings.git else getpass.getuser()
    print("\nFor pushes and fetches over SSH, add to sshd_config:\n")
    print(sshd_configuration(user, settings.socket, git))
    if settings.git is None:
        print('And to server.toml in the state folder:\n\n[git]\nroot = "/srv/git"  # the folder of the repositories')
        print(f'user = "{user}"')


@app.command()
def guard(*, state: State = None) -> None:
    """Be a pre-receive hook; git gives the ref updates."""
    from everproof.cli.git.guard import main

    raise typer.Exit(main([str(load_settings(state).socket), _git()]))


@app.command()
def serve(
    *, key: Annotated[str, typer.Option(help="The public key that sshd let in, base64.")], state: State = None
) -> None:
    """Be the forced command of one SSH key, then become git."""
    from everproof.cli.git.serve import main

    raise typer.Exit(main([str(load_settings(state).socket), _git(), key]))


@app.command("authorized-keys")
def authorized_keys(user: str, key_type: str, key: str, *, state: State = None) -> None:
    """Answer sshd's question who a key is (%u %t %k)."""
    from everproof.cli.git.keys import main

    raise typer.Exit(main([str(load_settings(state).socket), _git(), user, key_type, key]))


@app.command()
def token(
    *,
    host: Host = "",
    repository: Repository = "",
    permission: Permissions = [],  # noqa: B006 - Typer's own form
    lifetime: Lifetime = 600,
    as_json: Json = False,
) -> None:
    """Get a token of a repository at its platform."""
    from everproof.cli.git.token import ask

    show(ask(host, repository, permission, lifetime), as_json=as_json, text=lambda answer: str(answer["token"]))


@app.command()
def credential(
    operation: Annotated[str, typer.Argument(help="What git wants: get, store or erase.")],
    *,
    host: Host = "",
    repository: Repository = "",
    permission: Permissions = [],  # noqa: B006 - as above
    lifetime: Lifetime = 600,
) -> None:
    """Be git's credential helper: a token for each fetch."""
    from everproof.cli.git.token import ask
    from everproof.cli.git.token import credential as for_git

    if operation == "get":  # there is nothing to store or to erase
        print(for_git(ask(host, repository, permission, lifetime)), end="")
