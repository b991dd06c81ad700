"""gRPC interceptors for servers, with threads and with asyncio. grpcio is the extra `everproof[grpc]`.

A call brings its token and its proof as the metadata ``authorization`` and ``dpop``; the proof is made for POST and
the service's address with the method's path, such as ``https://orders.example/shop.Orders/Get``.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, TypeAlias

from everproof.client.answers import Decision, DeniedError, Named
from everproof.client.asynchronous import AsyncClient
from everproof.client.guard import (
    Caller,
    Guard,
    NotProvenError,
    Replays,
    admitted,
    caller,
    require_scope,
)
from everproof.client.routes import Found
from everproof.client.synchronous import Client

try:
    import grpc
except ImportError as error:
    raise ImportError("gRPC is not installed: pip install 'everproof[grpc]'") from error

Methods: TypeAlias = Mapping[str, tuple[str, Named]]
"""By the full name of a method (``/shop.Orders/Get``), its action and its resource. Others are refused."""


class EverproofInterceptor(grpc.ServerInterceptor):  # type: ignore[misc] # published without types
    """Before a server with threads."""

    def __init__(self, client: Client, *, audience: str, methods: Methods, replays: Replays | None = None) -> None:
        """``audience`` is the service's own address, by which its callers know it: https://HOST."""
        self._client = client
        self._guard = Guard(audience, server=client.server, replays=replays)
        self._methods = dict(methods)

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        """Decide in the thread of the call, and not in the one that all calls come by."""
        handler = continuation(details)
        if handler is None:
            return None
        kind = _kind(handler)
        inner = getattr(handler, kind)
        many = handler.response_streaming

        def behave(request: Any, context: Any) -> Any:
            who = self._admitted(details, context)
            before = caller.set(who)
            try:
                return inner(request, context)
            finally:
                caller.reset(before)

        def stream(request: Any, context: Any) -> Iterator[Any]:
            who = self._admitted(details, context)
            answers: Iterator[Any] | None = None
            while True:
                before = caller.set(who)
                try:
                    answers = iter(inner(request, context)) if answers is None else answers
                    one = next(answers)
                except StopIteration:
                    return
                finally:
                    caller.reset(before)
                yield one

        make = getattr(grpc, f"{kind}_rpc_method_handler")
        return make(
            stream if many else behave,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _admitted(self, details: Any, context: Any) -> Caller:
        try:
            found = _found(self._methods, details.method)
            shown = self._guard.shown(_headers(details), method="POST", path=details.method)
            who = self._guard.prove(shown, self._client.introspect(shown.token))
            require_scope(who, found.action)
            decision = self._client.evaluate(who.subject, found.action, found.resource)
            return admitted(who, decision, found)
        except Exception as error:
            code, text, metadata = _status(error)
            context.set_trailing_metadata(metadata)
            context.abort(code, text)  # it raises
            raise


class AsyncEverproofInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc] # published without types
    """Before a server on asyncio."""

    def __init__(self, client: AsyncClient, *, audience: str, methods: Methods, replays: Replays | None = None) -> None:
        """``audience`` is the service's own address, by which its callers know it: https://HOST."""
        self._client = client
        self._guard = Guard(audience, server=client.server, replays=replays)
        self._methods = dict(methods)

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], details: Any) -> Any:
        """Decide, then serve or refuse."""
        caller.set(None)
        try:
            found = _found(self._methods, details.method)
            shown = self._guard.shown(_headers(details), method="POST", path=details.method)
            who = self._guard.prove(shown, await self._client.introspect(shown.token))
            require_scope(who, found.action)
            decision = await self._client.evaluate(who.subject, found.action, found.resource)
            who = admitted(who, decision, found)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is no yes
            return await _refusing(continuation, details, error)
        caller.set(who)  # a call is a task of its own
        return await continuation(details)


async def _refusing(continuation: Callable[[Any], Awaitable[Any]], details: Any, error: Exception) -> Any:
    handler = await continuation(details)
    if handler is None:
        return None
    code, text, metadata = _status(error)

    async def refuse(_request: Any, context: Any) -> Any:
        context.set_trailing_metadata(metadata)
        await context.abort(code, text)

    async def refuse_all(_request: Any, context: Any) -> Any:
        context.set_trailing_metadata(metadata)
        await context.abort(code, text)
        yield  # pragma: no cover - it makes this a generator

    make = getattr(grpc, f"{_kind(handler)}_rpc_method_handler")
    return make(
        refuse_all if handler.response_streaming else refuse,
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )


def _kind(handler: Any) -> str:
    asks = "stream" if handler.request_streaming else "unary"
    return f"{asks}_{'stream' if handler.response_streaming else 'unary'}"


def _found(methods: Methods, method: str) -> Found:
    known = methods.get(method)
    if known is None:
        raise DeniedError(Decision(allowed=False, reason="this method is none that this service knows"))
    return Found(action=known[0], resource=known[1])


def _headers(details: Any) -> list[tuple[str, str]]:
    found = []
    for name, value in details.invocation_metadata or ():
        if name in {"authorization", "dpop"}:
            found.append((name, value if isinstance(value, str) else ""))
    return found


def _status(error: Exception) -> tuple[Any, str, tuple[tuple[str, str], ...]]:
    if isinstance(error, NotProvenError):
        return grpc.StatusCode.UNAUTHENTICATED, error.message, tuple(error.headers.items())
    if isinstance(error, DeniedError):
        text = f"{error.message}; {error.todo}" if error.todo else error.message
        return grpc.StatusCode.PERMISSION_DENIED, text, ()
    return grpc.StatusCode.UNAVAILABLE, "it cannot be decided now whether you may", ()
