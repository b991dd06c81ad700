"""From what SCIM says to what we say, and nowhere else: a person, a group, and what is kept of each to say it back."""

import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any, Final

from scim2_models import Context

from everproof.identity.names import MAX_NAME, email_address, shown_name
from everproof.kernel.errors import InputError
from everproof.provisioning.records import Person, Team
from everproof.server.scim.models import EnterpriseUser, Group, User

MAX_TEXT: Final = 256
"""Characters of an attribute that policies see."""
COMMITTING: Final = frozenset({"", "work"})
"""What an address has to be for, so that its person may commit as it; the preferred one is good whatever it is for."""

_OURS: Final = ("id", "meta", "schemas", "groups", "members", "userName", "externalId")
"""What we say ourselves, or keep in its own place."""
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_LINES: Final = frozenset("\n\r\t\u200c\u200d")
"""Ends of lines in addresses, and what joins letters in some scripts."""


def person_of(said: User, *, active: bool = True) -> Person:
    """What a provisioner says of a person; ``active`` where it does not say.

    Raises:
        InputError: a name or address that could be mistaken for another.
    """
    enterprise = said[EnterpriseUser] if type(said) is not User else None
    manager = enterprise.manager if enterprise is not None else None
    text = {
        "title": said.title,
        "employee_type": said.user_type,
        "department": enterprise.department if enterprise is not None else None,
        "employee_number": enterprise.employee_number if enterprise is not None else None,
    }
    return Person(
        user_name=said.user_name or "",
        external_id=said.external_id,
        name=_name(said),
        emails=tuple(_emails(said)),
        attributes={name: _text(value, name) for name, value in text.items() if value},
        manager=_manager(manager.value, manager.ref) if manager is not None else None,
        active=active if said.active is None else said.active,
        document=_document(said),
    )


def team_of(said: Group, *, members: bool = True) -> Team:
    """What a provisioner says of a group; without ``members``, who is in it is to stay."""
    ids = tuple(dict.fromkeys(one.value or _last(one.ref) for one in said.members or ()))
    return Team(
        name=said.display_name or "",
        external_id=said.external_id,
        members=ids if members else None,
        document=_document(said),
    )


def _name(said: User) -> str:
    parts = said.name
    whole = " ".join(one for one in (parts.given_name, parts.family_name) if one) if parts is not None else ""
    name = said.display_name or (parts.formatted if parts is not None else "") or whole
    return shown_name(unicodedata.normalize("NFC", " ".join(name.split()))[:MAX_NAME].strip(), place="displayName")


def _emails(said: User) -> Iterator[str]:
    seen: set[str] = set()
    addresses = [one for one in said.emails or () if one.value]
    for one in sorted(addresses, key=lambda one: not one.primary):  # the first of a person is the preferred one
        address = email_address(one.value or "", place="emails.value")
        if (one.primary or (one.type or "").lower() in COMMITTING) and address.lower() not in seen:
            seen.add(address.lower())
            yield address


def _text(value: str, place: str) -> str:
    if len(value) > MAX_TEXT:
        raise InputError(f"longer than {MAX_TEXT} characters", place=place)
    return value


def _manager(value: str | None, ref: str | None) -> str | None:
    return value or _last(ref) or None


def _last(ref: str | None) -> str:
    return (ref or "").rsplit("/", 1)[-1]


def _document(said: User | Group) -> dict[str, Any]:
    document: dict[str, Any] = said.model_dump(scim_ctx=Context.DEFAULT)
    kept = {name: value for name, value in document.items() if name not in _OURS}
    _require_visible(kept, "")
    return kept


def _require_visible(value: Any, place: str) -> None:
    """Refuse what nobody can see: it would make one text look like another, or its reader see something else."""
    if isinstance(value, str):
        if not value.isascii() or not value.isprintable():
            for character in value:
                if character not in _LINES and unicodedata.category(character) in _INVISIBLE:
                    raise InputError("has characters that are invisible or reorder what is around them", place=place)
    elif isinstance(value, Mapping):
        for name, one in value.items():
            _require_visible(one, f"{place}.{name}".lstrip("."))
    elif isinstance(value, list):
        for one in value:
            _require_visible(one, place)
