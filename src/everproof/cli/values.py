"""What people type for names and values: ``User::"alice"`` or ``alice``, ``mfa_age=40``."""

import json
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from everproof.kernel.errors import InputError

if TYPE_CHECKING:
    from everproof.kernel.words import Ref

_REF: Final = re.compile(r'([A-Za-z_][A-Za-z0-9_]*)::(?:"([^"\\]+)"|([^"\\]+))')

_SECONDS: Final = {"d": 86_400, "h": 3_600, "min": 60, "s": 1}
_LONGEST_SECONDS: Final = 100 * 366 * 86_400

RESOURCES: Final = {
    "git": "Repository",
    "stage": "Pipeline",
    "artifact": "Artifact",
    "deployment": "Environment",
    "secret": "Secret",
    "token": "Audience",
    "credential": "Credential",
    "identity": "Identity",
    "policy": "Bundle",
    "ledger": "Ledger",
    "access": "Grant",
    "network": "Route",
    "api": "Route",
    "host": "Host",
    "database": "Database",
    "cloud": "CloudRole",
    "finding": "Finding",
    "alert": "Alert",
    "response": "Credential",
    "server": "Server",
    "decision": "Identity",
    "work": "Server",
}
"""The type of the resource that is meant where only its id is given, by the action's noun."""


def ref(text: str, *, type_: str, place: str) -> "Ref":
    """The entity that ``text`` names; without a type, one of ``type_``. The quotes may be left out.

    Raises:
        InputError: no name.
    """
    from everproof.kernel.words import Ref

    match = _REF.fullmatch(text)
    if match is not None:
        return Ref(match[1], match[2] or match[3])
    if not text or "::" in text or '"' in text:
        raise InputError(f"{text!r} names nothing", place=place, todo=f"write {type_}::some-id, or some-id alone")
    return Ref(type_, text)


def name_of(ref: Mapping[str, str]) -> str:
    """A name as people type it, of the form in which servers give it."""
    return f"{ref['type']}::{ref['id']}"


def resource(text: str, action: str) -> "Ref":
    """The resource that ``text`` names, as the action's noun suggests where no type is given."""
    if action == "git:push" and "@refs/" in text and "::" not in text:
        return ref(text, type_="Branch", place="RESOURCE")
    return ref(text, type_=RESOURCES.get(action.partition(":")[0], "Identity"), place="RESOURCE")


def span(text: str, *, place: str) -> timedelta:
    """A span of time such as ``30d``, ``12h``, ``90min`` or ``45s``.

    Raises:
        InputError: it is none, or longer than a hundred years.
    """
    match = re.fullmatch(r"([1-9][0-9]{0,8})(d|h|min|s)", text)
    if match is not None and int(match[1]) * _SECONDS[match[2]] <= _LONGEST_SECONDS:
        return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
    raise InputError(f"{text!r} is no span of time", place=place, todo="write it as 30d, 12h, 90min or 45s")


def pairs(texts: list[str], *, option: str) -> dict[str, Any]:
    """``name=value`` pairs: true, false and whole numbers as what they are, lists and records as JSON, else text.

    Raises:
        InputError: one of them has no name or no value.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise InputError(f"{text!r} has not the form name=value", place=option)
        found[name] = _value(value, place=f"{option} {name}")
    return found


def _value(text: str, *, place: str) -> Any:
    if text in {"true", "false"}:
        return text == "true"
    if re.fullmatch(r"-?(0|[1-9][0-9]{0,18})", text):
        return int(text)
    if text[:1] in {"[", "{", '"'}:
        try:
            return json.loads(text)
        except ValueError as error:
            raise InputError(f"not JSON: {error}", place=place) from error
    return text
