"""Pages from templates: every value escaped, no script or style in them, and a policy that lets none in.

Templates escape by default and fail on a name that they are not given; nothing marks text as safe.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from everproof.kernel.words import Ref
from everproof.server.console.assets import address
from everproof.server.http import Reply

HTML: Final = "text/html; charset=utf-8"

WAYS: Final = (("/access", "My access"), ("/requests", "Requests"), ("/sessions", "Sessions"), ("/factors", "Factors"))
"""The pages of someone who is signed in."""

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'{targets}; frame-ancestors 'none'; base-uri 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Only what this server itself sends, and no text that turns into markup."""

_HEADERS: Final = {
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), publickey-credentials-get=(self)",
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
}
"""The referrer stays on this server; with none at all, browsers would send forms without their origin."""

MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 24 * HOUR


@lru_cache(maxsize=1)
def _environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    for filter_ in (when, iso, span, named, agent, query):
        found.filters[filter_.__name__] = filter_
    found.globals.update(asset=address, ways=WAYS)
    return found


def page(
    template: str,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
    targets: Iterable[str] = (),
    **values: Any,
) -> Reply:
    """A page as an answer. ``targets`` are origins that its forms may lead to, beside this server's."""
    policy = POLICY.format(targets="".join(f" {one}" for one in targets))
    given = {"who": "", "here": "", "server": "", "status": status, **values}
    text = _environment().get_template(template).render(given)
    return Reply(
        text.encode(),
        status=status,
        media=HTML,
        headers={**_HEADERS, "content-security-policy": policy, **(headers or {})},
    )


def see_other(path: str, *, headers: dict[str, str] | None = None) -> Reply:
    """Go on to ``path`` with a GET: what answers every form that was acted upon (RFC 9110, section 15.4.4)."""
    return Reply(status=303, headers={"location": path, "referrer-policy": "same-origin", **(headers or {})})


def when(at: datetime) -> str:
    """A moment for a person: to the minute, in UTC."""
    return at.astimezone(UTC).strftime("%-d %b %Y, %H:%M UTC")


def iso(at: datetime) -> str:
    """A moment for a machine."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def span(length: timedelta | float) -> str:
    """A length of time for a person: in the largest unit that says enough."""
    seconds = int(length.total_seconds() if isinstance(length, timedelta) else length)
    if seconds < MINUTE:
        return f"{max(seconds, 0)} s"
    if seconds < HOUR:
        return f"{seconds // MINUTE} min"
    if seconds < DAY:
        hours, minutes = divmod(seconds // MINUTE, 60)
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, rest = divmod(seconds, DAY)
    return f"{days} d {rest // HOUR} h" if rest >= HOUR else f"{days} d"


def named(ref: Ref | str) -> str:
    """A principal or resource for a person; a person by the id alone."""
    if isinstance(ref, str):
        return ref
    return ref.id if ref.type == "User" else f"{ref.type} {ref.id}"


def query(text: str) -> str:
    """``text`` as it stands in an address."""
    return quote(str(text), safe="")


_BROWSERS: Final = (("Edg/", "Edge"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
_SYSTEMS: Final = (
    ("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"),
    ("Windows", "Windows"), ("Mac OS", "macOS"), ("Linux", "Linux"),
)  # fmt: skip


def agent(text: str) -> str:
    """What a browser says it is, in two words: for a person to tell their own sessions apart, and for nothing else."""
    browser = next((name for mark, name in _BROWSERS if mark in text), text[:40])
    system = next((name for mark, name in _SYSTEMS if mark in text), "")
    return f"{browser} on {system}" if system else browser
