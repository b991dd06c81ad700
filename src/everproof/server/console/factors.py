"""The pages of one's own factors. Only a passkey takes a script; whatever is typed is sent by a plain form."""

from typing import Annotated, Any, Final

import msgspec

from everproof.kernel.errors import InputError, RefusedError, UnauthenticatedError
from everproof.server.console.page import HTML, see_other
from everproof.server.console.visitors import Said, Visitors
from everproof.server.factors import FactorsDoor, FirstCode, NewTotp, Renaming, Whose
from everproof.server.http import Call, Reply, Route

FACTORS: Final = "/factors"

SAID: Final = {
    "added": "It is added, and shows that it is you from now on.",
    "renamed": "It has its new name.",
    "removed": "It is removed, and shows nothing any more.",
}
KINDS: Final = {
    "passkey": "Passkey",
    "security-key": "Security key",
    "totp": "Authenticator app",
    "recovery-codes": "Recovery codes",
}

Text = Annotated[str, msgspec.Meta(max_length=128)]
_GROUP: Final = 4
"""Characters that are typed without losing one's place."""


class RenameForm(msgspec.Struct, frozen=True):
    """A new name."""

    name: Text = ""


class TotpForm(msgspec.Struct, frozen=True):
    """What the app is to be called."""

    name: Text = "authenticator app"


class ConfirmForm(msgspec.Struct, frozen=True):
    """The first code of an app."""

    id: Text = ""
    code: Text = ""

    def __repr__(self) -> str:
        return f"ConfirmForm({self.id})"


class FactorPages:
    """Factors."""

    def __init__(self, visitors: Visitors, door: FactorsDoor) -> None:
        self._visitors = visitors
        self._door = door

    def routes(self) -> list[Route]:
        """What is served."""
        page: dict[str, Any] = {"door": "pages", "media": HTML}
        one: dict[str, Any] = {**page, "problems": (404,)}
        return [
            Route("GET", FACTORS, self.show, **page),
            Route("POST", f"{FACTORS}/totp", self.begin_totp, **page),
            Route("POST", f"{FACTORS}/totp/confirm", self.confirm_totp, **page),
            Route("POST", f"{FACTORS}/recovery-codes", self.make_codes, **page),
            Route("POST", f"{FACTORS}/{{id}}/rename", self.rename, **one),
            Route("POST", f"{FACTORS}/{{id}}/remove", self.remove, **one),
        ]

    async def show(self, call: Call, query: Said) -> Reply:
        """Your factors, and how to add one."""
        held = await self._door.held(call, Whose())
        return self._visitors.show(
            call.scope,
            "factors.html",
            here=FACTORS,
            factors=held.factors,
            codes_left=held.codes_left,
            kinds=KINDS,
            said=SAID.get(query.said, ""),
        )

    async def begin_totp(self, call: Call, form: TotpForm) -> Reply:
        """Show the secret for an authenticator app, once."""
        secret = await self._door.begin_totp(call, NewTotp(form.name))
        groups = [secret.secret[at : at + _GROUP] for at in range(0, len(secret.secret), _GROUP)]
        return self._visitors.show(
            call.scope, "totp.html", here=FACTORS, id=secret.id, secret=" ".join(groups), qr=secret.qr, wrong=""
        )

    async def confirm_totp(self, call: Call, form: ConfirmForm) -> Reply:
        """Add the app, by its first code."""
        self._visitors.prove(call.scope)
        try:
            await self._door.confirm_totp(call, FirstCode(form.id, form.code))
        except (InputError, UnauthenticatedError, RefusedError) as error:
            if getattr(error, "extra", {}).get("explanation"):
                raise
            # The secret was shown, and is not shown again: the code alone is asked for anew.
            return self._visitors.show(
                call.scope, "totp.html", here=FACTORS, id=form.id, secret="", qr=None,
                wrong=error.message[:1].upper() + error.message[1:] + ".", status=error.status,
            )  # fmt: skip
        return see_other(f"{FACTORS}?said=added")

    async def make_codes(self, call: Call) -> Reply:
        """Show new recovery codes, once."""
        made = await self._door.make_codes(call)
        return self._visitors.show(call.scope, "codes.html", here=FACTORS, codes=made.codes)

    async def rename(self, call: Call, id: str, form: RenameForm) -> Reply:  # noqa: A002 - as it stands in the path
        """Call a factor something else."""
        self._visitors.prove(call.scope)
        if not form.name.strip():
            raise InputError("a factor needs a name", place="New name")
        await self._door.rename(call, id, Renaming(form.name.strip()))
        return see_other(f"{FACTORS}?said=renamed")

    async def remove(self, call: Call, id: str) -> Reply:  # noqa: A002 - as above
        """Remove a factor."""
        await self._door.remove(call, id)
        return see_other(f"{FACTORS}?said=removed")
