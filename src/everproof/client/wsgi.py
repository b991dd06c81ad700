"""WSGI middleware: Flask, Django, Pyramid. Nothing passes that was not decided."""

from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Any, TypeAlias

from everproof.client.asgi import found_in
from everproof.client.guard import Caller, Guard, Replays, admitted, caller, problem, require_scope
from everproof.client.routes import Mapper, Rule, UnclearPathError, require_plain, table
from everproof.client.synchronous import Client

Environ: TypeAlias = dict[str, Any]
StartResponse: TypeAlias = Callable[..., Any]
App: TypeAlias = Callable[[Environ, StartResponse], Iterable[bytes]]


class EverproofWSGI:
    """Lets a request through to ``app`` only if its caller is proven and may do what it is.

    The application finds the caller as ``environ["everproof.caller"]``, and below as `everproof.client.guard.caller`.
    """

    def __init__(
        self,
        app: App,
        client: Client,
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

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Decide, then serve or refuse."""
        environ.pop("everproof.caller", None)
        try:
            who = self._admit(environ)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is no yes
            status, headers, body = problem(error)
            sent = [*headers.items(), ("content-length", str(len(body)))]
            start_response(f"{status} {HTTPStatus(status).phrase}", sent)
            return [body]
        environ["everproof.caller"] = who
        before = caller.set(who)
        try:
            return _Body(self._app(environ, start_response), who)
        finally:
            caller.reset(before)

    def _admit(self, environ: Environ) -> Caller | None:
        method = str(environ["REQUEST_METHOD"])
        raw = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        try:
            path = raw.encode("latin-1").decode()
        except UnicodeError as error:
            raise UnclearPathError("a path that is not UTF-8") from error
        target = str(environ.get("RAW_URI") or environ.get("REQUEST_URI") or "")
        require_plain(path, target.partition("?")[0].encode("latin-1", "replace"))
        found = found_in(self._routes, method, path)
        if found.public:
            return None
        shown = self._guard.shown(_headers(environ), method=method, path=path)
        who = self._guard.prove(shown, self._client.introspect(shown.token))
        require_scope(who, found.action)
        decision = self._client.evaluate(who.subject, found.action, found.resource, found.context)
        return admitted(who, decision, found)


class _Body:
    """The application's answer, made with its caller at hand: a generator runs only when it is read."""

    def __init__(self, body: Iterable[bytes], who: Caller | None) -> None:
        self._body = body
        self._who = who

    def __iter__(self) -> Iterator[bytes]:
        parts = iter(self._body)
        while True:
            before = caller.set(self._who)
            try:
                part = next(parts)
            except StopIteration:
                return
            finally:
                caller.reset(before)
            yield part

    def close(self) -> None:
        """Close the application's answer, as it would be without us."""
        close = getattr(self._body, "close", None)
        if close is not None:
            close()


def _headers(environ: Environ) -> list[tuple[str, str]]:
    """The two headers that are looked at. What stood there twice was joined with a comma, which neither may have."""
    found = []
    for name, key in (("authorization", "HTTP_AUTHORIZATION"), ("dpop", "HTTP_DPOP")):
        if key in environ:
            value = str(environ[key])
            found += [(name, value)] * (2 if "," in value else 1)
    return found
