"""Signing in at the organisation's provider, and out again.

The browser is sent to the provider with a cookie that holds what was asked, and comes back with the answer. That
somebody signs in is a decision like any other, and the session begins in the commit that records it.
"""

import hmac
import re
from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec

from everproof.authorize import Authorizer
from everproof.authorize.attempts import EVENT_KIND
from everproof.identity import Identity
from everproof.identity.enrolment import ACTION as ENROL
from everproof.identity.oauth import ReplayedError
from everproof.identity.sessions import Session
from everproof.identity.sign_on import CALLBACK, Arrival, Begun, Response, SignOnError
from everproof.identity.sign_on.arrivals import FACTOR
from everproof.identity.sign_on.logout import LogoutToken
from everproof.kernel.canonical import encode
from everproof.kernel.errors import Error, InputError, RefusedError, UnauthenticatedError, UnavailableError
from everproof.kernel.ids import new_id
from everproof.kernel.words import MAIN_SPACE, Action, Entry, Ref, Resource
from everproof.ledger import Ledger
from everproof.server.browser import CLEARED, Browser, CrossSiteError, seen_from
from everproof.server.denial import allowed
from everproof.server.http import Call, Reply, Route
from everproof.storage import Storage, Transaction

SIGN_IN: Final = Action("identity:sign-in")
OURSELVES: Final = Resource(
    ref=Ref("Client", "everproof"), attributes={"own": True, "first_party": True, "name": "Everproof"},
    parents=(MAIN_SPACE,),
)  # fmt: skip
"""What people sign in to who sign in here, and not to a client beyond."""

HTML: Final = "text/html; charset=utf-8"
LOGIN: Final = "/login"
BACK_CHANNEL: Final = "/logout/backchannel/"
LOGOUT: Final = "/logout"
SEE_OTHER: Final = 303
COOKIE_SECONDS: Final = 600
MAX_NEXT: Final = 2_048

_ATTRIBUTES: Final = "; Path=/; Secure; HttpOnly; SameSite=Lax"
"""Lax: the provider's answer is a link that is followed from another site."""
_NEXT: Final = re.compile(r"/(?!/)[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*")
"""A path of this server's and perhaps a query, in characters that no browser leaves out or reads as another."""

Text = Annotated[str, msgspec.Meta(max_length=MAX_NEXT)]


class Start(msgspec.Struct, frozen=True):
    """Where to go on to, and the session that is to be shown a factor, where it is not to begin.

    ``mark`` says that the link stands on the page of the browser's own session. ``max_age``: 0 where the provider is to
    ask its user anew.
    """

    next: Text = "/"
    step_up: Text = ""
    mark: Annotated[str, msgspec.Meta(max_length=64)] = ""
    max_age: Annotated[str, msgspec.Meta(max_length=16)] = ""


class TakenUp(msgspec.Struct, frozen=True):
    """An invitation, which is a secret."""

    invitation: Text
    next: Text = "/"

    def __repr__(self) -> str:
        return "TakenUp()"


class SignOut(msgspec.Struct, frozen=True):
    """``everywhere``: at the provider too."""

    everywhere: bool = False


class LogoutForm(msgspec.Struct, frozen=True):
    """What a provider sends when somebody has signed out there."""

    logout_token: Annotated[str, msgspec.Meta(max_length=64 * 1024)] = ""

    def __repr__(self) -> str:
        return "LogoutForm()"


class ProviderShown(msgspec.Struct, frozen=True):
    """A provider to choose; ``login`` is where signing in begins."""

    name: str
    title: str
    login: str


class SignOnDoor:
    """The ways to the providers and back."""

    def __init__(
        self,
        authorizer: Authorizer,
        identity: Identity,
        browser: Browser,
        ledger: Ledger,
        storage: Storage,
        *,
        issuer: str,
    ) -> None:
        self._storage = storage
        self._issuer = issuer
        self._authorizer = authorizer
        self._identity = identity
        self._sign_on = identity.sign_on
        self._browser = browser
        self._ledger = ledger

    def routes(self) -> list[Route]:
        """What is served."""
        shown: dict[str, Any] = {"door": "sign-on", "needs_proof": False, "media": HTML}
        return [
            Route("GET", "/v1/sign-on/providers", self.providers, door="sign-on", needs_proof=False,
                  answer=list[ProviderShown]),
            Route("GET", LOGIN + "/{provider}", self.start, problems=(404, 503), status=SEE_OTHER, **shown),
            Route("POST", LOGIN + "/{provider}", self.take_up, problems=(401, 404, 503), status=SEE_OTHER, **shown),
            Route("GET", CALLBACK + "{provider}", self.answered, problems=(401, 403, 503), status=SEE_OTHER, **shown),
            Route("POST", LOGOUT, self.sign_out, problems=(403,), **shown),
            Route("POST", BACK_CHANNEL + "{provider}", self.back_channel, problems=(400, 404), door="sign-on",
                  needs_proof=False),
        ]  # fmt: skip

    async def providers(self) -> list[ProviderShown]:
        """The providers that people sign on with."""
        return [ProviderShown(name, title, f"{LOGIN}/{name}") for name, title in self._sign_on.providers()]

    async def start(self, call: Call, query: Start, provider: str) -> Reply:
        """Send the browser to the provider.

        To have a factor shown to a session of one's own, the link must be on a page of this server: whoever could send
        somebody there could have them show it to a session that was stolen.
        """
        next_ = require_path(query.next)
        if query.step_up:
            self._require_own_session(call, query)
        return _sent(await self._sign_on.begin(provider, next_=next_, step_up=query.step_up, anew=query.max_age == "0"))

    async def take_up(self, call: Call, form: TakenUp, provider: str) -> Reply:
        """Take up an invitation with the account at the provider; the secret comes in a form of this server's page."""
        self._require_own_page(call)
        begun = await self._sign_on.begin(provider, next_=require_path(form.next), invitation=form.invitation)
        return _leaving("Signing you on", "Go on to the provider", begun.address, _kept(begun))

    async def answered(self, call: Call, query: Response, provider: str) -> Reply:
        """Take the provider's answer, and sign in whom it is about."""
        name = self._sign_on.cookie_name(query)
        come = await self._sign_on.complete(provider, query, _cookie(call, name))
        if come.is_new:
            detail = {"provider": provider, "email": list(come.record.emails)}
            outcome = await self._authorizer.authorize(
                come.proof, ENROL, come.newcomer, facts=come.facts, detail=detail, within=come.enrol
            )
            allowed(outcome)
            come = self._sign_on.again(come)
        if come.attempt.step_up:
            cookie = await self._step_up(come, self._browser.session(call.scope))
        else:
            cookie = await self._begin(call, come, self._browser.held(call.scope))
        headers = {"location": come.attempt.next}
        return Reply(status=SEE_OTHER, headers=headers, cookies=[*cookie, _gone(name)])

    async def _begin(self, call: Call, come: Arrival, before: Session | None) -> Sequence[str]:
        """Begin a session, in place of the one that the browser was in: nothing of that one goes on."""

        def begin(tx: Transaction) -> str:
            self._sign_on.require_trusted(come)
            session, cookie = self._browser.begin(tx, come.begin(tx, **seen_from(call.scope)), instead_of=before)
            self._sign_on.keep_hint(tx, session, come)
            return cookie

        detail = {"provider": come.assertion.provider.name}
        outcome = await self._authorizer.authorize(
            come.proof, SIGN_IN, OURSELVES, facts=come.facts, detail=detail, within=begin
        )
        return [allowed(outcome).outcome]

    async def _step_up(self, come: Arrival, before: Session | None) -> Sequence[str]:
        """Show the provider's word to a session that is there; if it is this browser's, with another secret."""
        target = come.attempt.step_up

        def show(tx: Transaction) -> Sequence[str]:
            self._sign_on.require_trusted(come)
            at = come.shown(tx)
            self._identity.sessions.show_factor(tx, target, FACTOR, at, of=come.user)
            return [self._browser.renew(tx, target)[1]] if before is not None and before.id == target else []

        detail = {"provider": come.assertion.provider.name, "session": target}
        outcome = await self._authorizer.authorize(
            come.proof, SIGN_IN, OURSELVES, facts=come.facts, detail=detail, within=show
        )
        return allowed(outcome).outcome

    async def sign_out(self, call: Call, form: SignOut) -> Reply:
        """Sign out here, and if asked to, at the provider too."""
        self._require_own_page(call)
        session = self._browser.held(call.scope)
        if session is None:
            return Reply(status=SEE_OTHER, headers={"location": LOGIN}, cookies=[CLEARED])
        there = ""
        if form.everywhere:
            try:
                there = await self._sign_on.end_session_address(session)
            except UnavailableError:  # whatever the provider does, the session here ends
                there = ""

        def end(tx: Transaction) -> None:
            self._browser.end(tx, session.id)
            said = {"event": "signed-out", "user": str(session.principal), "session": session.id}
            self._ledger.append(tx, _event(tx, said, about=session.principal))

        await self._storage.write(end)
        if not there:
            return Reply(status=SEE_OTHER, headers={"location": LOGIN}, cookies=[CLEARED])
        return _leaving("You are signed out here", "Sign out at the provider", there, CLEARED)

    async def back_channel(self, form: LogoutForm, provider: str) -> Reply:
        """End the sessions of whoever has signed out at the provider (OpenID Connect Back-Channel Logout 1.0)."""
        try:
            token = await self._sign_on.logged_out(provider, form.logout_token)
            await self._storage.write(lambda tx: self._logged_out(tx, token))
        except (SignOnError, ReplayedError) as error:
            raise LogoutRefusedError(error) from error
        return Reply(headers={"cache-control": "no-store"})

    def _logged_out(self, tx: Transaction, token: LogoutToken) -> None:
        ended = self._sign_on.sign_out(tx, token)
        said = {
            "event": "signed-out-at-provider", "provider": token.provider.name, "subject": token.sub,
            "provider_session": token.sid, "ended": len(ended),
        }  # fmt: skip
        self._ledger.append(tx, _event(tx, said))

    def _require_own_session(self, call: Call, query: Start) -> None:
        site = call.header(b"sec-fetch-site")
        if site != "same-origin":
            raise CrossSiteError("a factor is asked for by a page of this server alone")
        session, target = self._browser.session(call.scope), self._identity.sessions.find(query.step_up)
        if session is None or target is None or session.principal != target.principal:
            raise RefusedError("there is no such session of yours", todo="sign in, and begin again")
        # A page that goes on by itself is of this server too, wherever a link has it go on to.
        mark = self._sign_on.step_up_mark(session.id, target.id)
        if not hmac.compare_digest(mark.encode(), query.mark.encode()):
            raise CrossSiteError("the link is not of the page that asks for a factor")

    def _require_own_page(self, call: Call) -> None:
        """Check that a page of this server has sent the form (the browser says so itself)."""
        site, origin = call.headers(b"sec-fetch-site", b"origin")
        if site != "same-origin" and not (site is None and origin == self._issuer):
            raise CrossSiteError("the request does not say that a page of this server makes it")


class LogoutRefusedError(UnauthenticatedError):
    """A logout token that does not hold, said as its standard wants it (section 2.8)."""

    code = "logout-refused"
    status = 400

    def __init__(self, error: Error) -> None:
        super().__init__(error.message, place=error.place)


def error_form(path: str, error: Error) -> Reply | None:
    """An error of the back channel as OAuth says it."""
    if not path.startswith(BACK_CHANNEL):
        return None
    name = "temporarily_unavailable" if isinstance(error, UnavailableError) else "invalid_request"
    said = {"error": name, "error_description": error.message.encode("ascii", "replace").decode()}
    return Reply.of(said, status=error.status, headers={"cache-control": "no-store"})


def require_path(text: str) -> str:
    """``text``, if it is a path on this server, and nothing that leads a browser anywhere else.

    Raises:
        InputError: it is not.
    """
    if _NEXT.fullmatch(text) is None or len(text) > MAX_NEXT:
        raise InputError("must be a path of this server, beginning with one slash", place="query: next")
    return text


def _sent(begun: Begun) -> Reply:
    return Reply(status=SEE_OTHER, headers={"location": begun.address}, cookies=[_kept(begun)])


def _leaving(title: str, link: str, address: str, cookie: str) -> Reply:
    """A page that a browser leaves by itself or by its one link.

    Not a redirect: the policy of the page that sent the form lets it lead to this server alone (CSP ``form-action``).
    """
    from everproof.server.console.page import page  # the pages look at the doors, and this one is a door

    reply = page("leaving.html", title=title, link=link, then=address)
    reply.cookies = [cookie]
    return reply


def _kept(begun: Begun) -> str:
    return f"{begun.cookie_name}={begun.cookie_value}{_ATTRIBUTES}; Max-Age={COOKIE_SECONDS}"


def _gone(name: str) -> str:
    return f"{name}={_ATTRIBUTES}; Max-Age=0"


def _cookie(call: Call, name: str) -> str | None:
    """The value of a cookie; None where it is not there, or there twice."""
    parts = (part.strip(" \t").partition("=") for part in (call.header(b"cookie") or "").split(";"))
    found = [value for key, _, value in parts if key == name]
    return found[0] if len(found) == 1 else None


def _event(tx: Transaction, said: dict[str, Any], *, about: Ref = MAIN_SPACE) -> Entry:
    return Entry(id=new_id("ent"), at=tx.now, kind=EVENT_KIND, about=about, body=msgspec.Raw(encode(said)))
