"""`everproof login --device`: for a terminal without a browser, signed in from any other machine (RFC 8628)."""

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from everproof.cli.renewal import CLIENT, take
from everproof.cli.terminal import paint, printable
from everproof.kernel.errors import Error, UnauthenticatedError, UnavailableError

if TYPE_CHECKING:
    from everproof.cli.client import Client

GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
SLOWER_SECONDS: Final = 5
"""What RFC 8628 adds to the pace of whoever asks too soon (section 3.5)."""

WARNING: Final = (
    "Type this code only because you began this login yourself, here and now. Never type one that somebody sent you,\n"
    "and tell nobody yours: whoever's code you type becomes you."
)

_WAITING: Final = "authorization_pending"
_SLOWER: Final = "slow_down"


def log_in(client: "Client", *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Let a person sign this terminal in from another machine, and hold the session that comes of it.

    Raises:
        UnauthenticatedError: they refused.
        UnavailableError: nobody has answered in time.
    """
    asked: dict[str, Any] = client.request(
        "POST", "/oauth/device_authorization", form={"client_id": CLIENT}, proven=False
    )
    _say(asked)
    form = {"grant_type": GRANT, "client_id": CLIENT, "device_code": asked["device_code"]}
    pace, ends = asked.get("interval", SLOWER_SECONDS), time.monotonic() + asked["expires_in"]
    while time.monotonic() < ends:
        sleep(pace)
        try:
            answer = client.request("POST", "/oauth/token", form=form, proven=False)
        except UnavailableError:
            continue  # the server may be starting anew; the code is still good
        except Error as error:
            if client.said == _SLOWER:
                pace += SLOWER_SECONDS
            elif client.said != _WAITING:
                raise UnauthenticatedError(
                    f"not signed in: {error.message}", todo="run everproof login again"
                ) from error
            continue
        take(client.session, answer)
        return
    raise UnavailableError("nobody has typed the code in time", todo="run everproof login again")


def _say(asked: dict[str, Any]) -> None:
    code = paint(printable(asked["user_code"]), "good")
    print(f"at any browser, go to\n\n  {printable(asked['verification_uri'])}\n", file=sys.stderr)
    print(f"and type the code\n\n  {code}\n\n{WARNING}\n", file=sys.stderr)
