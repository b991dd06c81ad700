"""How a refusal reaches whoever asked: a page for a browser, problem details for all else.

nginx throws the body of an answer away. It is given the refusal in a header, keeps it in a variable, and brings it back
for the body (`REFUSAL`): so nothing is kept here, and any replica can answer.
"""

import zlib
from html import escape
from typing import Any, Final

import msgspec

from everproof.kernel.canonical import b64url, from_b64url
from everproof.kernel.errors import Error, InputError
from everproof.server.http.call import Reply
from everproof.server.http.problem import PROBLEM_JSON, Problem, problem

REFUSAL: Final = b"x-everproof-refusal"
HTML: Final = "text/html; charset=utf-8"
MAX_HEADER: Final = 3072
"""Bytes of a refusal in a header: with all others it fits into the 8 kB that nginx reads an answer's head into."""
MAX_REFUSAL: Final = 64 * 1024
UNAUTHENTICATED: Final = 401
REFUSED: Final = 403
UNAVAILABLE: Final = 503


class Refusal(msgspec.Struct, frozen=True, omit_defaults=True):
    """All that is to be told of a refusal. ``asked`` is the request as it came: method, host and path."""

    problem: Problem
    asked: str = ""
    headers: dict[str, str] = {}


def refusal(error: Error, *, asked: str = "", nonce: str = "") -> Refusal:
    """What to tell of ``error``: 401 where a proof is missing, 503 where nothing can be decided, else 403.

    nginx knows no others, and a caller needs none: whatever is wrong with a request, it was refused.
    """
    status = error.status
    if status != UNAUTHENTICATED:
        status = REFUSED if status < 500 else UNAVAILABLE  # noqa: PLR2004 - HTTP's own border
    headers = dict(getattr(error, "headers", {}))
    if status == UNAUTHENTICATED:
        headers.setdefault("www-authenticate", 'DPoP algs="ES256 EdDSA"')
        headers.setdefault("dpop-nonce", nonce)
    told = problem(error, extra=getattr(error, "extra", None))
    return Refusal(msgspec.structs.replace(told, status=status), asked, headers)


def reply(told: Refusal, accept: str) -> Reply:
    """The answer, in the form that the client takes."""
    status, headers = told.problem.status, {**told.headers, "vary": "accept"}
    if wants_page(accept):
        return Reply(page(told).encode(), status=status, media=HTML, headers=headers)
    return Reply.of(told.problem, status=status, media=PROBLEM_JSON, headers=headers)


def packed(told: Refusal) -> str:
    """The refusal as the value of a header; without its explanation where that is too long for one."""
    text = b64url(zlib.compress(msgspec.json.encode(told)))
    if len(text) > MAX_HEADER:
        extra = {name: value for name, value in told.problem.extra.items() if name in {"reason", "receipt"}}
        short = msgspec.structs.replace(told.problem, detail=told.problem.detail[:500], extra=extra)
        text = b64url(zlib.compress(msgspec.json.encode(Refusal(short, told.asked[:500], told.headers))))
    return text


def unpacked(text: str) -> Refusal:
    """The refusal that `packed` made.

    Raises:
        InputError: it did not.
    """
    try:
        reader = zlib.decompressobj()
        data = reader.decompress(from_b64url(text), MAX_REFUSAL)
        return msgspec.json.decode(data, type=Refusal)
    except (zlib.error, msgspec.DecodeError, InputError) as error:
        raise InputError("not a refusal of this server", place=f"header {REFUSAL.decode()}") from error


def wants_page(accept: str) -> bool:
    """Whether the client is a browser that shows what it is answered: it names HTML, as programs do not."""
    return "text/html" in accept


def page(told: Refusal) -> str:
    """The refusal for a person to read: no script, nothing from elsewhere, and all that is not ours is escaped."""
    about = told.problem
    receipt: dict[str, Any] = about.extra.get("receipt") or {}
    unknown = about.status == UNAUTHENTICATED
    title = "Who are you?" if unknown else "Not now" if about.status == UNAVAILABLE else "Not allowed"
    lines = [("You asked for", told.asked), ("What is wrong", about.place), ("What to do", about.todo)]
    if receipt:
        lines.append(("Recorded as", f"{receipt.get('entry_id', '')}, number {receipt.get('index', '')}"))
    rows = "".join(f"<dt>{name}</dt><dd>{escape(str(value))}</dd>\n" for name, value in lines if value)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{title}</title></head>\n<body><main>\n<h1>{title}</h1>\n<pre>{escape(about.detail)}</pre>\n"
        f"<dl>\n{rows}</dl>\n<p>Everproof decides about each request to this service.</p>\n</main></body></html>\n"
    )
