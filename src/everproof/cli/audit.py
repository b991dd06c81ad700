"""`everproof identity audit`: does an organisation require sign-on and two factors, and who comes in without."""

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from everproof.cli.terminal import Json, Style, paint, print_json, printable

app = typer.Typer(help="See whether sign-on and two factors are required. And who escapes.", no_args_is_help=True)

ApiUrl = Annotated[str, typer.Option("--api", help="The API's address, where the platform is your own.")]
CaFile = Annotated[
    Path | None, typer.Option("--ca-file", help="Its CA (PEM), where it is your own.", show_default=False)
]
MAX_NAMED: Final = 10
"""Who escapes, as far as a terminal's reader wants to read; --json names all."""

_MARKS: Final[dict[str, tuple[str, Style]]] = {
    "good": ("✓", "good"), "bad": ("✗", "bad"), "look": ("!", "warn"), "unseen": ("?", "warn"),
}  # fmt: skip


@app.command()
def github(
    organisation: Annotated[str, typer.Argument(help="The organisation's name, such as acme.")],
    *,
    token: Annotated[
        str, typer.Option(help="Where an owner's token lies: env:NAME or file:PATH.")
    ] = "env:GITHUB_TOKEN",  # noqa: S107 - a place
    api: ApiUrl = "",
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Audit a GitHub organisation. No server is needed; the token is sent to GitHub alone.

    Exit code 1 where something is bad, or could not be looked at.
    """
    from everproof.integrations.github.audit import GitHubAudit
    from everproof.integrations.organisations import github_rest

    outbound, source, now = _tools(api, ca_file, token)
    _show(GitHubAudit(github_rest("github", outbound, source, now, api), organisation, now), as_json=as_json)


@app.command()
def gitlab(
    group: Annotated[str, typer.Argument(help="The top-level group's number or path.")],
    *,
    token: Annotated[
        str, typer.Option(help="Where an owner's token lies: env:NAME or file:PATH.")
    ] = "env:GITLAB_TOKEN",  # noqa: S107 - a place
    api: ApiUrl = "",
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Audit a GitLab group. No server is needed; the token is sent to GitLab alone.

    Exit code 1 where something is bad, or could not be looked at.
    """
    from everproof.integrations.gitlab.audit import GitLabAudit
    from everproof.integrations.organisations import gitlab_rest

    outbound, source, now = _tools(api, ca_file, token)
    _show(GitLabAudit(gitlab_rest("gitlab", outbound, source, now, api), group, now), as_json=as_json)


def _tools(api: str, ca_file: Path | None, token: str) -> tuple[Any, Any, Any]:
    """The guarded way out, which reaches a private address only where it was named; the token; the clock."""
    from everproof.identity.outbound import Outbound, https_url
    from everproof.integrations.organisations import MAX_BYTES, TIMEOUT_SECONDS
    from everproof.integrations.secret_source import SecretSource
    from everproof.kernel.clock import SystemClock

    hosts = [https_url(api, place="--api").hostname or ""] if api else []
    outbound = Outbound(ca_file=ca_file, private_hosts=hosts, timeout_seconds=TIMEOUT_SECONDS, max_bytes=MAX_BYTES)
    return outbound, SecretSource(token, place="--token"), SystemClock().now


def _show(audit: Any, *, as_json: bool) -> None:
    import asyncio

    import msgspec

    found = asyncio.run(audit.run())
    if as_json:
        print_json({**msgspec.to_builtins(found), "passed": found.passed})
    else:
        print(_drawn(found))
    if not found.passed:
        raise typer.Exit(1)


def _drawn(audit: Any) -> str:
    lines = [paint(printable(f"{audit.organisation} ({audit.platform} {audit.id})"), "strong"), ""]
    width = max(len(one.title) for one in audit.findings)
    for one in audit.findings:
        mark, style = _MARKS[one.state]
        lines.append(f"{paint(mark, style)} {one.title:<{width}}  {printable(one.said)}")
        if one.who and one.state != "good":
            named = ", ".join(one.who[:MAX_NAMED])
            more = len(one.who) - MAX_NAMED
            lines.append(f"    {printable(named)}{f' and {more} more' if more > 0 else ''}")
        if one.todo:
            lines.append(f"    → {printable(one.todo)}")
    counts = {state: sum(one.state == state for one in audit.findings) for state in _MARKS}
    told = f"{counts['good']} good, {counts['bad']} bad, {counts['look']} to know of, {counts['unseen']} not seen"
    return "\n".join([*lines, "", paint(told, "good" if audit.passed else "bad")])
