"""The pages put together: what people use in a browser, over the very doors that programs use."""

from collections.abc import Callable, Iterable

from everproof.app import Everproof
from everproof.server.access import AccessDoor
from everproof.server.browser import Browser
from everproof.server.caller import Callers
from everproof.server.console import assets
from everproof.server.console.access import AccessPages
from everproof.server.console.factors import FactorPages
from everproof.server.console.requests import RequestPages
from everproof.server.console.sessions import SessionPages
from everproof.server.console.sign_ins import SignInPages
from everproof.server.console.signing_in import SigningInPages
from everproof.server.console.step_up import StepUpPages
from everproof.server.console.visitors import Visitors
from everproof.server.factors import FactorsDoor
from everproof.server.http import Route
from everproof.server.provider.metadata import AUTHORIZE
from everproof.server.provider.routes import ProviderDoors
from everproof.server.sessions import SessionsDoor
from everproof.server.step_up import StepUpDoor


class Console:
    """Every page of one server. ``error`` is what `Application` asks for the pages of errors."""

    def __init__(
        self, app: Everproof, callers: Callers, browser: Browser, *, step_up: StepUpDoor, provider: ProviderDoors
    ) -> None:
        identity = app.identity
        access = AccessDoor(app.access, callers)
        sessions = SessionsDoor(app.authorizer, identity, callers, browser, app.storage)
        factors = FactorsDoor(app.authorizer, app.factors, identity.sessions, callers)
        visitors = Visitors(browser, identity.sessions, app.storage.clock, issuer=app.settings.issuer)
        providers: Callable[[], list[tuple[str, str]]] = identity.sign_on.providers
        pages: Iterable[list[Route]] = (
            SigningInPages(visitors, providers=providers).routes(),
            StepUpPages(visitors, step_up, sign_on=identity.sign_on).routes(),
            FactorPages(visitors, factors).routes(),
            AccessPages(visitors, access, directory=identity.directory, rules=lambda: app.access.rules).routes(),
            RequestPages(visitors, access, app.access.requests).routes(),
            SessionPages(visitors, sessions, provider.consent).routes(),
            SignInPages(visitors, provider.consent, provider.device).routes(),
        )
        self._pages = [route for routes in pages for route in routes]
        visitors.own = frozenset([AUTHORIZE, *(route.declaration.path for route in self._pages)])
        self.error = visitors.error

    def routes(self) -> list[Route]:
        """What is served."""
        return [*assets.routes(), *self._pages]
