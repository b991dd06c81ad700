"""Errors as problem details (RFC 9457), and no word of anything that was not meant for the caller."""

from typing import Any, Final

import msgspec
from starlette.types import Scope

from everproof.kernel.errors import Error
from everproof.kernel.ids import new_id
from everproof.server.http.call import Reply, request_id

PROBLEM_JSON: Final = "application/problem+json"


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What went wrong (RFC 9457). ``todo`` is what to do next; ``request`` names the line in the server's log."""

    type: str
    title: str
    status: int
    detail: str = ""
    code: str = ""
    place: str = ""
    todo: str = ""
    request: str = ""
    extra: dict[str, Any] = {}


def problem(error: Error, *, extra: dict[str, Any] | None = None) -> Problem:
    """The problem that an error of ours is."""
    return Problem(
        type=f"urn:everproof:error:{error.code}",
        title=error.code.replace("-", " ").capitalize(),
        status=error.status,
        detail=error.message,
        code=error.code,
        place=error.place or "",
        todo=error.todo or "",
        extra=extra or {},
    )


def problem_reply(error: Error, *, headers: dict[str, str] | None = None, extra: dict[str, Any] | None = None) -> Reply:
    """An error of ours as an answer."""
    return Reply.of(problem(error, extra=extra), status=error.status, media=PROBLEM_JSON, headers=headers)


def unexpected(scope: Scope) -> tuple[str, Reply]:
    """The answer to a fault of our own, and the id under which the log tells what it was."""
    echo = request_id(scope)
    name = echo.decode() if echo is not None else new_id("req")
    fault = Problem(
        type="urn:everproof:error:internal",
        title="Internal error",
        status=500,
        detail="something went wrong here, and nothing was done",
        code="internal",
        todo="tell whoever runs this server the request's id",
        request=name,
    )
    return name, Reply.of(fault, status=500, media=PROBLEM_JSON, headers={"x-request-id": name})
