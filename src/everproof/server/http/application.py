"""The ASGI application: finds the route, bounds the time, turns errors into answers."""

import asyncio
from collections.abc import Callable, Iterable
from functools import cache
from typing import Final, Protocol

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from everproof.kernel.errors import Error, NotFoundError, UnauthenticatedError, UnavailableError
from everproof.server.http.body import DisconnectedError
from everproof.server.http.call import Reply, address_of, send_reply
from everproof.server.http.openapi import document
from everproof.server.http.problem import problem_reply, unexpected
from everproof.server.http.route import BareRoute, Route

REQUEST_SECONDS: Final = 20.0
"""The longest that reading a request and answering it may take; a slow client costs a connection no longer."""

CHALLENGE: Final = 'DPoP algs="ES256 EdDSA"'
"""How to prove oneself here, where an error does not say more."""

_log: Final = structlog.get_logger("everproof.http")


class MethodNotAllowedError(Error):
    """The path exists, but not for this method."""

    code = "method-not-allowed"
    status = 405

    def __init__(self, allowed: set[str]) -> None:
        super().__init__(f"use {' or '.join(sorted(allowed))} here")
        self.headers = {"allow": ", ".join(sorted(allowed))}


class ErrorForm(Protocol):
    """How a door's protocol says an error: the reply, or None for problem details."""

    def __call__(self, path: str, error: Error) -> Reply | None:
        """The reply for ``error`` of a request for ``path``."""
        ...


class Pages(Protocol):
    """How errors are said to whoever looks at this server with a browser."""

    def __call__(self, scope: Scope, error: Error) -> Reply | None:
        """The page for ``error`` of a request; None where it is not a browser that should be answered by one."""
        ...


class Application:
    """All routes of the server as one ASGI application."""

    def __init__(
        self,
        routes: Iterable[Route | BareRoute],
        *,
        title: str,
        version: str,
        forms: Iterable[ErrorForm] = (),
        pages: Pages | None = None,
        seconds: float = REQUEST_SECONDS,
        noted: Callable[[str, str, Error], None] | None = None,
    ) -> None:
        """``noted`` is told of each error that a request ends with: its route, the caller's address, the error."""
        self._bare: dict[tuple[str, str], ASGIApp] = {}
        self._exact: dict[tuple[str, str], ASGIApp] = {}
        self._patterns: list[tuple[str, Route]] = []
        self._prefixes: list[tuple[str, ASGIApp]] = []
        self._forms = tuple(forms)
        self._pages = pages
        self._seconds = seconds
        self._noted = noted
        self._paths: set[str] = set()
        declarations = []
        for route in (*routes, Route("GET", "/openapi.json", self._openapi, door="server", needs_proof=False)):
            declaration = route.declaration
            declarations.append(declaration)
            if isinstance(route, BareRoute) and route.prefix:
                self._prefixes.append((declaration.path + "/", route.app))
            elif isinstance(route, BareRoute):
                self._bare[declaration.method, declaration.path] = route.app
            elif "{" not in declaration.path:
                self._exact[declaration.method, declaration.path] = route
            else:
                self._patterns.append((declaration.method, route))
        self._document = cache(lambda: document(declarations, title=title, version=version))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        assert scope["type"] == "http"
        try:
            bare = self._bare.get((scope["method"], scope["path"]))
            if bare is not None:  # the listener bounds its time, without a timer of its own
                scope["route"] = scope["path"]
                await bare(scope, receive, send)
            else:
                async with asyncio.timeout(self._seconds):
                    await self._find(scope)(scope, receive, send)
        except DisconnectedError:
            pass
        except Error as error:
            if self._noted is not None:
                self._noted(scope.get("route", ""), address_of(scope), error)
            await send_reply(scope, send, self._answer(scope, error))
        except TimeoutError:
            late = UnavailableError("the request took too long", todo="send it again, and faster")
            await send_reply(scope, send, self._answer(scope, late, {"connection": "close"}))
        except Exception:  # noqa: BLE001 - it is told to the operator's log, and to nobody else
            name, reply = unexpected(scope)
            _log.exception("unexpected", request=name, method=scope["method"], path=scope["path"])
            await send_reply(scope, send, reply)

    def _find(self, scope: Scope) -> ASGIApp:
        method, path = scope["method"], scope["path"]
        for prefix, app in self._prefixes:
            if path.startswith(prefix):
                scope["route"] = prefix
                return app
        exact = self._exact.get(("GET" if method == "HEAD" else method, path))
        if exact is not None:
            scope["route"] = path
            scope["path_params"] = {}
            return exact
        allowed = {known for known, other in (*self._exact, *self._bare) if other == path}
        for known, route in self._patterns:
            if (match := route.pattern.match(path)) is not None:
                if known == method or (known == "GET" and method == "HEAD"):
                    scope["route"] = route.declaration.path
                    scope["path_params"] = match.groupdict()
                    return route
                allowed.add(known)
        if not allowed:
            raise NotFoundError("there is nothing at this address", todo="see /openapi.json")
        raise MethodNotAllowedError(allowed)

    def _answer(self, scope: Scope, error: Error, headers: dict[str, str] | None = None) -> Reply:
        path = scope["path"]
        said = self._pages(scope, error) if self._pages is not None else None
        for form in self._forms:
            said = said or form(path, error)
        if said is None:
            if error.status >= 500:  # noqa: PLR2004
                _log.warning("refused", path=path, code=error.code, detail=error.message)
            said = problem_reply(error, headers=getattr(error, "headers", None), extra=getattr(error, "extra", None))
        said.headers = {**(headers or {}), **said.headers}
        if said.status == UnauthenticatedError.status:  # RFC 9110, section 15.5.2: it says how to prove oneself
            said.headers.setdefault("www-authenticate", CHALLENGE)
        return said

    async def _openapi(self) -> Reply:
        """This document: every route of the server, as OpenAPI 3.1."""
        return Reply(self._document(), headers={"cache-control": "public, max-age=60"})
