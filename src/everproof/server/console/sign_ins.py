"""The pages on which a person lets a client know who they are, or a device of theirs in."""

from typing import Annotated, Any, Final

import msgspec

from everproof.kernel.errors import Error, InputError, NotFoundError
from everproof.server.console.page import HTML, see_other
from everproof.server.console.visitors import Visitors
from everproof.server.denial import DeniedError
from everproof.server.http import Call, Reply, Route
from everproof.server.provider.consent import ConsentDoor
from everproof.server.provider.device import PAGE as DEVICE
from everproof.server.provider.device import DeviceDoor

CONSENT: Final = "/consent/{id}"

SAID: Final = {
    "yes": "It is signed in. Go back to your terminal: it goes on by itself.",
    "no": "It is refused. If you did not begin it, tell whoever looks after this server what has been asked of you.",
}

BEYOND: Final = frozenset({"cross-site", "same-site"})
"""Where a link was followed that stands on no page of this server."""

Text = Annotated[str, msgspec.Meta(max_length=64)]


class AnswerForm(msgspec.Struct, frozen=True):
    """Yes or no."""

    answer: Text = ""


class DeviceQuery(msgspec.Struct, frozen=True):
    """The code that stands on the device; or what was answered a moment ago."""

    user_code: Text = ""
    said: Text = ""


class DeviceForm(msgspec.Struct, frozen=True):
    """An answer to the device that waits under a code."""

    code: Text = ""
    answer: Text = ""


class SignInPages:
    """Consent, and devices."""

    def __init__(self, visitors: Visitors, consents: ConsentDoor, devices: DeviceDoor) -> None:
        self._visitors = visitors
        self._consents = consents
        self._devices = devices

    def routes(self) -> list[Route]:
        """What is served."""
        page: dict[str, Any] = {"door": "pages", "media": HTML, "problems": (404,)}
        return [
            Route("GET", CONSENT, self.consent, **page),
            Route("POST", CONSENT, self.answer, **page),
            Route("GET", DEVICE, self.device, **page),
            Route("POST", DEVICE, self.answer_device, **page),
        ]

    async def consent(self, call: Call, id: str) -> Reply:  # noqa: A002 - as it stands in the path
        """What a client wants to know."""
        asked = await self._consents.asked(self._visitors.prove(call.scope), id)
        return self._visitors.show(call.scope, "consent.html", asked=asked)

    async def answer(self, call: Call, id: str, form: AnswerForm) -> Reply:  # noqa: A002 - as above
        """Let it know, or not."""
        onwards = await self._consents.answer(self._visitors.prove(call.scope), id, gives=_gives(form.answer))
        # Not by a redirect: a form may not lead to another site (CSP, form-action); a page that is left at once may.
        return self._visitors.show(call.scope, "continue.html", then=onwards.location)

    async def device(self, call: Call, query: DeviceQuery) -> Reply:
        """Ask for the code on a device, and say what waits under it."""
        proof = self._visitors.prove(call.scope)
        if not query.user_code:
            return self._device(call, done=SAID.get(query.said, ""))
        if call.header(b"sec-fetch-site") in BEYOND:  # else a link elsewhere guesses wrong in its reader's name
            return self._device(call, code=query.user_code)
        try:
            asked = await self._devices.asked(proof, query.user_code)
        except DeniedError:
            raise
        except NotFoundError as error:
            return self._device(call, code=query.user_code, wrong=error)
        return self._device(call, code=asked.user_code, asked=asked)

    async def answer_device(self, call: Call, form: DeviceForm) -> Reply:
        """Let a device in, or not."""
        proof = self._visitors.prove(call.scope)
        gives = _gives(form.answer)
        try:
            await self._devices.answer(proof, form.code, gives=gives)
        except DeniedError as error:
            return self._visitors.problem(call.scope, error, then=f"{DEVICE}?user_code={_plain(form.code)}")
        except NotFoundError as error:
            return self._device(call, code=form.code, wrong=error)
        return see_other(f"{DEVICE}?said={'yes' if gives else 'no'}")

    def _device(self, call: Call, *, wrong: Error | None = None, **values: Any) -> Reply:
        given = {"code": "", "asked": None, "done": "", **values}
        said = "" if wrong is None else wrong.message[:1].upper() + wrong.message[1:] + "."
        return self._visitors.show(
            call.scope, "device.html", wrong=said, status=200 if wrong is None else wrong.status, **given
        )


def _gives(answer: str) -> bool:
    if answer not in {"yes", "no"}:
        raise InputError("that is neither yes nor no", place="form: answer", todo="use the buttons of the page")
    return answer == "yes"


def _plain(code: str) -> str:
    return "".join(one for one in code if one.isascii() and (one.isalnum() or one == "-"))
