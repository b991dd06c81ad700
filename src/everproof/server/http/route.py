"""A route is declared once: its method, its path, and an endpoint whose signature is the schema.

An endpoint takes by name what it wants: ``call`` (the ``Call``), ``body`` (a struct, from JSON), ``form`` (a struct,
from an encoded form), ``query`` (a struct), and the parameters of its path. What it returns is sent as JSON.
"""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Final, get_type_hints

import msgspec
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from everproof.kernel.errors import UnauthenticatedError
from everproof.server.http.body import form_reader, json_reader, read_body, require_media
from everproof.server.http.call import FORM, JSON, Call, Reply, certificate_of, send_reply

Endpoint = Callable[..., Awaitable[Any]]

_RESERVED: Final = frozenset({"call", "body", "form", "query", "return"})


class Declaration(msgspec.Struct, frozen=True, kw_only=True):
    """What a route says of itself: all that the OpenAPI document needs."""

    method: str
    path: str
    summary: str
    description: str = ""
    door: str = ""
    body: Any = None
    body_media: str = JSON
    query: Any = None
    parameters: tuple[str, ...] = ()
    answers: tuple[Any, ...] = ()
    """The types of a success; several where the request decides which."""
    answer_media: str = JSON
    status: int = 200
    problems: tuple[int, ...] = ()
    needs_proof: bool = True
    needs_certificate: bool = False


class NoCertificateError(UnauthenticatedError):
    """The route is for callers with a certificate, and the connection has none."""

    code = "no-certificate"
    headers: Final = {"www-authenticate": 'DPoP algs="ES256 EdDSA"'}

    def __init__(self) -> None:
        super().__init__(
            "this address is for callers who come with a certificate",
            todo="connect with one of an authority that a file in .everproof/trust/ names",
        )


class Route:
    """A route through the typed layer.

    Raises:
        TypeError: an endpoint's parameter is neither one of the above nor in the path.
    """

    def __init__(
        self,
        method: str,
        path: str,
        endpoint: Endpoint,
        *,
        door: str,
        media: str = JSON,
        answer: Any = None,
        status: int = 200,
        problems: tuple[int, ...] = (),
        needs_proof: bool = True,
        needs_certificate: bool = False,
    ) -> None:
        hints = get_type_hints(endpoint)
        self.pattern, path_format, _ = compile_path(path)
        parameters = tuple(name for name in inspect.signature(endpoint).parameters if name not in _RESERVED)
        if missing := {name for name in parameters if f"{{{name}}}" not in path_format}:
            raise TypeError(f"{method} {path}: {sorted(missing)} of the endpoint are not in the path")
        body, form, query = hints.get("body"), hints.get("form"), hints.get("query")
        returned = hints.get("return")
        if answer is None and isinstance(returned, type) and issubclass(returned, msgspec.Struct):
            answer = returned
        summary, _, description = (inspect.getdoc(endpoint) or "").partition("\n")
        self.declaration = Declaration(
            method=method,
            path=path_format,
            summary=summary.rstrip("."),
            description=description.strip(),
            door=door,
            body=body or form,
            body_media=FORM if form else JSON,
            query=query,
            parameters=parameters,
            answers=() if answer is None else (answer,),
            answer_media=media,
            status=status,
            problems=problems,
            needs_proof=needs_proof,
            needs_certificate=needs_certificate,
        )
        self._endpoint = endpoint
        self._takes_call = "call" in hints
        self._media = FORM if form else JSON
        self._read = json_reader(body) if body else form_reader(form) if form else None
        self._argument = "body" if body else "form"
        self._query = form_reader(query) if query else None
        self._status = status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the request, run the endpoint, answer."""
        if self.declaration.needs_certificate and certificate_of(scope) is None:
            raise NoCertificateError
        arguments: dict[str, Any] = dict(scope["path_params"])
        if self._query is not None:
            arguments["query"] = self._query(scope["query_string"])
        if self._read is not None:
            require_media(scope, self._media)
            arguments[self._argument] = self._read(await read_body(scope, receive))
        if self._takes_call:
            arguments["call"] = Call(scope)
        result = await self._endpoint(**arguments)
        reply = result if isinstance(result, Reply) else Reply.of(result, status=self._status)
        await send_reply(scope, send, reply)


class BareRoute:
    """A hot endpoint: a bare ASGI application with an exact path, declared for the document like any other."""

    def __init__(self, app: ASGIApp, declaration: Declaration, *, prefix: bool = False) -> None:
        """With ``prefix``, it is served for any method, and for any path that goes on behind its own with a slash."""
        self.prefix = prefix
        self.app = app
        self.declaration = declaration
