"""ASGI middleware: Starlette, FastAPI, Litestar, Django, Quart. Nothing passes that was not decided."""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, TypeAlias

from everproof.client.answers import Decision, DeniedError
from everproof.client.asynchronous import AsyncClient
from everproof.client.guard import Caller, Guard, Replays, admitted, caller, problem, require_scope
from everproof.client.routes import Found, Mapper, Rule, require_plain, table

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class EverproofMiddleware:
    """Lets a request through to ``app`` only if its caller is proven and may do what it is.

    The application finds the caller as ``scope["everproof"]``, and everywhere below as `everproof.client.guard.caller`.
    WebSockets are refused: a connection that stays would outlive what it was allowed by.
    """

    def __init__(
        self,
        app: App,
        client: AsyncClient,
        *,
        audience: str,
        routes: Mapper | Iterable[Rule],
        replays: Replays | None = None,
    ) -> None:
        """``audience`` is the service's own address, by which its callers know it: https://HOST."""
        self._app = app
        self._client = client
        self._guard = Guard(audience, server=client.server, replays=replays)
        self._routes = routes if callable(routes) else table(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Decide, then serve or refuse."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        try:
            who = await self._admit(scope)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is no yes
            await _refuse(send, error)
            return
        scope["everproof"] = who
        before = caller.set(who)
        try:
            await self._app(scope, receive, send)
        finally:
            caller.reset(before)

    async def _admit(self, scope: Scope) -> Caller | None:
        """Who is let in; None for what is open to everybody."""
        method, path = str(scope["method"]), str(scope["path"])
        require_plain(path, scope.get("raw_path") or b"")
        found = found_in(self._routes, method, path)
        if found.public:
            return None
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        shown = self._guard.shown(headers, method=method, path=path)
        who = self._guard.prove(shown, await self._client.introspect(shown.token))
        require_scope(who, found.action)
        decision = await self._client.evaluate(who.subject, found.action, found.resource, found.context)
        return admitted(who, decision, found)


def found_in(routes: Mapper, method: str, path: str) -> Found:
    """What a request is.

    Raises:
        DeniedError: it is nothing that is known.
    """
    found = routes(method, path)
    if found is None or not (found.public or found.action):
        reason = "this request is none that this service knows"
        raise DeniedError(Decision(allowed=False, reason=reason, todo="see the service's description"))
    return found


async def _refuse(send: Send, error: Exception) -> None:
    status, headers, body = problem(error)
    sent = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    sent.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": sent})
    await send({"type": "http.response.body", "body": body})
