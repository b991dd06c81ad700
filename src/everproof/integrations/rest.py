"""A platform's REST API: pages by Link, conditional requests by ETag, limits that are kept, and errors told apart.

Link is RFC 8288; a next page is only ever asked of the host that was asked before, since the token goes with it.
"""

import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import urlsplit

import msgspec

from everproof.identity.outbound import Answer, Outbound, OutboundError
from everproof.integrations.answers import MAX_WAIT, AnsweredError, retry_after
from everproof.kernel.errors import Error
from everproof.work import PostponedError

T = TypeVar("T")

PER_PAGE: Final = 100
MAX_PAGES: Final = 500
"""50,000 members; whoever has more is told rather than looked at in part."""
MAX_KEPT: Final = 512
"""Pages that are kept to be asked for anew only if they have changed."""
WAIT: Final = timedelta(minutes=1)
"""Where a limit is reached, and nobody says for how long."""

_NEXT: Final = re.compile(r'<([^<>\s]+)>\s*;(?:[^,<]*;)?\s*rel="?next"?')
_UNCHANGED, _UNAUTHENTICATED, _FORBIDDEN, _NOT_FOUND = 304, 401, 403, 404
_LIMITED: Final = frozenset({403, 429})
_GOOD: Final = range(200, 300)
_MOVED: Final = range(300, 400)
_ERRORS: Final = range(500, 600)
_RESET: Final = ("x-ratelimit-reset", "ratelimit-reset")
_LEFT: Final = ("x-ratelimit-remaining", "ratelimit-remaining")


class UnseenError(Error):
    """The platform says that there is no such thing, or that this token may not see or do it: it does not say which."""

    code = "not-seen"
    status = 502

    def __init__(self, message: str, *, answered: int, place: str | None = None, todo: str | None = None) -> None:
        super().__init__(message, place=place, todo=todo)
        self.answered = answered


class RefusalError(Error):
    """The platform refused what was asked of it; ``answered`` is its status."""

    code = "platform-refused"
    status = 502

    def __init__(self, message: str, *, answered: int, place: str | None = None, todo: str | None = None) -> None:
        super().__init__(message, place=place, todo=todo)
        self.answered = answered


class _Kept(NamedTuple):
    etag: str
    answer: Answer


class Rest:
    """One API. ``headers`` are what a request goes with, the token among them."""

    def __init__(
        self,
        name: str,
        outbound: Outbound,
        base: str,
        *,
        headers: Callable[[], Awaitable[Mapping[str, str]]],
        now: Callable[[], datetime],
    ) -> None:
        self.name = name
        self._outbound = outbound
        self._base = base.rstrip("/")
        self._headers = headers
        self._now = now
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    async def get(self, path: str, type_: type[T], *, query: str = "") -> T:
        """What stands at ``path``.

        Raises:
            UnseenError: there is nothing, or it may not be seen.
            PostponedError: the limit is reached.
            Error: as in `send`.
        """
        return self._read(await self._conditional(path, query), type_)

    async def pages(self, path: str, type_: type[T], *, query: str = "") -> list[T]:
        """Everything of a list, page for page.

        Raises:
            Error: as `get`; or there are too many pages, or the next one is elsewhere.
        """
        found: list[T] = []
        query = f"{query}&per_page={PER_PAGE}" if query else f"per_page={PER_PAGE}"
        for _ in range(MAX_PAGES):
            answer = await self._conditional(path, query)
            found += self._read(answer, list[type_])  # type: ignore[valid-type]
            if (following := _NEXT.search(answer.headers.get("link", ""))) is None:
                return found
            path, query = self._next(following[1])
        raise AnsweredError(f"{self.name} has more than {MAX_PAGES} pages of it", place=path)

    async def send(
        self, method: str, path: str, body: Any = None, *, gone: bool = False, query: str = ""
    ) -> Answer | None:
        """Ask for a change. With ``gone`` a 404 is an answer, None: what was to be taken away is not there.

        Raises:
            UnseenError: there is no such thing, or this token may not change it.
            RefusalError: the platform refused it.
            PostponedError: the limit is reached.
            AnsweredError: the platform is not well, or cannot be reached.
        """
        encoded = None if body is None else msgspec.json.encode(body)
        answer = await self._ask(method, path, query, encoded, {})
        if gone and answer.status == _NOT_FOUND:
            return None
        self._require(answer, path)
        return answer

    async def post(self, path: str, type_: type[T], body: Any) -> T:
        """What is answered to ``body``."""
        answer = await self.send("POST", path, body)
        assert answer is not None
        return self._read(answer, type_)

    async def _conditional(self, path: str, query: str) -> Answer:
        key = f"{path}?{query}"
        kept = self._kept.get(key)
        more = {"if-none-match": kept.etag} if kept is not None else {}
        answer = await self._ask("GET", path, query, None, more)
        if answer.status == _UNCHANGED and kept is not None:
            self._kept.move_to_end(key)
            return kept.answer
        self._require(answer, path)
        if etag := answer.headers.get("etag"):
            self._kept[key] = _Kept(etag, answer)
            if len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        return answer

    async def _ask(self, method: str, path: str, query: str, body: bytes | None, more: Mapping[str, str]) -> Answer:
        headers = {**await self._headers(), **more}
        try:
            return await self._outbound.ask(method, f"{self._base}{path}", headers=headers, query=query, body=body)
        except OutboundError as error:
            raise AnsweredError(error.message, place=self.name, todo=error.todo) from error

    def _require(self, answer: Answer, path: str) -> None:
        status, place = answer.status, f"{self.name} {path}"
        if status in _GOOD:
            return
        if status in _LIMITED and (wait := self._wait(answer)) is not None:
            raise PostponedError("the platform's limit is reached", after=wait, place=self.name)
        if status == _UNAUTHENTICATED:
            raise RefusalError("the token is not accepted", answered=status, place=self.name)
        if status in {_FORBIDDEN, _NOT_FOUND}:
            raise UnseenError(f"answered {status}: not there, or not for this token", answered=status, place=place)
        if status in _MOVED:
            raise RefusalError("is somewhere else now: it was renamed", answered=status, place=place)
        if status in _ERRORS:
            raise AnsweredError(f"answered {status}", place=place)
        raise RefusalError(f"answered {status}: {said(answer)}", answered=status, place=place)

    def _wait(self, answer: Answer) -> timedelta | None:
        """How long to leave it alone: None where this is no limit, but a refusal."""
        if (wait := retry_after(answer, self._now())) is not None:
            return wait
        left = next((answer.headers[name] for name in _LEFT if name in answer.headers), "")
        if left.strip() == "0":
            reset = next((answer.headers[name] for name in _RESET if name in answer.headers), "").strip()
            if reset.isascii() and reset.isdigit() and len(reset) < 12:  # noqa: PLR2004 - seconds, until the year 5138
                at = datetime.fromtimestamp(int(reset), UTC)
                return max(timedelta(seconds=1), min(at - self._now(), MAX_WAIT))
            return WAIT
        return WAIT if answer.status == 429 else None  # noqa: PLR2004 - Too Many Requests

    def _next(self, url: str) -> tuple[str, str]:
        given, ours = urlsplit(url), urlsplit(self._base)
        inside = given.path.startswith(f"{ours.path}/") if ours.path else given.path.startswith("/")
        if (given.scheme, given.netloc) != (ours.scheme, ours.netloc) or not inside or ".." in given.path:
            raise AnsweredError("names a next page elsewhere", place=self.name)
        return given.path.removeprefix(ours.path), given.query

    def _read(self, answer: Answer, type_: type[T]) -> T:
        try:
            return msgspec.json.decode(answer.body, type=type_)
        except msgspec.DecodeError as error:
            raise AnsweredError("the answer cannot be read", place=self.name) from error


def said(answer: Answer) -> str:
    """What the platform says of an error, in one printable line."""
    try:
        found: Any = msgspec.json.decode(answer.body)
    except msgspec.DecodeError:
        return "nothing that can be read"
    text = (found.get("message") or found.get("error")) if isinstance(found, dict) else None
    return text[:200] if isinstance(text, str) and text.isprintable() else "nothing that can be read"
