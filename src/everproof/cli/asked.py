"""Requests and grants as commands show them."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from everproof.cli.terminal import fields, lasting, paint, printable, table
from everproof.cli.values import name_of

_STYLES: dict[str, Any] = {
    "requested": "warn", "approved": "warn", "granted": "good", "refused": "bad", "revoked": "bad", "expired": "faint",
    "lapsed": "faint", "cancelled": "faint",
}  # fmt: skip


def request_text(one: dict[str, Any]) -> str:
    """A request: what it is for, who answered, and what came of it."""
    state = paint(one["state"], _STYLES.get(one["state"], "strong"))
    head = f"{state}: {what(one)}, for {lasting(timedelta(seconds=one['seconds']))}"
    rows: list[tuple[str, object]] = [
        ("request", one["id"]),
        ("by", name_of(one["requester"])),
        ("reason", one["reason"]),
        ("asked", when(one["created"])),
        ("approvals", f"{len(one['approvals'])} of {one['needs']}"),
        *((f"  {name_of(by['by'])}", _approval(by)) for by in one["approvals"]),
        ("owners", ", ".join(map(name_of, one["owners"]))),
    ]
    if one["state"] in {"requested", "approved"}:
        rows.append(("answer by", when(one["answer_by"])))
    elif one["decided"] and one["state"] in {"refused", "cancelled"}:
        by = f" by {name_of(one['by'])}" if one["by"] else ""
        rows.append((one["state"], f"{when(one['decided'])}{by}{_said(one['message'])}"))
    if one["grant"]:
        rows += grant_rows(one["grant"])
    return f"{head}\n{fields(rows)}"


def grant_rows(grant: dict[str, Any]) -> list[tuple[str, object]]:
    """A grant's fields."""
    rows: list[tuple[str, object]] = [("grant", grant["id"])]
    if grant["policies"]:
        rows.append(("granted by policy", ", ".join(grant["policies"])))
    if grant["how"]:
        by = f" by {name_of(grant['by'])}" if grant["by"] else ""
        rows.append((grant["how"], f"{when(grant['ended'])}{by}{_said(grant['reason'])}"))
    else:
        rows.append(("ends", f"{when(grant['expires'])}{_left(grant['expires'])}"))
    return rows


def request_table(found: Iterable[dict[str, Any]]) -> str:
    """Requests, one a line."""
    rows = [
        (
            one["id"],
            one["state"],
            one["requester"]["id"],
            what(one),
            _when(one),
            f"{len(one['approvals'])}/{one['needs']}",
        )
        for one in found
    ]
    return table(rows, ("request", "state", "by", "for", "asked", "approvals"))


def grant_table(found: Iterable[dict[str, Any]]) -> str:
    """Grants, one a line."""
    rows = [
        (
            one["id"],
            one["principal"]["id"],
            f"{' '.join(one['actions'])} on {name_of(one['resource'])}",
            one["how"] or f"ends{_left(one['expires']) or ' ' + when(one['expires'])}",
            ", ".join(by["id"] for by in one["approvers"]) or ", ".join(one["policies"]),
            "break-glass" if one["break_glass"] else one["request"],
        )
        for one in found
    ]
    return table(rows, ("grant", "holder", "for", "", "by", "request"))


def what(one: dict[str, Any]) -> str:
    """What a request is for."""
    return printable(f"{one['action']} on {name_of(one['resource'])}")


def when(text: str) -> str:
    """A moment of an answer, to the minute, UTC."""
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _when(one: dict[str, Any]) -> str:
    return f"{datetime.fromisoformat(one['created']).astimezone(UTC):%Y-%m-%d %H:%M}"


def _left(text: str) -> str:
    left = datetime.fromisoformat(text) - datetime.now(UTC)
    return f" in {lasting(left)}" if left > timedelta() else ""


def _approval(by: dict[str, Any]) -> str:
    factor = f", {by['method']}" if by["method"] else ""
    age = f" {by['factor_age']} s before" if by["factor_age"] is not None else ""
    return f"{when(by['at'])}{factor}{age}{_said(by['message'])}"


def _said(message: str) -> str:
    return f": {message}" if message else ""
