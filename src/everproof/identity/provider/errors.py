"""Errors of the provider, in the words of OAuth, OpenID Connect and the device grant."""

from everproof.identity.oauth import OAuthError
from everproof.kernel.errors import Error, InputError


class UnknownClientError(InputError):
    """Nobody knows whom to answer, so a person is told, and no browser is sent anywhere (RFC 9700, section 4.11)."""

    code = "unknown-client"


class AuthorizationError(Error):
    """A request that is answered at its client's own address (RFC 6749, 4.1.2.1; OpenID Connect Core, 3.1.2.6)."""

    code = "authorization"

    def __init__(self, error: str, message: str, *, place: str | None = None) -> None:
        super().__init__(message, place=place)
        self.oauth_error = error


class InvalidGrantError(OAuthError):
    """What was to become a token is not good, not any more, or not for this client."""

    code = "invalid-grant"
    oauth_error = "invalid_grant"


class UnauthorizedGrantError(OAuthError):
    """The client may not use this grant."""

    code = "unauthorized-client"
    oauth_error = "unauthorized_client"


class DeviceError(OAuthError):
    """A device has still to wait, or in vain (RFC 8628, section 3.5)."""

    code = "device"

    def __init__(self, error: str, message: str, *, todo: str | None = None) -> None:
        super().__init__(message, todo=todo)
        self.oauth_error = error  # type: ignore[misc]  # one class for the four words of one answer
