"""The doors of the provider, put together."""

from everproof.app import Everproof
from everproof.server.browser import Browser
from everproof.server.caller import Callers
from everproof.server.http import BareRoute, Route
from everproof.server.provider.authorize import AuthorizeDoor
from everproof.server.provider.consent import ConsentDoor
from everproof.server.provider.device import DeviceDoor
from everproof.server.provider.end_session import EndSessionDoor
from everproof.server.provider.grants import GrantsDoor
from everproof.server.provider.userinfo import UserinfoDoor


class ProviderDoors:
    """What the provider serves. ``consent`` and ``device`` are what pages call; ``grants`` what the token endpoint."""

    def __init__(self, app: Everproof, callers: Callers, browser: Browser) -> None:
        issuer, identity, provider = app.settings.issuer, app.identity, app.provider
        self.grants = GrantsDoor(app.authorizer, provider, identity, app.storage, issuer=issuer)
        self.consent = ConsentDoor(app.authorizer, provider, callers, app.storage, issuer=issuer)
        self.device = DeviceDoor(
            app.authorizer,
            provider,
            identity.sessions,
            callers=callers,
            dpop=identity.dpop,
            storage=app.storage,
            issuer=issuer,
        )
        self._authorize = AuthorizeDoor(
            app.authorizer,
            provider,
            identity.sessions,
            browser,
            app.storage,
            has_factor=lambda person: bool(app.factors.held(person).methods),
            issuer=issuer,
        )
        self._end_session = EndSessionDoor(app.authorizer, provider, identity.sessions, browser, app.storage)
        self._userinfo = UserinfoDoor(provider, identity.tokens, identity.dpop)

    def routes(self) -> list[Route | BareRoute]:
        """What is served."""
        return [
            *self._authorize.routes(),
            *self.consent.routes(),
            *self.device.routes(),
            *self._end_session.routes(),
            *self._userinfo.routes(),
        ]
