"""The request that would help, filled in: as a command, and as the address of a page."""

import shlex
from typing import Final
from urllib.parse import urlencode

from everproof.kernel.words import Ref

PAGE: Final = "/requests/new"
LASTING: Final = "1h"


def request_command(action: str, resource: Ref, *, lasting: str = LASTING) -> str:
    """The command line that asks for ``action`` on ``resource``; the reason is left for a person to say."""
    return f"everproof request {action} {shlex.quote(str(resource))} --for {lasting} --reason …"


def request_page(action: str, resource: Ref, *, lasting: str = LASTING) -> str:
    """The path of the page that asks for the same, filled in."""
    query = {"action": action, "type": resource.type, "id": resource.id, "for": lasting}
    return f"{PAGE}?{urlencode(query)}"
