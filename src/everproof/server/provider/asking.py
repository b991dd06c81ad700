"""What the provider's doors have in common: forms, and the decision who signs in to what."""

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from starlette.types import Receive, Scope

from everproof.authorize import Denied
from everproof.identity.oauth import InvalidRequestError
from everproof.identity.provider.errors import InvalidGrantError
from everproof.identity.provider.requests import single
from everproof.kernel.words import Action, Fact, Proof
from everproof.server.denial import explained
from everproof.server.http.body import form_pairs, read_body, require_media
from everproof.server.http.call import FORM

SIGN_IN: Final = Action("identity:sign-in")

MAX_FORM: Final = 64 * 1024
"""Bytes, as at the token endpoint."""

Flow: TypeAlias = Literal["code", "device", "token"]
"""At a browser, for a device, or for what was allowed a moment before to be fetched."""


class RefusedGrantError(InvalidGrantError):
    """Policy does not let this person sign in to this client, by now."""

    def __init__(self, denied: Denied) -> None:
        super().__init__(denied.reason)
        self.extra = {"explanation": explained(denied)}


def flow(proof: Proof, name: Flow) -> list[Fact]:
    """By which way somebody signs in to a client."""
    return [Fact("flow", name, proof.at, "provider")]


async def read_form(scope: Scope, receive: Receive) -> dict[str, str]:
    """The fields of a form that have a value.

    Raises:
        InvalidRequestError: a field is there twice.
        InputError: not a form.
    """
    require_media(scope, FORM)
    return once(form_pairs(await read_body(scope, receive, limit=MAX_FORM)))


def once(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """The fields that have a value.

    Raises:
        InvalidRequestError: one is there twice.
    """
    fields, doubled = single(pairs)
    if doubled:
        raise InvalidRequestError("the field is there twice", place=min(doubled))
    return fields


def header(scope: Scope, name: bytes) -> str | None:
    """The one value of a header.

    Raises:
        InvalidRequestError: it stands there twice.
    """
    found = [value for key, value in scope["headers"] if key == name]
    if len(found) > 1:
        raise InvalidRequestError("the header is given more than once", place=f"header {name.decode()}")
    return found[0].decode("latin-1") if found else None


def required(fields: Mapping[str, str], name: str) -> str:
    """A field that must be there.

    Raises:
        InvalidRequestError: it is not.
    """
    if name not in fields:
        raise InvalidRequestError("the field is missing", place=name)
    return fields[name]
