"""From what a provisioner calls people and groups to ids that nobody can mistake for another."""

import hashlib
import re
import unicodedata
from collections.abc import Callable
from typing import Final

from everproof.identity.names import group_id, principal_id, shown_name
from everproof.kernel.errors import ConflictError, InputError

MAX_NAME: Final = 256
MAX_TRIES: Final = 1_000
"""How often one name is given to somebody new before it is refused."""

_PROVISIONER: Final = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,30}[a-z0-9])?")
_NOT_PLAIN: Final = re.compile(r"[^a-z0-9]+")
_MAX_SLUG: Final = 80


def user_key(user_name: str) -> str:
    """A ``userName`` as it is compared, and the id of whom it is given to first: in lower case, in ASCII.

    Raises:
        InputError: it could be mistaken for another.
    """
    return principal_id(user_name.lower(), place="userName")


def group_key(name: str) -> str:
    """A ``displayName`` of a group as it is compared.

    Raises:
        InputError: it is empty, too long, or has what cannot be seen.
    """
    if not name:
        raise InputError("a group has no name", place="displayName")
    return unicodedata.normalize("NFKC", shown_name(name, place="displayName")).casefold()


def external(text: str | None) -> str | None:
    """An ``externalId``, if it can be kept.

    Raises:
        InputError: it is too long, or has what cannot be seen.
    """
    if not text:
        return None
    if len(text) > MAX_NAME or not text.isprintable():
        raise InputError(f"not an id of at most {MAX_NAME} visible characters", place="externalId")
    return text


def free_principal(key: str, is_taken: Callable[[str], bool]) -> str:
    """The id for somebody called ``key``: itself, or with a number where somebody who has left had it.

    Who comes later is somebody else, and must not come by the keys, the grants or the past of whoever left.
    """
    for number in range(1, MAX_TRIES):
        id_ = key if number == 1 else f"{key}-{number}"
        if not is_taken(id_):
            return principal_id(id_, place="userName")
    raise ConflictError("the name was given too often", place="userName")


def free_group(provisioner: str, name: str, is_taken: Callable[[str], bool]) -> str:
    """The id for a group: the provisioner's, a slash, and its name in plain letters.

    So no provisioner names a group that another or an administrator made, and one in other letters than plain ones,
    which could look like another, has a mark that no plain one has.

    Raises:
        InputError: the provisioner's own id cannot stand before others.
    """
    if _PROVISIONER.fullmatch(provisioner) is None:
        todo = "put it on record as a service with a short plain name, such as okta"
        raise InputError(f"{provisioner} cannot be a provisioner of groups", place="provisioner", todo=todo)
    key = group_key(name)
    plain = _NOT_PLAIN.sub("-", key)[:_MAX_SLUG].strip("-")
    mark = hashlib.sha256(key.encode()).hexdigest()
    names = [plain] if plain and key.isascii() else []
    names += [f"{plain}-{mark[:length]}".lstrip("-") for length in (8, 16, 32)]
    for one in names:
        id_ = f"{provisioner}/{one}"
        if not is_taken(id_):
            return group_id(id_)
    raise ConflictError("the name was given already", place="displayName")  # pragma: no cover - 128 bits met twice
