"""The page on which a factor is shown, on the way to something that asks for one."""

from typing import Annotated, Final

import msgspec

from everproof.identity.factors import Method
from everproof.identity.sign_on import SignOn
from everproof.kernel.errors import Error, InputError, NotFoundError
from everproof.server.console.page import HTML, see_other
from everproof.server.console.paths import HOME, ours, with_next
from everproof.server.console.visitors import Visitors
from everproof.server.denial import DeniedError
from everproof.server.http import Call, Reply, Route
from everproof.server.step_up import Showing, StepUpDoor, Where

STEP_UP: Final = "/step-up"
BEYOND: Final = "/oauth/"
"""What leads to other sites in the end: a form may not lead there, so a link does (CSP, ``form-action``)."""

CODES: Final[dict[str, Method]] = {"totp": "totp", "recovery-code": "recovery-code"}
"""What can be typed."""

Text = Annotated[str, msgspec.Meta(max_length=128)]
Path = Annotated[str, msgspec.Meta(max_length=4_096)]


class StepUpQuery(msgspec.Struct, frozen=True):
    """The session that is to be shown a factor, empty for that of this browser, and where to go on."""

    session: Text = ""
    next: Path = ""


class StepUpForm(msgspec.Struct, frozen=True):
    """A code that is shown."""

    method: Text = ""
    code: Text = ""
    session: Text = ""
    next: Path = ""

    def __repr__(self) -> str:
        return f"StepUpForm({self.method})"


class StepUpPages:
    """Showing a factor."""

    def __init__(self, visitors: Visitors, door: StepUpDoor, *, sign_on: SignOn) -> None:
        self._visitors = visitors
        self._door = door
        self._sign_on = sign_on

    def routes(self) -> list[Route]:
        """What is served."""
        return [
            Route("GET", STEP_UP, self.show, door="pages", media=HTML),
            Route("POST", STEP_UP, self.code, door="pages", media=HTML, problems=(429,)),
        ]

    async def show(self, call: Call, query: StepUpQuery) -> Reply:
        """The factors that you can show."""
        return await self._show(call, StepUpForm(session=query.session, next=ours(query.next)))

    async def code(self, call: Call, form: StepUpForm) -> Reply:
        """Show a code, and go on."""
        self._visitors.prove(call.scope)
        then = ours(form.next)
        method = CODES.get(form.method)
        if method is None:
            raise InputError("that is no code", place="form: method", todo="use the fields of the page")
        try:
            shown = await self._door.step_up(call, Showing(method, form.session, code=form.code))
        except DeniedError:
            raise
        except Error as error:
            return await self._show(call, form, error)
        where = with_next("/continue", then) if then.startswith(BEYOND) else then
        return see_other(where, headers=dict(shown.headers))

    async def _show(self, call: Call, form: StepUpForm, wrong: Error | None = None) -> Reply:
        mine = self._visitors.session(call.scope)
        try:
            ways = await self._door.options(call, Where(form.session))
        except NotFoundError as error:
            error.todo = "sign in as whoever began it in the terminal, or begin it again there"
            raise
        elsewhere = None if ways.session == mine.id else self._visitors.session_called(ways.session)
        then = ours(form.next)
        return self._visitors.show(
            call.scope,
            "step_up.html",
            methods=ways.methods,
            waits=ways.wait_seconds,
            session=form.session,
            own=mine.id,
            mark=self._sign_on.step_up_mark(mine.id, ways.session),
            elsewhere=elsewhere,
            provider=next(((name, title) for name, title in self._sign_on.providers() if name == mine.provider), None),
            next="" if then == HOME else then,
            method=form.method,
            wrong="" if wrong is None else wrong.message[:1].upper() + wrong.message[1:] + ".",
            status=200 if wrong is None else wrong.status,
        )
