"""Bulk: RFC 7644, section 3.7. Each operation is a request of its own, with its own decision and commit."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
from pydantic import ValidationError
from scim2_models import SCIMException

from everproof.kernel.errors import Error
from everproof.server.http.call import Reply
from everproof.server.scim.asked import Asked
from everproof.server.scim.bounds import MAX_OPERATIONS
from everproof.server.scim.errors import BadSyntaxError, ScimError, error_reply, reply_of

REQUEST: Final = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
RESPONSE: Final = "urn:ietf:params:scim:api:messages:2.0:BulkResponse"
METHODS: Final = ("POST", "PUT", "PATCH", "DELETE")
_REFERENCE: Final = "bulkId:"
_IN_PATH: Final = re.compile(r"bulkId:([^/]+)")

Answer = Callable[[Asked], Awaitable[Reply]]


class Bulk:
    """Does the operations of one request, in the order in which their references allow them to be done."""

    def __init__(self, answer: Answer, base: str) -> None:
        self._answer = answer
        self._base = base

    async def __call__(self, asked: Asked) -> Reply:
        """Do them all, or until as many have failed as the client puts up with."""
        operations, most = _read(asked.body)
        references = [_references(one.get("data")) | _in_path(one) for one in operations]
        pending = {one["bulkId"] for one in operations if isinstance(one.get("bulkId"), str)}
        made: dict[str, str] = {}
        results: dict[int, dict[str, Any]] = {}
        waiting = list(range(len(operations)))
        errors = 0
        while waiting and (most is None or errors < most):
            # What goes round in a circle is done in its turn, and fails for what is not there.
            at = next((one for one in waiting if pending.isdisjoint(references[one])), waiting[0])
            waiting.remove(at)
            results[at] = await self._one(asked, operations[at], made)
            errors += int(results[at]["status"]) >= 400  # noqa: PLR2004
            pending.discard(results[at].get("bulkId", ""))
        done = [results[at] for at in sorted(results)]
        return reply_of({"schemas": [RESPONSE], "Operations": done})

    async def _one(self, asked: Asked, operation: Mapping[str, Any], made: dict[str, str]) -> dict[str, Any]:
        result = {name: operation[name] for name in ("method", "bulkId") if isinstance(operation.get(name), str)}
        try:
            one = _asked(asked, operation, made)
            reply = await self._answer(one)
        except (Error, SCIMException, ValidationError) as error:
            reply = error_reply(error)
            path = str(operation.get("path", ""))
            if result.get("method") != "POST":
                result["location"] = self._base + path
        else:
            location = reply.headers.get("location", "") or self._base + "/" + "/".join(one.path)
            result["location"] = location
            if version := reply.headers.get("etag"):
                result["version"] = version
            if one.method == "POST":
                made[str(operation["bulkId"])] = location.rsplit("/", 1)[-1]
        result["status"] = str(reply.status)
        if reply.status >= 300:  # noqa: PLR2004 - the response is to be there for what has not been done
            result["response"] = msgspec.json.decode(reply.body)
        return result


def _read(body: Any) -> tuple[list[dict[str, Any]], int | None]:
    if not isinstance(body, dict) or REQUEST not in (body.get("schemas") or ()):
        raise BadSyntaxError(f"not a BulkRequest with the schema {REQUEST}")
    operations = body.get("Operations")
    if not isinstance(operations, list) or not all(isinstance(one, dict) for one in operations):
        raise BadSyntaxError("no list of operations", place="Operations")
    if len(operations) > MAX_OPERATIONS:
        raise ScimError(f"more than {MAX_OPERATIONS} operations", status=413, place="Operations")
    names = [one["bulkId"] for one in operations if "bulkId" in one]
    if len(set(map(str, names))) != len(names):
        raise BadSyntaxError("two operations have the same bulkId", place="Operations")
    most = body.get("failOnErrors")
    if most is not None and (type(most) is not int or most < 1):
        raise BadSyntaxError("not a number of errors", place="failOnErrors")
    return operations, most


def _asked(asked: Asked, operation: Mapping[str, Any], made: Mapping[str, str]) -> Asked:
    method, path = str(operation.get("method", "")).upper(), operation.get("path")
    if method not in METHODS or not isinstance(path, str) or not path.startswith("/"):
        raise BadSyntaxError("an operation has a method and a path", place="Operations")
    if method == "POST" and not isinstance(operation.get("bulkId"), str):
        raise BadSyntaxError("a POST has a bulkId", place="Operations")
    parts = tuple(_IN_PATH.sub(lambda match: _named(match[1], made), path).strip("/").split("/"))
    # A kind and an id: a thousand searches in one request would be looked up for nobody.
    if parts[:1] not in {("Users",), ("Groups",)} or len(parts) > 2 or ".search" in parts:  # noqa: PLR2004
        raise ScimError("a bulk changes users and groups alone", scim_type="invalidPath", place="path")
    version = operation.get("version")
    return msgspec.structs.replace(
        asked, method=method, path=parts, query={}, body=_resolved(operation.get("data"), made),
        if_match=version if isinstance(version, str) else None, if_none_match=None,
    )  # fmt: skip


def _named(name: str, made: Mapping[str, str]) -> str:
    if (id_ := made.get(name)) is None:
        raise ScimError(f"nothing was made as {name[:64]}", status=409, scim_type="invalidValue", place="bulkId")
    return id_


def _resolved(value: Any, made: Mapping[str, str]) -> Any:
    if isinstance(value, str) and value.startswith(_REFERENCE):
        return _named(value.removeprefix(_REFERENCE), made)
    if isinstance(value, dict):
        return {name: _resolved(one, made) for name, one in value.items()}
    return [_resolved(one, made) for one in value] if isinstance(value, list) else value


def _in_path(operation: Mapping[str, Any]) -> set[str]:
    return set(_IN_PATH.findall(str(operation.get("path", ""))))


def _references(value: Any) -> set[str]:
    if isinstance(value, str):
        return {value.removeprefix(_REFERENCE)} if value.startswith(_REFERENCE) else set()
    if isinstance(value, dict):
        value = list(value.values())
    return set().union(*map(_references, value)) if isinstance(value, list) else set()
