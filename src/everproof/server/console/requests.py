"""The pages of requests: asking, answering, and looking back, at those that were refused or forgotten too."""

import asyncio
import re
from typing import Annotated, Any, Final, get_args
from urllib.parse import urlencode

import msgspec

from everproof.access import RequestRecord, Wanted, request_page
from everproof.access.records import OPEN, State
from everproof.access.requests import Requests
from everproof.access.rules import span
from everproof.kernel.errors import Error, InputError, NotFoundError
from everproof.server.access import AccessDoor, Approving, Refusing, RequestQuery
from everproof.server.console.page import HTML, see_other
from everproof.server.console.paths import HOME, ours, with_next
from everproof.server.console.visitors import Said, Visitors
from everproof.server.denial import DeniedError
from everproof.server.http import Call, Reply, Route

REQUESTS: Final = "/requests"
PAGE: Final = 50

SAID: Final = {
    "asked": "Your request is on its way. Whoever may approve it hears of it.",
    "approve": "Your approval counts.",
    "refuse": "It is refused, and whoever asked hears why.",
    "cancel": "Your request is withdrawn.",
}
STATES: Final = {
    "granted": "granted and still open",
    "expired": "granted, and over by now",
    "revoked": "taken back",
    "refused": "refused",
    "cancelled": "withdrawn",
    "lapsed": "not answered in time",
}
_CLOSED: Final[tuple[State, ...]] = tuple(one for one in get_args(State) if one not in OPEN)

LENGTHS: Final = (900, 3600, 2 * 3600, 4 * 3600, 8 * 3600, 24 * 3600)
"""Seconds that are offered; a rule may have it that some are too long."""
HOUR: Final = 3600

_REF: Final = re.compile(r'\s*([A-Za-z_][A-Za-z0-9_]*)::"([^"\\]+)"\s*')

Text = Annotated[str, msgspec.Meta(max_length=2_000)]
Path = Annotated[str, msgspec.Meta(max_length=4_096)]


class ListQuery(msgspec.Struct, frozen=True):
    """Which requests that are answered: in one state, those before an id."""

    state: str = ""
    before: str = ""


class NewQuery(msgspec.Struct, frozen=True):
    """What is filled in, as a denial's link says it."""

    action: Text = ""
    type: Text = ""
    id: Text = ""
    for_: Text = msgspec.field(default="1h", name="for")
    reason: Text = ""
    next: Path = ""


class NewForm(msgspec.Struct, frozen=True):
    """A request that is made."""

    action: Text = ""
    resource: Text = ""
    seconds: int = HOUR
    reason: Text = ""
    next: Path = ""


class OneQuery(Said, frozen=True):
    """What was done a moment ago, where to go on once it is granted, and a message that was begun."""

    next: Path = ""
    message: Text = ""


class AnswerForm(msgspec.Struct, frozen=True):
    """An answer: ``approve`` of exactly the request with this digest, ``refuse`` or ``cancel``."""

    answer: Text = ""
    digest: Text = ""
    message: Text = ""


class RequestPages:
    """Requests and the answers to them."""

    def __init__(self, visitors: Visitors, door: AccessDoor, requests: Requests) -> None:
        self._visitors = visitors
        self._door = door
        self._requests = requests

    def routes(self) -> list[Route]:
        """What is served."""
        page: dict[str, Any] = {"door": "pages", "media": HTML}
        return [
            Route("GET", REQUESTS, self.list, **page),
            Route("GET", f"{REQUESTS}/new", self.new, **page),
            Route("POST", REQUESTS, self.ask, **page),
            Route("GET", f"{REQUESTS}/{{id}}", self.show, problems=(404,), **page),
            Route("POST", f"{REQUESTS}/{{id}}", self.answer, problems=(404, 409), **page),
        ]

    async def list(self, call: Call, query: ListQuery) -> Reply:
        """The requests that you may see: those that wait, and those that are answered."""
        proof = self._visitors.prove(call.scope)
        state = tuple(one for one in _CLOSED if one == query.state)
        found = await self._door.requests(call, RequestQuery(state=OPEN, limit=PAGE))
        past = await self._door.requests(
            call, RequestQuery(state=state or _CLOSED, before=query.before, limit=PAGE)
        )  # fmt: skip
        more = {"before": past.requests[-1].id, "state": query.state} if len(past.requests) == PAGE else {}
        return self._visitors.show(
            call.scope,
            "requests.html",
            here=REQUESTS,
            me=proof.principal.ref,
            mine=[one for one in found.requests if one.id in found.mine],
            open=[one for one in found.requests if one.id not in found.mine],
            past=past.requests,
            state=state[0] if state else "",
            states=[("", "all of them"), *STATES.items()],
            more=f"{REQUESTS}?{urlencode(more)}" if more else "",
        )

    async def new(self, call: Call, query: NewQuery) -> Reply:
        """The form of a request, filled in by the denial that led here."""
        self._visitors.prove(call.scope)
        resource = f'{query.type}::"{query.id}"' if query.type else ""
        try:
            seconds = int(span(query.for_, place="for").total_seconds())
        except InputError:
            seconds = HOUR
        form = NewForm(query.action, resource, seconds, query.reason, ours(query.next))
        return self._form(call, form)

    async def ask(self, call: Call, form: NewForm) -> Reply:
        """Send a request."""
        self._visitors.prove(call.scope)
        then = ours(form.next)
        try:
            made = await self._door.request(call, _wanted(form))
        except InputError as error:
            return self._form(call, form, error)
        except DeniedError as error:
            if error.extra["explanation"]:
                raise
            return self._form(call, form, error)  # not policy: there is something to put right in the form
        return see_other(with_next(f"{REQUESTS}/{made.id}?said=asked", then))

    async def show(self, call: Call, id: str, query: OneQuery) -> Reply:  # noqa: A002 - as it stands in the path
        """A request: who asked, for what and why, who answered, and what came of it."""
        return await self._show(call, id, query)

    async def answer(self, call: Call, id: str, form: AnswerForm) -> Reply:  # noqa: A002 - as above
        """Approve, refuse or withdraw a request."""
        self._visitors.prove(call.scope)
        try:
            await self._answer(call, id, form)
        except InputError as error:
            return await self._show(call, id, OneQuery(message=form.message), error)
        except DeniedError as error:
            begun = f"?{urlencode({'message': form.message})}" if form.message else ""
            return self._visitors.problem(call.scope, error, then=f"{REQUESTS}/{_plain(id)}{begun}")
        return see_other(f"{REQUESTS}/{_plain(id)}?said={form.answer}")

    async def _answer(self, call: Call, id_: str, form: AnswerForm) -> None:
        match form.answer:
            case "approve":
                await self._door.approve(call, id_, _approving(form))
            case "refuse":
                await self._door.refuse(call, id_, Refusing(form.message))
            case "cancel":
                await self._door.cancel(call, id_)
            case _:
                raise InputError("that is no answer", place="form: answer", todo="use the buttons of the page")

    async def _show(self, call: Call, id_: str, query: OneQuery, wrong: Error | None = None) -> Reply:
        proof = self._visitors.prove(call.scope)
        one = await self._door.show(call, id_)
        mine = await asyncio.to_thread(self._requests.may_answer, proof, one)
        then = ours(query.next)
        return self._visitors.show(
            call.scope,
            "request.html",
            here=REQUESTS,
            me=proof.principal.ref,
            one=one,
            may_answer=mine,
            message=query.message,
            then="" if then == HOME else then,
            again=_again(one),
            wrong=_said(wrong),
            said="" if query.said == "asked" and not one.is_open else SAID.get(query.said, ""),
            status=200 if wrong is None else wrong.status,
        )

    def _form(self, call: Call, form: NewForm, wrong: Error | None = None) -> Reply:
        seconds = sorted({*LENGTHS, form.seconds})
        return self._visitors.show(
            call.scope,
            "request_new.html",
            here=REQUESTS,
            form=form,
            lengths=seconds,
            wrong=_said(wrong),
            status=200 if wrong is None else wrong.status,
        )


def _wanted(form: NewForm) -> Wanted:
    match = _REF.fullmatch(form.resource)
    if match is None:
        raise InputError(
            f"{form.resource[:80]!r} names no resource", place="On what", todo='write it as Environment::"production"'
        )
    fields = {
        "action": form.action.strip(),
        "resource": {"type": match[1], "id": match[2]},
        "seconds": form.seconds,
        "reason": form.reason.replace("\r\n", "\n").strip(),
    }
    try:
        return msgspec.convert(fields, Wanted)
    except msgspec.ValidationError as error:
        raise InputError(str(error).partition(" - at ")[0], place=str(error).partition("$.")[2].rstrip("`")) from error


def _approving(form: AnswerForm) -> Approving:
    try:
        return msgspec.convert({"digest": form.digest, "message": form.message}, Approving)
    except msgspec.ValidationError as error:
        raise InputError("it does not say which request it is about", todo="load the page again") from error


def _again(one: RequestRecord) -> str:
    return request_page(one.action, one.resource)


def _plain(id_: str) -> str:
    """An id that came in an address, to be put into one again."""
    if re.fullmatch(r"[A-Za-z0-9_-]{1,80}", id_) is None:
        raise NotFoundError("there is no such request")
    return id_


def _said(error: Error | None) -> str:
    if error is None:
        return ""
    todo = f" {error.todo[:1].upper()}{error.todo[1:]}." if error.todo else ""
    return f"{error.message[:1].upper()}{error.message[1:]}.{todo}"
