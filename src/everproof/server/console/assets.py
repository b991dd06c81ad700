"""What pages are drawn and moved by: this server's own files, under an address that changes when they do."""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Final

from everproof.kernel.errors import NotFoundError
from everproof.server.http import Reply, Route

FOLDER: Final = Path(__file__).parent / "assets"

_MEDIA: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_CACHED: Final = "public, max-age=31536000, immutable"
"""Their address has their digest in it, so a browser need never ask again."""


@lru_cache(maxsize=1)
def _files() -> tuple[str, dict[str, bytes]]:
    """The digest of all files, and each by its name."""
    found = {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir()) if path.suffix in _MEDIA}
    digest = hashlib.sha256()
    for name, body in found.items():
        digest.update(b"%d:%s%d:" % (len(name), name.encode(), len(body)) + body)
    return digest.hexdigest()[:16], found


def address(name: str) -> str:
    """Where the file called ``name`` is served. Modules name each other relatively, and so get the same version."""
    version, found = _files()
    if name not in found:
        raise LookupError(f"there is no file {name} in {FOLDER}")
    return f"/assets/{version}/{name}"


async def asset(version: str, name: str) -> Reply:
    """A style sheet, module or picture of the pages."""
    current, found = _files()
    body = found.get(name)
    if body is None or version != current:
        raise NotFoundError("there is no such file", todo="load the page again")
    headers = {"cache-control": _CACHED, "cross-origin-resource-policy": "same-origin"}
    return Reply(body, media=_MEDIA[Path(name).suffix], headers=headers)


def routes() -> list[Route]:
    """What is served."""
    return [
        Route("GET", "/assets/{version}/{name}", asset, door="pages", needs_proof=False, media="*/*", problems=(404,))
    ]
