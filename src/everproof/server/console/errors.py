"""What went wrong as a page: a denial, which is the most important of them, and everything else."""

from http import HTTPStatus
from typing import Any, Final

from everproof.kernel.errors import Error
from everproof.kernel.words import Ref
from everproof.server.console.page import page, span
from everproof.server.console.paths import HOME, with_next
from everproof.server.denial import DeniedError
from everproof.server.http import Reply

STEP_UP: Final = "/step-up"
NAMES: Final = {"passkey": "a passkey", "security-key": "a security key"}
"""What is named where a code will not do."""

FOR_PROGRAMS: Final = "see /openapi.json"
"""What an address that there is not says to programs; people are led to a page."""

_TITLES: Final = {
    400: "This could not be read",
    401: "Sign in first",
    403: "This was refused",
    404: "There is nothing here",
    405: "This address does something else",
    409: "This cannot be done any more",
    413: "This is too long",
    429: "Too many attempts",
    503: "Not now",
}


def problem_page(
    error: Error, *, who: str = "", here: str = "", then: str = "", server: str = "", shown: float | None = None
) -> Reply:
    """The page that ``error`` is.

    ``then`` is where its reader was, to come back to, and ``shown`` how many seconds ago they have shown a factor.
    """
    common = {"who": who, "here": here, "server": server}
    headers = dict(getattr(error, "headers", {}))
    if isinstance(error, DeniedError):
        return page("denial.html", status=error.status, headers=headers, **denial(error, then, shown), **common)
    status = error.status
    title = _TITLES.get(status) or HTTPStatus(status).phrase
    href, link = (HOME, "To my access") if who else (with_next("/login", then), "Sign in")
    return page(
        "error.html",
        status=status,
        headers=headers,
        title=title,
        message=_whole(error.message),
        place=error.place or "",
        todo="" if error.todo == FOR_PROGRAMS else _whole(error.todo or ""),
        href=href,
        link=link,
        **common,
    )


def denial(error: DeniedError, then: str, shown: float | None = None) -> dict[str, Any]:
    """What the page of a denial shows."""
    extra = error.extra
    why: dict[str, Any] = extra.get("explanation") or {}
    step_up, request = _step_up(extra.get("step_up"), then, shown), _request(extra.get("request"), then)
    title = "Not yet: show a factor first" if step_up and not request else "You may not do this"
    action, _, resource = (error.place or "").partition(" on ")
    return {
        "title": title,
        "summary": _summary(why) or _sentence(extra["reason"]) + ".",
        "reason": _sentence(extra["reason"]),
        "principal": Ref(**why["principal"]) if why else "You",
        "action": action,
        "resource": resource,
        "receipt": extra.get("receipt"),
        "forbidden_by": [_policy(one) for one in why.get("forbidden_by", ())],
        "near": sorted((_policy(one) for one in why.get("near", ())), key=lambda one: not one["conditions"]),
        "farther": why.get("farther", 0),
        "errors": why.get("errors", ()),
        "step_up": step_up,
        "request": request,
        "back": then,
    }


def _summary(why: dict[str, Any]) -> str:
    if not why:
        return ""
    count = len(why.get("forbidden_by", ()))
    if count:
        return "A policy forbids it." if count == 1 else f"{count} policies forbid it."
    return "No policy permits it as things are."


def _policy(given: dict[str, Any]) -> dict[str, Any]:
    conditions: list[dict[str, Any]] = []
    absent: set[str] = set()
    for one in given.get("conditions", ()):
        looked = {seen["path"] for seen in one.get("values", ())}
        if one["state"] == "not reached" and looked & absent:
            continue  # that it is absent has been said, and so what is wanted
        absent |= {seen["path"] for seen in one.get("values", ()) if seen.get("absent")}
        conditions.append({"alternative": False, **one})
    return {"advice": "", "hidden": 0, **given, "conditions": conditions}


def _step_up(given: dict[str, Any] | None, then: str, shown: float | None) -> dict[str, str] | None:
    if not given:
        return None
    seconds, methods = given.get("max_age_seconds"), given.get("methods", ())
    age = f" less than {span(seconds + 1)} ago" if seconds else ""
    if "sign-in" in methods:
        href, link = with_next("/login?max_age=0", then), "Sign in anew"
        return {"needs": f"needs you to have signed in{age}.", "shown": "", "href": href, "link": link}
    wanted = " or ".join(NAMES[one] for one in methods if one in NAMES) if "totp" not in methods else "a factor"
    last = "You have shown none since you signed in." if shown is None else f"Your last one was {span(shown)} ago."
    needs = f"needs {wanted or 'a factor'} that you have shown{age}."
    return {"needs": needs, "shown": last, "href": with_next(STEP_UP, then), "link": "Show a factor and go on"}


def _request(given: dict[str, Any] | None, then: str) -> dict[str, str] | None:
    return {"href": with_next(given["page"], then)} if given else None


def _sentence(text: str) -> str:
    """``text`` with a capital, as a page says it."""
    return text[:1].upper() + text[1:]


def _whole(text: str) -> str:
    """``text`` with a capital and its end."""
    return _sentence(text) if not text or text.endswith((".", "…", "!", "?")) else f"{_sentence(text)}."
