"""Errors in SCIM's own form: RFC 7644, section 3.12."""

import json
from typing import Any, Final

import msgspec
from pydantic import ValidationError
from scim2_models import Error as Said
from scim2_models import SCIMException

from everproof.kernel.errors import ConflictError, Error, InputError, NotFoundError
from everproof.provisioning.records import OutdatedError
from everproof.server.http.call import Reply

MEDIA: Final = "application/scim+json"
SCHEMA: Final = "urn:ietf:params:scim:api:messages:2.0:Error"

NOT_MODIFIED: Final = 304


class ScimError(Error):
    """What SCIM has a word for. ``scim_type`` is that word."""

    code = "scim"

    def __init__(
        self, message: str, *, scim_type: str = "", status: int = 400, place: str | None = None, todo: str | None = None
    ) -> None:
        super().__init__(message, place=place, todo=todo)
        self.status = status  # type: ignore[misc]  # what SCIM says it with
        self.scim_type = scim_type


class NotModifiedError(Error):
    """The client has it already: no error, but no answer with a body either."""

    status = NOT_MODIFIED

    def __init__(self, version: str) -> None:
        super().__init__("not modified")
        self.headers = {"etag": version}


class BadSyntaxError(ScimError):
    """The body is not what is asked for."""

    def __init__(self, message: str, *, place: str | None = None) -> None:
        super().__init__(message, scim_type="invalidSyntax", place=place)


class BadFilterError(ScimError):
    """A filter that is not one, or asks too much."""

    def __init__(self, message: str) -> None:
        super().__init__(message, scim_type="invalidFilter", place="filter")


def scim_error(status: int, detail: str, scim_type: str = "") -> dict[str, Any]:
    """An error as SCIM says it."""
    said = {"schemas": [SCHEMA], "status": str(status), "detail": detail}
    return said | ({"scimType": scim_type} if scim_type else {})


def said_of(error: Error | SCIMException | ValidationError) -> dict[str, Any]:
    """What is said of an error of ours, of the library's, or of what it found in a body."""
    if isinstance(error, ValidationError):
        first = Said.from_validation_errors(error)[0]
        return scim_error(first.status or 400, first.detail or "", first.scim_type or "")
    if isinstance(error, SCIMException):
        return scim_error(error.status, error.detail, error.scim_type)
    detail = f"{error}: {error.todo}" if error.todo else str(error)
    return scim_error(error.status, detail, _type_of(error))


def error_reply(error: Error | SCIMException | ValidationError) -> Reply:
    """The answer that an error is."""
    headers = dict(getattr(error, "headers", {}))
    if isinstance(error, NotModifiedError):
        return Reply(status=NOT_MODIFIED, headers=headers)
    said = said_of(error)
    return Reply(json.dumps(said).encode(), status=int(said["status"]), media=MEDIA, headers=headers)


def reply_of(value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    """``value`` as an answer of this door."""
    return Reply(_ENCODER.encode(value), status=status, media=MEDIA, headers=headers)


_ENCODER: Final = msgspec.json.Encoder()


def _type_of(error: Error) -> str:
    if isinstance(error, ScimError):
        return error.scim_type
    if isinstance(error, OutdatedError | NotFoundError):
        return ""
    if isinstance(error, ConflictError):
        return "uniqueness"
    return "invalidValue" if isinstance(error, InputError) and error.status == 400 else ""  # noqa: PLR2004
