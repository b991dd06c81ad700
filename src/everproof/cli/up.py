"""`everproof up`: the server, and at its first start everything that it needs."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from everproof.cli.state import State
from everproof.cli.terminal import fields, paint

if TYPE_CHECKING:
    from everproof.app import Everproof
    from everproof.server.serve import Listening

app = typer.Typer(help="Start the server; the first time, set everything up.")


@app.command()
def up(
    *,
    state: State = None,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="The port to listen on [default: 8443].")] = None,
    host: Annotated[
        str | None, typer.Option(help="The address to listen on [default: 127.0.0.1].", show_default=False)
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(help="How callers name this server [default: https://localhost:PORT].", show_default=False),
    ] = None,
) -> None:
    """Start the server; the first time, set everything up.

    The options go before server.toml in the state folder, and before the environment. Ctrl-C stops the server.
    """
    import asyncio

    import msgspec

    from everproof.kernel.settings import load_settings

    given = {"port": port, "host": host, "url": url.rstrip("/") if url else None}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    settings = msgspec.structs.replace(load_settings(state), **changes)

    from everproof.app import Everproof
    from everproof.identity.enrolment import invite_first_administrator
    from everproof.server.serve import serve

    server = Everproof(settings)
    invitation = invite_first_administrator(server.storage, server.identity.directory)
    secret = invitation.secret if invitation else ""
    serving = serve(server, ready=lambda listening: _greet(server, listening, secret))
    try:
        import uvloop
    except ImportError:  # where there is none of it, asyncio's own loop serves
        asyncio.run(serving)
    else:
        uvloop.run(serving)


def _greet(server: "Everproof", listening: "Listening", secret: str) -> None:
    """Say where the server is, and how the first administrator comes in."""
    from everproof.cli.links import with_ca
    from everproof.identity.enrolment import link

    settings = server.settings
    about = [
        ("address", listening.url),
        ("state", settings.state),
        ("ledger", f"{server.ledger.origin}, {server.ledger.size} entries"),
        ("bundle", server.bundles.current.commit or "the built-in one"),
    ]
    print(f"\n{paint('Everproof is up', 'good')}\n\n{_indented(fields(about))}\n")
    if secret:
        ca = listening.certificates.ca_file.read_text()
        command = f"everproof login --enrol '{with_ca(link(listening.url, secret), ca)}'"
        print("  Nobody administers it yet. Enrol with this link, which is good once and for a day:\n")
        print(f"    {paint(command, 'strong')}\n")
    print(paint("  Ctrl-C stops it. `everproof doctor` looks for what is wrong.\n", "faint"), flush=True)


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
