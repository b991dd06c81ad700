"""The door of SCIM: who asks, bounded reading, and errors in SCIM's own form.

The library that knows SCIM's schemas takes most of a second to load, so it is loaded with the first request.
"""

import asyncio
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from starlette.types import Receive, Scope, Send

from everproof.authorize import Authorizer
from everproof.identity import Identity
from everproof.identity.provisioners import PREFIX, Provisioners
from everproof.kernel.clock import Clock
from everproof.kernel.errors import Error, InputError
from everproof.kernel.words import Proof
from everproof.keys import SigningKeys
from everproof.provisioning import Provisioning
from everproof.provisioning.dialects import Dialect, dialect_of
from everproof.server.caller import Callers
from everproof.server.http import BareRoute, Call, Reply
from everproof.server.http.body import UnsupportedMediaError, json_reader, read_body
from everproof.server.http.call import address_of, request_id, send_reply
from everproof.server.http.route import Declaration
from everproof.server.scim.bounds import MAX_BODY
from everproof.storage import Storage

if TYPE_CHECKING:
    from everproof.server.scim.service import Service

PATH: Final = "/scim/v2"
MEDIA: Final = frozenset({"application/scim+json", "application/json"})
WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
DOCUMENTS: Final = frozenset({"ServiceProviderConfig", "ResourceTypes", "Schemas"})
"""What takes no body, whatever the method."""

LARGE: Final = 65_536
"""Bytes of a body that is read beside what else goes on: it takes milliseconds."""

MAX_DEPTH: Final = 64
"""Of values within values: the deepest honest one, a bulk of people with addresses, has six."""

_json: Final = json_reader(Any)


class ScimDoor:
    """Where provisioners come in."""

    def __init__(
        self,
        *,
        authorizer: Authorizer,
        identity: Identity,
        provisioning: Provisioning,
        callers: Callers,
        storage: Storage,
        signing: SigningKeys,
        clock: Clock,
        issuer: str,
        dialects: Mapping[str, Dialect],
    ) -> None:
        self._callers = callers
        self._provisioners = Provisioners(identity.directory, clock, is_live=identity.credentials.is_live)
        self._directory = identity.directory
        self._dialects = dialects
        self._parts: dict[str, Any] = {
            "authorizer": authorizer,
            "directory": identity.directory,
            "provisioning": provisioning,
            "storage": storage,
            "signing": signing,
            "clock": clock,
            "base": issuer + PATH,
        }
        self._service: Service | None = None
        self._loading = asyncio.Lock()

    def routes(self) -> list[BareRoute]:
        """What is served: everything below one path."""
        declaration = Declaration(
            method="GET",
            path=PATH,
            summary="Keep people and groups (SCIM 2.0)",
            description="RFC 7643, 7644 and 9865. What is there says /scim/v2/Schemas and /scim/v2/ResourceTypes.",
            door="scim",
            problems=(401, 403, 404, 409, 412, 413, 429),
        )
        return [BareRoute(self, declaration), BareRoute(self, declaration, prefix=True)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        service = self._service or await self._loaded()
        from pydantic import ValidationError
        from scim2_models import SCIMException

        from everproof.server.scim.errors import error_reply

        try:
            reply = await self._answer(service, scope, receive)
        except (Error, SCIMException, ValidationError) as error:
            reply = error_reply(error)
        await send_reply(scope, send, reply)

    async def _answer(self, service: "Service", scope: Scope, receive: Receive) -> Reply:
        from everproof.server.scim.asked import Asked, query_of
        from everproof.server.scim.errors import BadSyntaxError

        call = Call(scope)
        proof = self._prove(call)
        body = None
        path = tuple(call.path.removeprefix(PATH).strip("/").split("/"))
        if call.method in WITH_BODY and path[0] not in DOCUMENTS:
            _require_media(call)
            data = await read_body(scope, receive, limit=MAX_BODY)
            try:
                body = _read(data) if len(data) < LARGE else await asyncio.to_thread(_read, data)
            except InputError as error:
                raise BadSyntaxError(error.message, place=error.place) from error
        echo = request_id(scope)
        ref = proof.principal.ref
        asked = Asked(
            method=call.method,
            path=path,
            proof=proof,
            provisioner=ref.id,
            dialect=dialect_of(self._directory.record(ref).attributes, self._dialects) if ref.type == "Service" else
            dialect_of({}, {}),
            query=query_of(scope["query_string"]),
            body=body,
            if_match=call.header(b"if-match"),
            if_none_match=call.header(b"if-none-match"),
            request=echo.decode() if echo else None,
        )  # fmt: skip
        return await service.answer(asked)

    def _prove(self, call: Call) -> Proof:
        """Who asks: by a provisioner's secret, else as at every other door."""
        scheme, _, value = (call.header(b"authorization") or "").partition(" ")
        if scheme.lower() == "bearer" and value.startswith(PREFIX):
            return self._provisioners.verify(value, address=address_of(call.scope))
        return self._callers.prove(call.scope)

    async def _loaded(self) -> "Service":
        async with self._loading:
            if self._service is None:
                module = await asyncio.to_thread(importlib.import_module, "everproof.server.scim.service")
                made: Service = await asyncio.to_thread(lambda: module.Service(**self._parts))
                self._service = made
            return self._service


def error_form(path: str, error: Error) -> Reply | None:
    """An error of a request to this door that did not come so far."""
    if path != PATH and not path.startswith(f"{PATH}/"):
        return None
    from everproof.server.scim.errors import error_reply

    return error_reply(error)


def _read(data: bytes) -> Any:
    """What a body says, if it is flat enough that whoever walks through it comes back."""
    value = _json(data)
    level, depth = [value], 0
    while level := [one for one in level if isinstance(one, dict | list)]:
        depth += 1
        if depth > MAX_DEPTH:
            raise InputError(f"more than {MAX_DEPTH} values are within one another", place="body")
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    return value


def _require_media(call: Call) -> None:
    media = (call.header(b"content-type") or "").partition(";")[0].strip().lower()
    if media not in MEDIA:
        raise UnsupportedMediaError("the body must be application/scim+json", place="header content-type")
