"""Going on with a session that was begun at a browser: its key and its refresh token give the next access token.

A refresh token is good once. Commands that run at the same time take turns, so that none of them shows one that another
has just used: the server would take that for theft, and end the session.
"""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from everproof.cli import session as sessions
from everproof.kernel.errors import Error, InputError, UnauthenticatedError, UnavailableError

if TYPE_CHECKING:
    from everproof.cli.client import Client

CLIENT: Final = "everproof-cli"
GRANT: Final = "refresh_token"
RENEW_SECONDS: Final = 60
"""A token that ends sooner might end on its way."""


def is_due(session: sessions.Session) -> bool:
    """Whether the session's token is to be renewed before it is used."""
    return bool(session.refresh) and session.expires < time.time() + RENEW_SECONDS


def renew(client: "Client") -> None:
    """Renew the token of the client's session, and keep it; another command may have done so just now.

    Raises:
        UnauthenticatedError: the session is over.
    """
    held = client.session
    with _alone():
        try:
            kept = sessions.load()
        except (InputError, UnauthenticatedError):
            kept = held
        if kept.key == held.key and not is_due(kept):
            held.token, held.expires, held.refresh = kept.token, kept.expires, kept.refresh
            return
        if kept.key == held.key:
            held.refresh = kept.refresh
        form = {"grant_type": GRANT, "refresh_token": held.refresh, "client_id": CLIENT}
        try:
            answer = client.request("POST", "/oauth/token", form=form, proven=False)
        except UnavailableError:
            raise
        except Error as error:
            raise UnauthenticatedError(f"your session is over: {error.message}", todo="run: everproof login") from error
        take(held, answer)
        if kept.key == held.key:  # else somebody has logged in anew meanwhile, and this command goes on as it began
            sessions.save(held)


def take(session: sessions.Session, answer: dict[str, Any]) -> None:
    """Hold what the token endpoint has answered."""
    session.token = answer["access_token"]
    session.expires = time.time() + answer["expires_in"]
    session.refresh = answer.get("refresh_token", "")


@contextmanager
def _alone() -> Iterator[None]:
    """No other command of this account does the same meanwhile."""
    lock = sessions.file().with_suffix(".lock")
    lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
