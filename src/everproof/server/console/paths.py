"""Where a page may send its reader next: an address of this server, and no other."""

import re
from typing import Final
from urllib.parse import quote, urlsplit

from everproof.kernel.errors import InputError

HOME: Final = "/access"
"""Where whoever asked for nothing in particular arrives."""

FROM_TERMINAL: Final = "/from-terminal"
"""What a terminal opens to sign a browser in."""

MAX_NEXT: Final = 4096
"""Characters: an authorization request of a client with long parameters is among the honest ones."""

_PLAIN: Final = re.compile(r"/(?![/\\])[!-\[\]-~]*")
"""One slash, then printable ASCII without a backslash, which browsers read as a slash. A host would follow two."""


def ours(path: str) -> str:
    """``path``, if it is a path of this server with its query; ``HOME`` for none.

    Raises:
        InputError: it is anything else, such as another site's address in disguise.
    """
    if not path:
        return HOME
    if len(path) <= MAX_NEXT and _PLAIN.fullmatch(path) is not None:
        found = urlsplit(path)
        if not found.scheme and not found.netloc:
            return path
    raise InputError("the address to go on to is not one of this server", place="next", todo="begin at /access")


def with_next(path: str, then: str) -> str:
    """The address of a page that leads on to ``then``."""
    mark = "&" if "?" in path else "?"
    return path if then in {"", HOME} else f"{path}{mark}next={quote(then, safe='')}"
