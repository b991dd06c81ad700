"""The client for threads."""

import os
import ssl
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit

from everproof.client.answers import Decision, DeniedError, Entity, Introspection, Named, entity
from everproof.client.cache import Cache
from everproof.client.credentials import Credentials
from everproof.client.flow import Driver, Flow, tls
from everproof.client.following import Following
from everproof.client.keys import origin
from everproof.client.questions import Question, Questions, Semantic, sought
from everproof.client.session import Session

T = TypeVar("T")

TIMEOUT_SECONDS: Final = 5.0
"""For one question, with all attempts: whoever waits behind it gives up about then."""
STALENESS_SECONDS: Final = 2.0
"""Two heartbeats: how long after a revocation a remembered answer might still be used, at the very most."""
FOUND: Final = 1_000


class Shared:
    """What both clients are made of."""

    def __init__(
        self,
        server: str,
        credentials: Credentials,
        *,
        ca: str | Path | ssl.SSLContext | None = None,
        timeout: float = TIMEOUT_SECONDS,
        cache_seconds: float = 0,
        staleness_seconds: float = STALENESS_SECONDS,
        own_connection: bool = False,
    ) -> None:
        """Make a client. Nothing is sent before it is asked something.

        Args:
            server: the server's address, as it calls itself: https://HOST or https://HOST:PORT.
            credentials: `ClientKey`, `JobToken` or `HeldToken`.
            ca: the certificate authority to know the server by (a PEM file or text); else those of this machine.
            timeout: seconds for one question, with all attempts.
            cache_seconds: how old a remembered yes may be; 0: nothing is remembered (docs/client.md).
            staleness_seconds: how old the news of the server may be for a remembered yes to be used.
            own_connection: say that no proxy mixes these connections with those of others, and prove the key once for
                each instead of with each request (docs/decisions/0006).
        """
        self._context = tls(ca)
        self._credentials = credentials
        self._services: dict[str, Session] = {}
        self._timeout = timeout
        self.session = Session(server, credentials, own_connection=own_connection)
        self.cache = Cache(seconds=cache_seconds, staleness=staleness_seconds) if cache_seconds > 0 else None
        self._questions = Questions(self.session, self.cache)
        self._following = Following(self.session, self.cache, self._context) if self.cache is not None else None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.session.server})"

    @property
    def server(self) -> str:
        """The server's address."""
        return self.session.server

    def _towards(self, url: str) -> Session:
        """Our standing with the service that ``url`` is of."""
        parts = urlsplit(url)
        audience = origin(f"{parts.scheme}://{parts.netloc}")
        if audience not in self._services:
            self._services[audience] = Session(self.server, self._credentials, audience=audience)
        return self._services[audience]

    def _known(self, question: Question) -> Decision | None:
        if self._following is not None:
            self._following.ensure()
        return self._questions.known(question)


class Client(Shared):
    """Asks the server, and waits for the answer in this thread. May be shared between threads.

    Every question raises `UnavailableError` where there is no answer in time or it cannot be read,
    `UnauthenticatedError` where the server does not take this client for anybody, and `InputError` where it cannot be
    asked like that. Nothing of that is a yes.
    """

    _driving: Driver | None = None
    _pid = 0

    def evaluate(
        self, subject: Named, action: str, resource: Named, context: Mapping[str, Any] | None = None
    ) -> Decision:
        """May ``subject`` do ``action`` to ``resource``? The answer is recorded before it is given."""
        question = Question(subject, action, resource, context or {})
        known = self._known(question)
        return known if known is not None else self.run(self._questions.evaluate(question))

    def require(
        self, subject: Named, action: str, resource: Named, context: Mapping[str, Any] | None = None
    ) -> Decision:
        """As `evaluate`, for those who go on only with a yes.

        Raises:
            DeniedError: it was a no; the error says why, and what to do.
        """
        decision = self.evaluate(subject, action, resource, context)
        if not decision.allowed:
            raise DeniedError(decision, place=f"{action} on {entity(resource)}")
        return decision

    def evaluations(self, questions: Sequence[Question], *, semantic: Semantic = "execute_all") -> list[Decision]:
        """Ask at most 500 questions at once; the answers are in their order."""
        return self.run(self._questions.evaluations(questions, semantic))

    def introspect(self, token: str) -> Introspection:
        """What an access token is worth now (RFC 7662)."""
        known = self.cache.token(token) if self.cache is not None else None
        return known if known is not None else self.run(self._questions.introspect(token))

    def search_subjects(
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
        return [Entity(one.type, one.id) for one in self.run(self._questions.search("subject", asked, limit))]

    def search_resources(
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
        return [Entity(one.type, one.id) for one in self.run(self._questions.search("resource", asked, limit))]

    def search_actions(
        self, subject: Named, resource: Named, context: Mapping[str, Any] | None = None, *, limit: int = FOUND
    ) -> list[str]:
        """What may ``subject`` do to ``resource``?"""
        asked = sought(subject=entity(subject), resource=entity(resource), context=context or {})
        return [one.name for one in self.run(self._questions.search("action", asked, limit))]

    def headers(self, method: str, url: str, *, nonce: str = "") -> dict[str, str]:
        """What a request to a service that stands behind Everproof is proven with, once.

        A service that answers 401 with a `DPoP-Nonce` wants them made again with that ``nonce``.
        """
        return self.run(self._towards(url).shown_to(method, url, nonce))

    def requires(
        self,
        action: str,
        resource: Named | Callable[..., Named],
        *,
        subject: Named | Callable[..., Named] | None = None,
        context: Callable[..., Mapping[str, Any]] | None = None,
    ) -> Callable[[Callable[..., T]], Callable[..., T]]:
        """A decorator: the function is called only if its caller may; see `everproof.client.decorator`."""
        from everproof.client.decorator import guarded

        return guarded(self, action, resource, subject=subject, context=context)

    def run(self, flow: Flow[T]) -> T:
        """What a conversation with the server comes to."""
        if self._pid != os.getpid():  # connections of a parent process are not shared with it
            self._driving, self._pid = Driver(self._context, self._timeout), os.getpid()
        assert self._driving is not None
        return self._driving.run(flow)

    def close(self) -> None:
        """Close the connections, and follow the changes no more."""
        if self._following is not None:
            self._following.stop()
        if self._driving is not None:
            self._driving.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
