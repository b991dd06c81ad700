"""`everproof open`: the pages, in a browser that is signed in by this terminal's session."""

import html
import os
import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from everproof.cli.terminal import Json, print_json, printable
from everproof.kernel.errors import InputError

if TYPE_CHECKING:
    from everproof.cli.client import Client

app = typer.Typer(help="Open the pages in a browser, signed in as you.")


@app.command(name="open")
def open_(
    page: Annotated[str, typer.Argument(help="The page to begin with, such as /factors or /requests.")] = "/access",
    *,
    as_json: Json = False,
) -> None:
    """Open the pages in a browser, signed in as you.

    The link is good once, for two minutes, and signs in whoever opens it: give it to nobody. The browser's session ends
    with that of this terminal.
    """
    from everproof.cli.client import connect

    link, expires = handover(connect(), page)
    if as_json:
        print_json({"link": link, "expires": expires})
        return
    show_link(link)


def handover(client: "Client", page: str) -> tuple[str, str]:
    """A link to ``page`` that signs in, and when it ends.

    Raises:
        InputError: ``page`` is no path of the server.
    """
    if not page.startswith("/") or page.startswith("//"):
        raise InputError("a page's path begins with one slash", place="PAGE", todo="such as /factors")
    made = client.request("POST", "/v1/login/handover")
    address, _, code = str(made["link"]).partition("#")
    return f"{address}?next={quote(page, safe='')}#{code}", str(made["expires"])


def show_link(link: str) -> None:
    """Open it where somebody sits, and else say it."""
    if sys.stdout.isatty() and webbrowser.open(_page_to(link).as_uri()):
        print("opened in your browser, which asks before it signs you in")
        return
    print("good once, for two minutes, for you alone:")
    print(printable(link))


def _page_to(link: str) -> Path:
    """A page of this account's that leads to ``link``: what a browser is started with, everyone on the machine sees."""
    from everproof.cli import session

    target = session.file().with_name("open.html")
    text = f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url={html.escape(link)}">\n'
    target.unlink(missing_ok=True)
    with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as page:  # noqa: PTH123 - of this mode from its first byte
        page.write(text)
    return target
