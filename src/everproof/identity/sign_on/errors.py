"""Why somebody was not signed on."""

from everproof.kernel.errors import UnauthenticatedError


class SignOnError(UnauthenticatedError):
    """A sign-on that does not hold: made up by somebody, or answered wrongly. Nobody is signed in."""

    code = "sign-on-refused"


class NotLinkedError(SignOnError):
    """The provider has named somebody whom nobody here is linked with."""

    code = "sign-on-unknown"


class ProviderFailedError(SignOnError):
    """The provider could not be asked about somebody who came back from it, or answered what nobody can read."""

    code = "sign-on-unavailable"
    status = 503
