"""One base for every error: a stable code, what is wrong with this input and where, and what to do about it."""

from collections.abc import Mapping
from typing import ClassVar, Final


class Error(Exception):
    """Something a person or a caller can act on. Doors turn it into the form of their protocol.

    ``message`` is one sentence about this input, ``place`` says where (file, line, field), ``todo`` what to do next.
    None of them may carry a secret.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 400

    def __init__(self, message: str, *, place: str | None = None, todo: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.place = place
        self.todo = todo

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message


class InputError(Error):
    """What was given cannot be read as what it should be."""

    code = "bad-input"


class TooLargeError(InputError):
    """What was given is larger than anything honest of its kind."""

    code = "too-large"
    status = 413


class UnauthenticatedError(Error):
    """No proof, or one that does not hold. ``is_question``: nothing was shown that could be false; it asks for it."""

    code = "unauthenticated"
    status = 401
    is_question: ClassVar[bool] = False


class RefusedError(Error):
    """The proof holds, but what is asked is refused."""

    code = "refused"
    status = 403


class NotFoundError(Error):
    """There is no such thing, or the caller may not know of it."""

    code = "not-found"
    status = 404


class ConflictError(Error):
    """It cannot be done in the present state."""

    code = "conflict"
    status = 409


class UnavailableError(Error):
    """It cannot be decided or recorded now, so it does not happen."""

    code = "unavailable"
    status = 503


BY_STATUS: Final[Mapping[int, type[Error]]] = {
    kind.status: kind for kind in (UnauthenticatedError, RefusedError, NotFoundError, ConflictError, UnavailableError)
}
"""What an answer's status says, for those who ask a server of ours."""
