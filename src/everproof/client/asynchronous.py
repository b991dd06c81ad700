"""The client for asyncio."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from everproof.client.answers import Decision, DeniedError, Entity, Introspection, Named, entity
from everproof.client.flow import AsyncDriver, Flow
from everproof.client.questions import Question, Semantic, sought
from everproof.client.synchronous import FOUND, Shared

T = TypeVar("T")


class AsyncClient(Shared):
    """Asks the server, on one event loop: the one of its first question.

    Every question raises `UnavailableError` where there is no answer in time or it cannot be read,
    `UnauthenticatedError` where the server does not take this client for anybody, and `InputError` where it cannot be
    asked like that. Nothing of that is a yes.
    """

    _driving: AsyncDriver | None = None
    _loop: asyncio.AbstractEventLoop | None = None

    async def evaluate(
        self, subject: Named, action: str, resource: Named, context: Mapping[str, Any] | None = None
    ) -> Decision:
        """May ``subject`` do ``action`` to ``resource``? The answer is recorded before it is given."""
        question = Question(subject, action, resource, context or {})
        known = self._known(question)
        return known if known is not None else await self.run(self._questions.evaluate(question))

    async def require(
        self, subject: Named, action: str, resource: Named, context: Mapping[str, Any] | None = None
    ) -> Decision:
        """As `evaluate`, for those who go on only with a yes.

        Raises:
            DeniedError: it was a no; the error says why, and what to do.
        """
        decision = await self.evaluate(subject, action, resource, context)
        if not decision.allowed:
            raise DeniedError(decision, place=f"{action} on {entity(resource)}")
        return decision

    async def evaluations(self, questions: Sequence[Question], *, semantic: Semantic = "execute_all") -> list[Decision]:
        """Ask at most 500 questions at once; the answers are in their order."""
        return await self.run(self._questions.evaluations(questions, semantic))

    async def introspect(self, token: str) -> Introspection:
        """What an access token is worth now (RFC 7662)."""
        known = self.cache.token(token) if self.cache is not None else None
        return known if known is not None else await self.run(self._questions.introspect(token))

    async def search_subjects(
        self,
        type: str,  # noqa: A002 - the standard's word
        action: str,
        resource: Named,
        context: Mapping[str, Any] | None = None,
        *,
        limit: int = FOUND,
    ) -> list[Entity]:
        """Which principals of ``type`` may do ``action`` to ``resource``?"""
        asked = sought(subject=type, action=action, resource=entity(resource), context=context or {})
        return [Entity(one.type, one.id) for one in await self.run(self._questions.search("subject", asked, limit))]

    async def search_resources(
        self,
        subject: Named,
        action: str,
        type: str,  # noqa: A002 - the standard's word
        context: Mapping[str, Any] | None = None,
        *,
        limit: int = FOUND,
    ) -> list[Entity]:
        """To which resources of ``type`` may ``subject`` do ``action``?"""
        asked = sought(subject=entity(subject), action=action, resource=type, context=context or {})
        return [Entity(one.type, one.id) for one in await self.run(self._questions.search("resource", asked, limit))]

    async def search_actions(
        self, subject: Named, resource: Named, context: Mapping[str, Any] | None = None, *, limit: int = FOUND
    ) -> list[str]:
        """What may ``subject`` do to ``resource``?"""
        asked = sought(subject=entity(subject), resource=entity(resource), context=context or {})
        return [one.name for one in await self.run(self._questions.search("action", asked, limit))]

    async def headers(self, method: str, url: str, *, nonce: str = "") -> dict[str, str]:
        """What a request to a service that stands behind Everproof is proven with, once.

        A service that answers 401 with a `DPoP-Nonce` wants them made again with that ``nonce``.
        """
        return await self.run(self._towards(url).shown_to(method, url, nonce))

    def requires(
        self,
        action: str,
        resource: Named | Callable[..., Named],
        *,
        subject: Named | Callable[..., Named] | None = None,
        context: Callable[..., Mapping[str, Any]] | None = None,
    ) -> Callable[[Callable[..., Awaitable[T]]], Callable[..., Awaitable[T]]]:
        """A decorator: the coroutine function is called only if its caller may; see `everproof.client.decorator`."""
        from everproof.client.decorator import guarded_async

        return guarded_async(self, action, resource, subject=subject, context=context)

    async def run(self, flow: Flow[T]) -> T:
        """What a conversation with the server comes to."""
        loop = asyncio.get_running_loop()
        if self._driving is None or self._loop is not loop:  # connections belong to the loop they were made on
            self._driving, self._loop = AsyncDriver(self._context, self._timeout), loop
        return await self._driving.run(flow)

    async def close(self) -> None:
        """Close the connections, and follow the changes no more."""
        if self._following is not None:
            await asyncio.to_thread(self._following.stop)
        if self._driving is not None:
            await self._driving.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
