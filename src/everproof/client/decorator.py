"""`@client.requires(action, resource=…)`: a plain function that is called only if its caller may.

Who calls is whoever a middleware of ours has let in, unless ``subject`` says otherwise. Anything that is not a string
or an entity is called with the function's own arguments: ``resource=lambda order_id: f"Route::orders/{order_id}"``.
"""

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from everproof.client.answers import Entity, Named
from everproof.client.guard import NotProvenError, caller, require_scope
from everproof.client.questions import Question

if TYPE_CHECKING:
    from everproof.client.asynchronous import AsyncClient
    from everproof.client.synchronous import Client

T = TypeVar("T")
Given = Callable[..., Any]


def guarded(
    client: "Client",
    action: str,
    resource: Named | Given,
    *,
    subject: Named | Given | None,
    context: Callable[..., Mapping[str, Any]] | None,
) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """The decorator for plain functions.

    Raises:
        TypeError: what is decorated does its work only later, when nobody asks any more.
    """

    def decorate(function: Callable[..., T]) -> Callable[..., T]:
        if inspect.iscoroutinefunction(function):
            raise TypeError("a coroutine function wants AsyncClient.requires")
        _require_prompt(function)
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> T:
            bound = signature.bind(*args, **kwargs)
            asked = _question(bound, action=action, resource=resource, subject=subject, context=context)
            client.require(asked.subject, asked.action, asked.resource, asked.context)
            return function(*args, **kwargs)

        return call

    return decorate


def guarded_async(
    client: "AsyncClient",
    action: str,
    resource: Named | Given,
    *,
    subject: Named | Given | None,
    context: Callable[..., Mapping[str, Any]] | None,
) -> Callable[[Callable[..., Awaitable[T]]], Callable[..., Awaitable[T]]]:
    """The decorator for coroutine functions.

    Raises:
        TypeError: what is decorated is none.
    """

    def decorate(function: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
        if not inspect.iscoroutinefunction(function):
            raise TypeError("a plain function wants Client.requires")
        signature = inspect.signature(function)

        @functools.wraps(function)
        async def call(*args: Any, **kwargs: Any) -> T:
            bound = signature.bind(*args, **kwargs)
            asked = _question(bound, action=action, resource=resource, subject=subject, context=context)
            await client.require(asked.subject, asked.action, asked.resource, asked.context)
            return await function(*args, **kwargs)

        return call

    return decorate


def _question(
    bound: inspect.BoundArguments,
    *,
    action: str,
    resource: Named | Given,
    subject: Named | Given | None,
    context: Callable[..., Mapping[str, Any]] | None,
) -> Question:
    """The question that a call is, asked about the arguments that the function will see."""
    bound.apply_defaults()

    def made(given: Named | Given) -> Named:
        named: Named = given if isinstance(given, str | Entity) else given(*bound.args, **bound.kwargs)
        return named

    if subject is None:
        who = caller.get()
        if who is None:
            raise NotProvenError("nobody calls: no middleware of Everproof has let this in", todo="give a subject")
        require_scope(who, action)
        about: Named = who.subject
    else:
        about = made(subject)
    said = context(*bound.args, **bound.kwargs) if context is not None else {}
    return Question(about, action, made(resource), said)


def _require_prompt(function: Callable[..., Any]) -> None:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError("a generator does its work after it was called: decorate what it calls")
