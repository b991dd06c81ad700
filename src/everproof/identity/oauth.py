"""Errors of the token endpoint and of protected resources, in OAuth's own words."""

from typing import ClassVar

from everproof.kernel.errors import Error, RefusedError, UnauthenticatedError


class OAuthError(Error):
    """A request that the token endpoint does not answer (RFC 6749, section 5.2)."""

    code = "oauth"
    oauth_error: ClassVar[str] = "invalid_request"


class InvalidRequestError(OAuthError):
    """A parameter is missing, repeated or not what it should be, or a subject token is not good (RFC 8693, 2.2.2)."""

    code = "invalid-request"


class InvalidClientError(OAuthError):
    """The client has not proven who it is."""

    code = "invalid-client"
    status = 401
    oauth_error = "invalid_client"


class InvalidScopeError(OAuthError):
    """The scope is malformed, or wider than what it would come from."""

    code = "invalid-scope"
    oauth_error = "invalid_scope"


class InvalidTargetError(OAuthError):
    """The audience or resource cannot have a token (RFC 8707, section 2)."""

    code = "invalid-target"
    oauth_error = "invalid_target"


class UnsupportedGrantError(OAuthError):
    """There is no such grant here."""

    code = "unsupported-grant"
    oauth_error = "unsupported_grant_type"


class InvalidTokenError(UnauthenticatedError):
    """A token that does not hold, wherever it was presented."""

    code = "invalid-token"
    oauth_error: ClassVar[str] = "invalid_token"

    @property
    def headers(self) -> dict[str, str]:
        """What a protected resource answers beside the status (RFC 9449, section 7.1)."""
        return {"www-authenticate": f'DPoP error="{self.oauth_error}", algs="ES256 EdDSA"'}


class ReplayedError(RefusedError):
    """A token that another key has used before, or an assertion that was used before."""

    code = "replayed"
    oauth_error: ClassVar[str] = "invalid_request"
