"""Reading a request's body: never more than fits, never longer than it takes, and only what it says it is."""

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, TypeVar, get_type_hints
from urllib.parse import unquote_plus

import msgspec
from starlette.types import Receive, Scope

from everproof.kernel.errors import Error, InputError, TooLargeError

T = TypeVar("T")

MAX_BODY: Final = 256 * 1024
"""Bytes. The largest honest body, a batch of a thousand evaluations, is below it."""

MAX_FIELDS: Final = 64
"""Fields of a form: the longest, a token exchange, has a dozen."""


_DECODER: Final = msgspec.json.Decoder()
_ENCODER: Final = msgspec.json.Encoder()


MAX_WORD: Final = 80
"""Characters of a form's value that is kept undone: as long as the longest name that a standard gives."""


class UnsupportedMediaError(InputError):
    """The body says it is something that this endpoint does not read."""

    code = "unsupported-media-type"
    status = 415


class DisconnectedError(Error):
    """The caller went away before its request was complete; nobody hears this."""

    code = "disconnected"


async def read_body(scope: Scope, receive: Receive, *, limit: int = MAX_BODY) -> bytes:
    """The whole body.

    What is beyond ``limit`` bytes is discarded as it arrives, so that the caller reads the answer rather than a reset
    connection, and never held; a caller who waits for leave to send (``Expect: 100-continue``) does not get it.

    Raises:
        TooLargeError: longer than ``limit``.
        DisconnectedError: the caller went away.
    """
    _refuse_early(scope, limit)
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message.get("body", b"")
        if len(body) <= limit:
            return body
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    while True:
        if message["type"] != "http.request":
            raise DisconnectedError("the caller went away")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= limit:
            chunks.append(chunk)
        else:
            chunks.clear()
        if not message.get("more_body"):
            break
        message = await receive()
    if size > limit:
        raise _too_large(limit)
    return b"".join(chunks)


def require_media(scope: Scope, expected: str) -> None:
    """Check the content type; a charset other than UTF-8 is another type.

    Raises:
        UnsupportedMediaError: it is missing or not ``expected``.
    """
    for name, value in scope["headers"]:
        if name == b"content-type":
            media, _, parameters = value.decode("latin-1").lower().partition(";")
            if media.strip() == expected and parameters.strip().replace('"', "") in {"", "charset=utf-8"}:
                return
            break
    raise UnsupportedMediaError(
        f"the body must be {expected}", place="header content-type", todo=f"send Content-Type: {expected}"
    )


def json_reader(type_: type[T]) -> Callable[[bytes], T]:
    """A function that decodes JSON strictly as ``type_``.

    It raises InputError for what is not JSON, not of that shape, or has an object with the same key twice: of two
    readers of such an object each may see another value.
    """
    decode = msgspec.json.Decoder(type_, strict=True).decode

    def read(body: bytes) -> T:
        try:
            value = decode(body)
            if _compact(body) != body:  # equal bytes prove that no key was doubled, at a quarter of the cost
                json.loads(body, object_pairs_hook=_unique)
        except msgspec.ValidationError as error:
            raise _misfit(error) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
            detail = str(error) if isinstance(error, msgspec.DecodeError) else "not text, or nested too deeply"
            raise InputError(f"not JSON: {detail}", place="body") from error
        return value

    return read


def form_pairs(body: bytes) -> list[tuple[str, str]]:
    """The fields of an encoded form, in order.

    Raises:
        InputError: it is none, or has more than ``MAX_FIELDS``.
    """
    pairs = []
    try:
        text = body.decode("ascii")
        for part in text.split("&") if text else ():
            name, equals, value = part.partition("=")
            pairs.append((_unquoted(name), _unquoted(value), equals))
    except ValueError as error:
        raise InputError("not an encoded form", place="form") from error
    if len(pairs) > MAX_FIELDS or not all(equals for _, _, equals in pairs):
        raise InputError(f"not an encoded form of at most {MAX_FIELDS} fields", place="form")
    return [(name, value) for name, value, _ in pairs]


def _unquoted(text: str) -> str:
    if "%" not in text and "+" not in text:
        return text
    if len(text) <= MAX_WORD:
        return _unquoted_word(text)
    return unquote_plus(text, errors="strict")


@lru_cache(maxsize=1024)
def _unquoted_word(text: str) -> str:
    """The same few names of grants and kinds of tokens come with every request, and undoing them costs 15 µs each."""
    return unquote_plus(text, errors="strict")


def form_reader(type_: type[T]) -> Callable[[bytes], T]:
    """A function that reads a form (or a query) as ``type_``.

    A field may be repeated only where its type is a tuple; a field without a value counts as absent (RFC 6749,
    section 3.1). It raises InputError for anything else.
    """
    repeated = {name for name, hint in get_type_hints(type_).items() if str(hint).startswith("tuple[")}

    def read(body: bytes) -> T:
        pairs = form_pairs(body)
        fields: dict[str, Any] = {}
        for name, value in pairs:
            if name in repeated:
                fields.setdefault(name, []).append(value)
            elif name in fields:
                raise InputError("given more than once", place=f"form: {name}")
            else:
                fields[name] = value
        try:
            return msgspec.convert({name: value for name, value in fields.items() if value}, type_, strict=False)
        except msgspec.ValidationError as error:
            raise _misfit(error, "form") from error

    return read


def _compact(body: bytes) -> bytes:
    return _ENCODER.encode(_DECODER.decode(body))


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) != len(pairs):
        raise InputError("an object has the same key twice", place="body")


def _misfit(error: msgspec.ValidationError, where: str = "body") -> InputError:
    what, _, path = str(error).partition(" - at `$")
    path = path.strip("`.")
    return InputError(what, place=f"{where}: {path}" if path else where)


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"the body is longer than {limit} bytes", place="body")


def _refuse_early(scope: Scope, limit: int) -> None:
    declared = 0
    waits = False
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            declared = int(value)
        elif name == b"expect":
            waits = True
    if waits and declared > limit:
        raise _too_large(limit)
